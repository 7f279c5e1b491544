"""`npusim validate` on the command line: what is run, printed, recorded and refused."""

import json

import pytest

from npusim.validate import bands, suites
from npusim.validate.compare import Comparison, Family, Goal


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Two suites of one family each, whose figures are in `ours`, and a record of their own."""
    path, ours = tmp_path / "recorded.json", {"a": 100.0, "b": 105.0}
    read, write = bands.read_record, bands.write_record

    class OneFamily:
        def __init__(self, name):
            self.name, self.about = name, f"what {name} is"

        def run(self, full, progress):
            progress("a case")
            case = Comparison("case", ours[self.name], 100, "ns")
            return [Family(self.name, "f", "a reference", (case,), Goal("worst", 0.1), "A note")]

    monkeypatch.setattr(suites, "SUITES", {name: OneFamily(name) for name in ours})
    monkeypatch.setattr(bands, "read_record", lambda full: read(full, path))
    monkeypatch.setattr(bands, "write_record", lambda *what: write(*what, path))
    monkeypatch.setattr(bands, "RECORDED", path)
    return path, ours


def test_a_rerun_of_what_was_recorded_is_well(npusim, record):
    assert npusim("validate", "--record").code == 0
    done = npusim("validate")
    assert (done.code, "every error is the recorded one" in done.out) == (0, True)
    assert "a/f: against a reference. A note" in done.out
    assert "b/f" in done.out and "worst ≤ 10 %" in done.out


def test_an_error_that_left_its_band_fails(npusim, record):
    npusim("validate", "--record")
    record[1]["b"] = 107.0
    done = npusim("validate")
    assert done.code == 1 and "b/f (report): worst +7 % has grown, recorded +5 %" in done.out
    assert npusim("validate", "a").code == 0
    found = json.loads(npusim("validate", "--json").out)
    assert len(found["departures"]) == 3 and len(found["families"]) == 2


def test_what_was_never_recorded_fails_and_says_so(npusim, record):
    done = npusim("validate", "a")
    assert done.code == 1 and "not as recorded: a is not recorded" in done.out
    npusim("validate", "a", "--record")
    assert npusim("validate", "a").code == 0
    assert npusim("validate", "--full").code == 1  # a record of its own


def test_a_record_that_cannot_be_written_costs_no_figures(npusim, record, monkeypatch):
    def refuse(*what):
        raise PermissionError(13, "Permission denied", "recorded.json")

    monkeypatch.setattr(bands, "write_record", refuse)
    done = npusim("validate", "--record")
    assert done.code == 1 and done.err.splitlines()[-1] == (
        "error: recorded.json: Permission denied"
    )
    assert "a/f" in done.out


def test_suites_are_run_once_each_and_named_when_there_is_no_such(npusim, record):
    npusim("validate", "--record")
    done = npusim("validate", "b", "a", "b", "--json")
    assert [row["suite"] for row in json.loads(done.out)["families"]] == ["b", "a"]
    done = npusim("validate", "aa")
    assert done.code == 2 and "suite must be one of a, b, not 'aa'" in done.err


def test_the_suites_are_listed(npusim):
    assert npusim("list", "suite").out.split() == sorted(suites.SUITES)
