"""`npusim run` from the command line to the files it writes, on a tiny chip."""

import json
import os
import subprocess
import sys

import pytest

MICRO = {
    "gemm": "{kind: gemm, m: 64, k: 64, n: 64}",
    "transfer": "{kind: transfer, src: [0, 0], dst: [1, 1], bytes: 65536}",
    "collective": "{kind: collective, op: all_reduce, bytes: 16384}",
    "memory": "{kind: memory, pattern: random, bytes: 65536, read_fraction: 0.5}",
}
PHASES = {
    "prefill": "{kind: llm, phase: prefill, prompt_tokens: 32}",
    "chunk": "{kind: llm, phase: prefill, prompt_tokens: 16, context_tokens: 48}",
    "decode": "{kind: llm, phase: decode, batch: 2, context_tokens: 40}",
    "generate": "{kind: llm, phase: generate, prompt_tokens: 8, output_tokens: 3}",
    "mixed": "{kind: llm, phase: prefill, requests: [[16, 0], [1, 30]]}",
}


def scenario(folder, workload, extra=""):
    llm = "kind: llm" in workload
    text = f"hw: chip.yaml\n{'model: model.json' if llm else ''}\nworkload: {workload}\n{extra}"
    (folder / "case.yaml").write_text(text)
    return "case.yaml"


def result_of(folder):
    return json.loads((folder / "out" / "result.json").read_text())


def test_a_run_says_what_binds_and_where_the_files_went(folder, npusim):
    done = npusim("run", "llm.yaml", "--out", "out", "--trace", "t.json.gz")
    assert done.code == 0, done.err
    assert "bound" in done.out.splitlines()[0].lower() or "%" in done.out.splitlines()[0]
    assert "wrote out/result.json" in done.out and "wrote t.json.gz" in done.out
    assert sorted(os.listdir(folder / "out")) == ["result.json"]


@pytest.mark.parametrize("name", [*MICRO, *PHASES])
def test_every_kind_of_workload_runs_and_conserves(name, folder, npusim):
    workload = (MICRO | PHASES)[name]
    done = npusim("run", scenario(folder, workload), "--out", "out")
    assert done.code == 0, done.err
    result = result_of(folder)
    assert result["totals"]["makespan_ps"] > 0
    assert all(check["ok"] for check in result["checks"]), result["checks"]


@pytest.mark.parametrize("name", [*MICRO, *PHASES])
def test_the_two_engines_agree_to_the_picosecond(name, folder, npusim):
    file = scenario(folder, (MICRO | PHASES)[name])
    results = []
    for engine in ("fast", "simpy"):
        done = npusim("run", file, "--engine", engine, "--out", "out")
        assert done.code == 0, done.err
        results.append(result_of(folder))
        del results[-1]["scenario"], results[-1]["counters"]
    assert results[0] == results[1]


def test_json_is_alone_on_standard_output_and_equals_the_file(folder, npusim):
    done = npusim("run", "llm.yaml", "--json", "--out", "out")
    assert done.code == 0
    assert done.out == (folder / "out" / "result.json").read_text()
    assert json.loads(done.out)["schema_version"] >= 1


def test_a_generation_of_three_tokens_is_a_prefill_and_two_decode_steps(folder, npusim):
    done = npusim("run", scenario(folder, PHASES["generate"]), "--json")
    iterations = json.loads(done.out)["iterations"]
    assert [i["label"] for i in iterations] == ["prefill", "decode 1", "decode 2"]
    assert sum(i["output_tokens"] for i in iterations) == 3
    ends = [i["start_ps"] + i["makespan_ps"] for i in iterations]
    assert [i["start_ps"] for i in iterations] == [0, *ends[:-1]]


def test_overrides_reach_scenario_chip_and_model(folder, npusim):
    slow = npusim("run", "llm.yaml", "--json", "--set", "hw.noc.link_bytes_per_cycle=4")
    deep = npusim("run", "llm.yaml", "--json", "--set", "model.num_hidden_layers=4")
    long = npusim("run", "llm.yaml", "--json", "--set", "workload.prompt_tokens=64")
    base = npusim("run", "llm.yaml", "--json")
    makespans = [json.loads(d.out)["totals"]["makespan_ps"] for d in (base, slow, deep, long)]
    assert min(makespans) == makespans[0] and len(set(makespans)) == 4


def test_another_workload_from_the_command_line_alone(folder, npusim):
    sets = [f"workload.{k}={v}" for k, v in {"kind": "gemm", "m": 32, "k": 64, "n": 48}.items()]
    flags = [x for s in sets for x in ("--set", s)]
    done = npusim("run", "llm.yaml", *flags, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["totals"]["flops"] == 2 * 32 * 64 * 48


@pytest.mark.parametrize("name", ["t.json", "t.json.gz", "t.pftrace"])
def test_the_same_input_gives_the_same_bytes(name, folder):
    files = []
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "npusim", "run", "llm.yaml"]
        command += ["--out", f"out{seed}", "--trace", f"{seed}/{name}"]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        result = (folder / f"out{seed}" / "result.json").read_bytes()
        files.append((result, (folder / seed / name).read_bytes()))
    assert files[0] == files[1]


@pytest.mark.parametrize("columns", ["60", "200"])
def test_the_summary_keeps_to_the_width_and_to_no_color(columns, folder):
    environment = os.environ | {"COLUMNS": columns, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "npusim", "run", "llm.yaml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "\033" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= int(columns)


def test_a_reader_that_goes_away_is_no_error(folder):
    command = f"{sys.executable} -m npusim run llm.yaml | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_a_failed_run_leaves_the_old_result(folder, npusim):
    assert npusim("run", "llm.yaml", "--out", "out").code == 0
    before = (folder / "out" / "result.json").read_bytes()
    too_large = ["--set", "workload.prompt_tokens=10000000"]
    failed = npusim("run", "llm.yaml", "--out", "out", *too_large)
    assert failed.code == 1 and failed.err.startswith("error: ")
    assert (folder / "out" / "result.json").read_bytes() == before
    assert os.listdir(folder / "out") == ["result.json"]
