"""Ctrl-C during `npusim serve`: what was served until then, one line, exit code 130."""

import os
import signal
import subprocess
import sys
import time

import pytest
from serve_files import FILES, result_of, rows_of, write_scenario

from npusim.serving import serve as serving
from npusim.serving.iteration.times import Timings


@pytest.fixture
def interrupting(monkeypatch):
    """interrupting(n): Ctrl-C comes while the time of iteration n is found."""

    def at(number):
        found, calls = Timings.of, []

        def of(self, settled, cache):
            stage_ps = found(self, settled, cache)

            def interrupted(works):
                calls.append(works)
                if len(calls) == number:
                    signal.raise_signal(signal.SIGINT)
                return stage_ps(works)

            return interrupted

        monkeypatch.setattr(Timings, "of", of)

    return at


def check_is_partial(done, folder):
    assert done.out.startswith("Partial (interrupted"), done.out
    assert "Traceback" not in done.err
    assert sorted(os.listdir(folder / "out")) == FILES
    result = result_of(folder)
    assert result["partial"].startswith("interrupted")
    requests, counts = rows_of(folder, "requests"), result["metrics"]["requests"]
    assert [r["status"] for r in requests].count("done") == counts["done"]
    assert counts["done"] + counts["unfinished"] == counts["count"] == len(requests)
    return counts


@pytest.mark.parametrize("number", [1, 5, 9])
def test_ctrl_c_while_an_iteration_is_simulated_leaves_a_partial_run(
    number, serve, folder, interrupting
):
    interrupting(number)
    done = serve("--out", "out", "--trace", "t.pftrace", "--plots", "p.html", code=130)
    counts = check_is_partial(done, folder)
    assert counts["done"] < 8


def test_ctrl_c_between_two_events_leaves_a_partial_run(serve, folder, monkeypatch):
    from npusim.cli.progress import Progress

    def served(self, label, done, total):
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "served", served)
    done = serve("--out", "out", "--trace", "t.json", "--plots", "p.html", code=130)
    assert check_is_partial(done, folder)["done"] == 3
    assert (folder / "t.json").is_file() and (folder / "p.html").is_file()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_a_search_for_the_rate_keeps_the_best_run(serve, folder, interrupting):
    interrupting(60)
    done = serve("--out", "out", "--find-rate", "--slo", "ttft=0.1ms", code=130)
    assert done.out.startswith("Partial (interrupted while rates were tried)")
    assert result_of(folder)["find_rate"]["tried"]


def test_ctrl_c_during_set_up_is_one_line(serve, folder, monkeypatch):
    def settle(setup):
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "settle", settle)
    done = serve("--out", "out", code=130)
    assert (done.out, done.err) == ("", "error: interrupted\n")
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_a_real_ctrl_c_ends_a_long_run_with_what_was_served(folder):
    write_scenario(folder, requests=200_000)
    command = [sys.executable, "-m", "npusim", "serve", "serve.yaml", "--out", "out"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, stdout=pipe, stderr=pipe, text=True, preexec_fn=_heed_ctrl_c
    ) as process:
        while not (line := process.stderr.readline()).startswith("served "):
            assert line, "it ended without a word"
        time.sleep(5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out.startswith("Partial (interrupted). ") and err == "error: interrupted\n"
    assert sorted(os.listdir(folder / "out")) == FILES
    counts = result_of(folder)["metrics"]["requests"]
    assert 0 < counts["done"] < counts["count"] == 200_000


def _heed_ctrl_c():
    signal.signal(signal.SIGINT, signal.default_int_handler)
