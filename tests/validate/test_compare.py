"""Comparisons → errors, bands and the table that readers see."""

import json
from dataclasses import replace

import numpy as np
import pytest

from npusim.validate import bands, table
from npusim.validate.compare import Comparison, Family, Goal, errors_of, split_by_use


def family(*pairs, name="reads", goal=None, fits=()):
    reports = [Comparison(f"case {i}", a, b, "ns") for i, (a, b) in enumerate(pairs)]
    fitted = [Comparison(f"fit {i}", a, b, "ns", "fit") for i, (a, b) in enumerate(fits)]
    return Family("dram", name, "a reference", (*reports, *fitted), goal)


def test_errors_are_signed_and_the_worst_is_the_largest_in_size():
    errors = errors_of(family((110, 100), (80, 100), (100, 100)).comparisons)
    assert errors.n == 3
    assert errors.bias == pytest.approx(-0.1 / 3)
    assert errors.mape == pytest.approx(0.1)
    assert errors.worst == pytest.approx(-0.2)
    assert errors.worst_name == "case 1"


def test_rows_that_a_constant_was_fitted_on_are_counted_apart():
    split = split_by_use(family((110, 100), fits=[(100, 100)]))
    assert split["report"].mape == pytest.approx(0.1)
    assert split["fit"].mape == 0
    assert "fit" not in split_by_use(family((1, 1)))


@pytest.mark.parametrize(("limit", "reached"), [(0.101, True), (0.099, False)])
def test_a_goal_is_on_the_mean_absolute_error_the_worst_or_the_bias(limit, reached):
    errors = errors_of(family((110, 100), (90, 100)).comparisons)
    assert errors.within(Goal("mape", limit)) is reached
    assert errors.within(Goal("worst", limit)) is reached
    assert errors.within(Goal("bias", 0.001))


def test_two_comparisons_of_a_family_cannot_have_one_name():
    twice = (Comparison("a", 1, 1, "s"), Comparison("a", 1, 1, "s"))
    with pytest.raises(AssertionError, match="one name"):
        Family("dram", "reads", "a reference", twice)


def test_a_family_without_cases_or_a_figure_that_is_none_is_refused():
    with pytest.raises(AssertionError, match="no comparisons"):
        Family("dram", "reads", "a reference", ())
    for ours, reference in ((float("nan"), 1), (1, 0), (1, float("inf"))):
        with pytest.raises(AssertionError, match="against"):
            Comparison("a", ours, reference, "s")


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "recorded.json"
    bands.write_record([family((110, 100))], False, ["dram"], path)
    return path


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        (110, []),
        (110.09, []),
        (110.2, ["grown", "grown", "grown"]),
        (109.8, ["shrunk", "shrunk", "shrunk"]),
    ],
)
def test_an_error_leaves_its_band_by_growing_or_shrinking(recorded, ours, found):
    left = bands.departures([family((ours, 100))], bands.read_record(False, recorded), ["dram"])
    assert [word for line in left for word in ("grown", "shrunk") if word in line] == found


def test_a_family_that_is_new_or_gone_or_has_other_cases_is_a_departure(recorded):
    record = bands.read_record(False, recorded)
    new = bands.departures([family((110, 100)), family((1, 1), name="writes")], record, ["dram"])
    assert new == ["dram/writes is not recorded"]
    assert bands.departures([], record, ["dram"]) == ["dram/reads is recorded but was not run"]
    assert bands.departures([], record, ["noc"]) == ["noc is not recorded"]
    assert bands.departures([family((1, 1))], {}, ["dram"]) == ["dram is not recorded"]
    more = bands.departures([family((110, 100), (110, 100))], record, ["dram"])
    assert more == ["dram/reads (report) has 2 cases, recorded are 1"]


def test_another_goal_or_reference_is_a_departure(recorded):
    record = bands.read_record(False, recorded)
    (left,) = bands.departures([family((110, 100), goal=Goal("mape", 0.1))], record, ["dram"])
    assert left.startswith("dram/reads: goal {") and left.endswith("recorded None")
    (left,) = bands.departures([replace(family((110, 100)), reference="b")], record, ["dram"])
    assert left == "dram/reads: reference b, recorded a reference"


