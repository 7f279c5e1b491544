"""`npusim serve` from the command line to the files it writes, on a tiny chip."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from report_cases import keys
from serve_files import FILES, result_of, rows_of, sets, write_scenario

from npusim.report.serve.schema import FIND_RATE_KEYS
from npusim.serving.iteration.kernel_files import find_folder
from npusim.serving.schedulers import SCHEDULERS

PD = "serving.instances=[{role: prefill}, {role: decode}]"
HALVES = ("parallel.tp=2", PD)


def test_a_run_says_what_binds_and_where_the_files_went(serve, folder):
    done = serve("--out", "out", "--trace", "t.json.gz")
    assert "bound" in done.out.splitlines()[0]
    assert "timed by analytic" in done.out
    for name in FILES:
        assert f"wrote out/{name}" in done.out
    assert sorted(os.listdir(folder / "out")) == FILES and (folder / "t.json.gz").is_file()


def test_requests_and_iterations_are_a_row_each(serve, folder):
    serve("--out", "out")
    requests, iterations = rows_of(folder, "requests"), rows_of(folder, "iterations")
    assert [row["status"] for row in requests] == ["done"] * 8
    tokens = [int(row["prefill_tokens"]) + int(row["decodes"]) for row in iterations]
    assert sum(tokens) == 8 * (32 + 3) and max(tokens) <= 64
    assert rows_of(folder, "transfers") == []


def test_json_is_alone_on_standard_output_and_equals_the_file(serve, folder):
    done = serve("--json", "--out", "out")
    assert done.out == (folder / "out" / "result.json").read_text()
    assert json.loads(done.out)["kind"] == "serve"


@pytest.mark.parametrize("texts", [(), HALVES], ids=["both", "prefill and decode"])
def test_the_same_input_gives_the_same_bytes(texts, serve, folder):
    for out in ("a", "b"):
        serve("--out", out, "--trace", f"{out}/t.json", *sets(*texts))
    for name in (*FILES, "t.json"):
        assert (folder / "a" / name).read_bytes() == (folder / "b" / name).read_bytes()


def test_no_seconds_of_the_computer_are_in_the_result(serve):
    assert "cpu" not in serve("--json").out


def test_another_seed_is_another_run_of_the_same_size(serve, folder):
    for seed in (1, 2):
        serve("--out", str(seed), *sets(f"seed={seed}"))
    first, second = result_of(folder, "1"), result_of(folder, "2")
    assert first["metrics"]["makespan_ps"] != second["metrics"]["makespan_ps"]
    assert first["metrics"]["output_tokens"] == second["metrics"]["output_tokens"]


def test_prefill_and_decode_have_their_own_cores_and_kv_moves_between(serve, folder):
    serve("--out", "out", *sets(*HALVES))
    rows = rows_of(folder, "transfers")
    assert [row["kind"] for row in rows] == ["transfer"] * 8
    assert {(row["source"], row["destination"]) for row in rows} == {("prefill 0", "decode 1")}
    cores = [set(one["cores"]) for one in result_of(folder)["instances"]]
    assert not cores[0] & cores[1] and len(cores[0] | cores[1]) == 4


@pytest.mark.parametrize("iteration", ["live", "memo", "analytic"])
def test_every_kind_of_iteration_serves_all(iteration, serve):
    result = json.loads(serve("--iteration", iteration, "--json").out)
    assert result["iteration"]["kind"] == iteration
    assert result["metrics"]["requests"]["done"] == 8


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_every_scheduler_serves_all(scheduler, serve):
    result = json.loads(serve("--scheduler", scheduler, "--json").out)
    assert result["metrics"]["requests"]["done"] == 8


# serving.kv.num_blocks=2: 32 tokens, a request needs 35
def test_requests_that_no_instance_can_hold_are_counted(serve, folder):
    long = "{kind: table, tokens: [20, 32]}"
    write_scenario(folder, prompt=long, requests=20)
    counts = json.loads(serve("--json", *sets("serving.kv.num_blocks=2")).out)["metrics"][
        "requests"
    ]
    assert counts["rejected"] > 0 < counts["done"]
    assert counts["rejected"] + counts["done"] == 20


def test_or_they_are_an_error_when_the_scenario_says_so(serve):
    texts = sets("serving.kv.num_blocks=2", "serving.too_long=error")
    done = serve(*texts, code=2)
    assert done.err.startswith("error: traffic: request 0 needs KV for 35 tokens, ")
    assert done.err.count("\n") == 1


def test_requests_longer_than_the_model_are_counted(serve, folder):
    write_scenario(folder, prompt="{kind: table, tokens: [8, 5000]}", requests=20)
    counts = json.loads(serve("--json").out)["metrics"]["requests"]
    assert counts["rejected"] > 0 < counts["done"]


def test_goals_on_the_command_line_are_judged(serve):
    all_good = json.loads(serve("--json", "--slo", "ttft=1s,tbt=1s").out)["metrics"]["goodput"]
    assert (all_good["fraction"], all_good["ttft_ps"]) == (1.0, 10**12)
    none_good = json.loads(serve("--json", "--slo", "ttft=1us").out)["metrics"]["goodput"]
    assert none_good["fraction"] == 0.0


def test_the_rate_found_meets_the_goals_and_the_one_above_does_not(serve, folder):
    goals = ("--slo", "ttft=0.1ms", *sets("traffic.requests=40"))
    done = serve("--find-rate", "--out", "out", *goals)
    assert "highest rate that meets the goals: " in done.out
    found = result_of(folder)
    rates = found["find_rate"]
    assert set(keys(rates)) == set(FIND_RATE_KEYS)
    assert found["scenario"]["traffic"]["rate_per_s"] == rates["rate_per_s"]
    assert rates["rate_per_s"] < rates["not_met_per_s"] <= 1.02 * rates["rate_per_s"]
    for name, meets in (("rate_per_s", True), ("not_met_per_s", False)):
        rate = sets(f"traffic.rate_per_s={rates[name]!r}")
        alone = json.loads(serve("--json", *goals, *rate).out)["metrics"]
        assert (alone["goodput"]["fraction"] >= 0.9) == meets
        if meets:
            assert alone == found["metrics"]


def test_two_results_are_compared(serve, folder, npusim):
    serve("--out", "a")
    serve("--out", "b", *sets(*HALVES))
    done = npusim("compare", "a", "b")
    assert done.code == 0 and "1 prefill, 1 decode" in done.out and "ttft mean" in done.out
    assert npusim("run", "llm.yaml", "--out", "c").code == 0
    done = npusim("compare", "a", "c")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: A is a result of npusim serve, B of npusim run; give two of one kind\n"
    )


class Lazy:
    """A scheduler that leaves request 2 where it is."""

    def __init__(self, queues, limits, slo, num_stages=1):
        self.inner = SCHEDULERS["chunked_prefill"](queues, limits, slo, num_stages)
        self.queues = queues

    def next_batch(self, now_ps):
        waiting = self.queues.waiting
        if any(request.request_id == 2 for request in waiting):
            return []
        return self.inner.next_batch(now_ps)


def test_a_scheduler_that_starves_a_request_is_reported(serve, folder, monkeypatch):
    monkeypatch.setitem(SCHEDULERS, "static", Lazy)
    done = serve("--scheduler", "static", "--out", "out", code=1)
    assert "scheduler static starves request" in done.err and done.out == ""
    assert done.err.count("\n") == 1 and not (folder / "out").exists()


def test_a_table_is_found_beside_its_scenario(folder, npusim):
    shutil.copytree(find_folder("rtx4090_llama-3.1-8b"), folder / "sub" / "mine")
    text = "base: serve_vllm_replay\nserving: {table: mine}\ntraffic: {requests: 3}\n"
    (folder / "sub" / "replay.yaml").write_text(text)
    done = npusim("serve", "sub/replay.yaml", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["scenario"]["serving"]["table"] == "sub/mine"


def test_a_table_needs_no_kernels():
    code = (
        "import sys; from npusim.cli.app import exit_code; "
        "assert exit_code(['serve', 'serve_vllm_replay', '--set', 'traffic.requests=3']) == 0; "
        "print(sorted({'numba', 'plotly', 'joblib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert "compiling" not in done.stderr