def test_what_is_equal_has_a_band_without_width(tmp_path):
    path, goal = tmp_path / "recorded.json", Goal("worst", 0)
    bands.write_record([family((10**9, 10**9), goal=goal)], False, ["dram"], path)
    off = family((10**9 + 1, 10**9), goal=goal)
    left = bands.departures([off], bands.read_record(False, path), ["dram"])
    assert [line.split(": ")[1].split()[0] for line in left] == ["bias", "mape", "worst"]
    (row,) = table.summary_table(table.record_of([off])).rows
    assert row[2:] == ["+1e-07 %", "1e-07 %", "+1e-07 %", "equal", "missed", "0"]


def test_recording_one_suite_keeps_the_others_and_the_other_level(recorded):
    other = Family("noc", "latency", "a reference", (Comparison("a", 1, 1, "ns"),))
    bands.write_record([other], False, ["noc"], recorded)
    bands.write_record([], True, ["dram"], recorded)
    whole = json.loads(recorded.read_text())
    assert list(whole["quick"]) == ["dram/reads", "noc/latency"]
    bands.write_record([], False, ["dram"], recorded)
    assert list(json.loads(recorded.read_text())["quick"]) == ["noc/latency"]


def test_the_table_says_which_goals_were_reached():
    rows = table.summary_table(
        table.record_of([
            family((100.05, 100), goal=Goal("worst", 0.001)),
            family((112, 100), (101, 100), name="writes", goal=Goal("mape", 0.03)),
            family((100, 100), name="same", goal=Goal("worst", 0), fits=[(150, 100)]),
        ])
    ).rows  # fmt: skip
    assert rows == [
        ["dram/reads", "1", "+0.05 %", "0.05 %", "+0.05 %", "worst ≤ 0.1 %", "reached", "1"],
        ["dram/writes", "2", "+6.50 %", "6.50 %", "+12.0 %", "mean |error| ≤ 3 %", "missed", "1"],
        ["dram/same", "1", "+0 %", "0 %", "+0 %", "equal", "reached", "1"],
        ["dram/same (fit)", "1", "+50.0 %", "50.0 %", "+50.0 %", "", "", ""],
    ]


def test_markdown_says_how_many_cases_are_within_a_goal_of_the_mean():
    record = table.record_of([family((112, 100), (101, 100), goal=Goal("mape", 0.03))])
    *_, row = table.as_markdown(record).splitlines()
    assert row == (
        "| dram/reads | a reference | 2 | +6.50 % | 6.50 % | +12.0 % "
        "| mean \\|error\\| ≤ 3 %: missed, 1 of 2 cases |"
    )


def test_the_overview_joins_what_has_one_reference_but_keeps_the_worst():
    goal = Goal("worst", 0.1)
    record = table.record_of([
        family((110, 100), (90, 100), goal=goal, fits=[(200, 100)]),
        family((125, 100), name="writes", goal=goal),
        replace(family((1, 1), name="both"), reference="a|b"),
    ])  # fmt: skip
    assert table.as_overview(record).splitlines()[2:] == [
        "| dram | a reference | 3 | +8.33 % | 15.0 % | +25.0 % | 1 of 2 |",
        "| dram | a\\|b | 1 | +0 % | 0 % | +0 % |  |",
    ]


def test_numpys_numbers_are_written_as_json():
    case = Comparison("a", np.int64(3), np.float64(2), "s")
    numpys = Family("dram", "reads", "a reference", (case,), Goal("worst", 1))
    done = json.loads(json.dumps(table.as_json([numpys], "quick", [])))
    assert done["families"][0]["report"]["num_within"] == 1
    assert done["families"][0]["comparisons"][0]["error_fraction"] == 0.5


def test_json_holds_every_comparison():
    done = table.as_json([family((110, 100))], "quick", ["something left"])
    assert done["departures"] == ["something left"]
    (found,) = done["families"]
    assert found["report"]["mape"] == 0.1
    assert found["comparisons"][0] == {
        "name": "case 0",
        "ours": 110,
        "reference": 100,
        "unit": "ns",
        "use": "report",
        "error_fraction": pytest.approx(0.1),
    }
