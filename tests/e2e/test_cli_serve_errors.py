"""Bad input to `npusim serve`: one line, word for word, the right exit code, nothing written."""

import os

import pytest
from serve_files import BURST, sets, write_scenario

SCHEDULERS = "budgeted_fusion, chunked_prefill, decode_first, prefill_first, slo, static"
INSTANCES = "--set serving.instances: serving.instances"
SERVE = ("serve", "serve.yaml")

# arguments → the line after `error: `
BAD = {
    ("run", "serve.yaml"): "traffic: is a stream of requests; npusim serve simulates it",
    ("serve", "llm.yaml"): "llm.yaml: has a workload and no traffic; npusim run simulates it",
    ("serve", "chip.yaml"): "chip.yaml: must be a scenario; give a chip to --hw",
    ("serve", "model.json"): "model.json: must be a scenario; give a model to --model",
    (*SERVE, "--slow"): "--slow is no option of this command; did you mean '--slo'?",
    (*SERVE, "--scheduler", "chunked_prefil"): f"--scheduler: scheduler must be one of {SCHEDULERS}"
    ", not 'chunked_prefil'; did you mean 'chunked_prefill'?",
    (*SERVE, "--iteration", "memmo"): "--iteration: iteration must be one of analytic, live, memo, "
    "table, not 'memmo'; did you mean 'memo'?",
    (*SERVE, "--slo", "500ms"): "--slo: must be ttft=TIME,tbt=TIME, not '500ms'",
    (*SERVE, "--slo", ""): "--slo: must be ttft=TIME,tbt=TIME, not ''",
    (*SERVE, "--slo", "ttft=5xs"): "--slo: must be a time such as 500ms or 2s, not '5xs'",
    (*SERVE, "--slo", "ttft="): "--slo: must be a time such as 500ms or 2s, not ''",
    (*SERVE, "--slo", "tft=5ms"): "--slo: goal must be one of tbt, ttft, not 'tft'; did you mean "
    "'ttft'?",
    (*SERVE, "--slo", "ttft=-5ms"): "--slo: must be above 0, not '-5ms'",
    (*SERVE, "--slo", "ttft=nan"): "--slo: must be above 0, not 'nan'",
    (*SERVE, "--slo", "tbt=1ms,tbt=2ms"): "--slo: must give tbt once, not 'tbt=1ms,tbt=2ms'",
    (*SERVE, "--find-rate"): "--find-rate: needs goals: --slo ttft=500ms,tbt=50ms",
    (*SERVE, "--find-rate", "--slo", "ttft=5ms", "--set", BURST): "traffic.kind: must have a rate, "
    "burst has none; use poisson",
    (*SERVE, "--plots", "x.txt"): "--plots: must end in .html, not 'x.txt'",
    (*SERVE, "--plots", "sub.html"): "--plots: must be a file, 'sub.html' is a folder",
    (*SERVE, "--plots", "chip.yaml/x.html"): "--plots: 'chip.yaml' is a file, not a folder",
    (*SERVE, "--out", "chip.yaml"): "--out: must be a folder, 'chip.yaml' is a file",
    (*SERVE, "--trace", "sub.json"): "--trace: must be a file, 'sub.json' is a folder",
}
# one --set each → the line
BAD_KEYS = {
    "traffic=": "serve.yaml:1: workload is missing",
    "traffic.rate_per_s=0": "--set traffic.rate_per_s: traffic.rate_per_s must be above 0, not 0",
    "traffic.rate_per_s=-3": "--set traffic.rate_per_s: traffic.rate_per_s must be above 0, not -3",
    "traffic.requests=0": "--set traffic.requests: traffic.requests must be at least 1, not 0",
    "traffic.kind=poison": "--set traffic.kind: traffic.kind must be one of poisson, gamma, "
    "constant, burst, azure, mooncake, csv, not 'poison'; did you mean 'poisson'?",
    "traffic.rate=3": "--set traffic.rate: unknown key traffic.rate; did you mean 'rate_per_s'?",
    "traffic={kind: csv, path: bad.csv}": "bad.csv:3: prompt_tokens must be a whole number, "
    "not 'x'",
    "traffic={kind: azure, path: bad.csv}": "bad.csv:1: column TIMESTAMP is missing",
    "traffic={kind: mooncake, path: bad.jsonl}": "bad.jsonl:2: is not JSON: Expecting ',' "
    "delimiter at column 35",
    "traffic={kind: csv, path: gone.csv}": "--set traffic: traffic file 'gone.csv' is not there",
    "model=": "--set model: model is missing; workload kind serve needs it",
    "serving.sheduler=3": "--set serving.sheduler: unknown key serving.sheduler; did you mean "
    "'scheduler'?",
    "serving.scheduler=statik": f"serving.scheduler must be one of {SCHEDULERS}, not 'statik'; did "
    "you mean 'static'?",
    "serving.routing=robin": "serving.routing must be one of least_loaded, prefix_aware, "
    "round_robin, not 'robin'; did you mean 'round_robin'?",
    "serving.placement=pp_frst": "--set serving.placement: serving.placement must be one of "
    "pp_first, dp_first, in_order, not 'pp_frst'; did you mean 'pp_first'?",
    "serving.instances=[]": f"{INSTANCES} must have at least 1 items, not 0",
    "serving.instances=[{role: prefill}]": f"{INSTANCES} have no role decode; prefill and decode "
    "need each other",
    "serving.instances=[{role: prefil}]": f"{INSTANCES}.0.role must be one of both, prefill, "
    "decode, not 'prefil'; did you mean 'prefill'?",
    "serving.instances=[{role: prefill, cores: []}, {role: decode}]": f"{INSTANCES}.0.cores must "
    "be all, or a list of core ids, [row, column] pairs and first-last ranges, not []",
    "serving.instances=[{count: 2, cores: [0, 1, 2, 3]}]": f"{INSTANCES}.0.cores is for one "
    "instance, count is 2; list them apart",
    "serving.instances=[{count: 2}]": "serving.instances[0]: each needs 4 cores (tp x pp), 0 are "
    "left; lower tp, pp or count",
    "serving.instances=[{cores: [0, 1, 1, 2]}]": "serving.instances[0].cores: must not repeat core "
    "1, which an instance has already",
    "serving.instances=[{cores: [0, 1, 2]}]": "serving.instances[0].cores: must be 4 cores (tp 4 x "
    "pp 1), not 3",
    "serving.instances=[{cores: [0, 1, 2, 9]}]": "serving.instances[0].cores: must lie in the 2x2 "
    "mesh, not 9",
    "parallel.tp=5": "serving.instances[0]: each needs 5 cores (tp x pp), 4 are left; lower tp, "
    "pp or count",
    "serving.limits={max_tokens: 16, chunk_tokens: 64}": "--set serving.limits: "
    "serving.limits.chunk_tokens must be at most max_tokens 16, not 64",
    "serving.limits={max_requests: 4, batch_size: 8}": "--set serving.limits: "
    "serving.limits.batch_size must be at most max_requests 4, not 8",
    "serving.kv={layout: sram_ring, prefix_cache: true}": "--set serving.kv: "
    "serving.kv.prefix_cache does not go with layout sram_ring, which shares nothing",
    "serving.kv={layout: sram_ring, preemption: swap}": "--set serving.kv: serving.kv.preemption "
    "must be recompute with layout sram_ring, not 'swap'",
    "serving.iteration=table": "serve.yaml:5: serving.table is missing; needed by iteration table",
    "serving.table=x": "--set serving.table: serving.table does not go with iteration analytic",
}


@pytest.fixture
def bad_folder(folder):
    write_scenario(folder)
    (folder / "bad.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,8,4\n1,x,4\n")
    begun = '{"timestamp": 3, "input_length": 5'
    whole = '{"timestamp": 0, "input_length": 5, "output_length": 2, "hash_ids": [1]}'
    (folder / "bad.jsonl").write_text(f"{whole}\n{begun}\n")
    for name in ("sub.html", "sub.json"):
        (folder / name).mkdir()
    return folder


def refused(npusim, folder, arguments, code):
    """The line of a command that fails without writing anything."""
    before = sorted(os.walk(folder))
    done = npusim(*arguments)
    assert done.code == code, (done.out, done.err)
    assert done.out == "" and sorted(os.walk(folder)) == before
    *progress, line = done.err.splitlines()
    assert all(text.startswith("served ") for text in progress)
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize("arguments", BAD, ids=" ".join)
def test_bad_options_cost_one_line(arguments, bad_folder, npusim):
    assert refused(npusim, bad_folder, arguments, 2) == BAD[arguments]


@pytest.mark.parametrize("text", BAD_KEYS)
def test_bad_keys_cost_one_line(text, bad_folder, npusim):
    line = refused(npusim, bad_folder, (*SERVE, "--out", "out", *sets(text)), 2)
    assert line == BAD_KEYS[text] or line.startswith(f"{BAD_KEYS[text]};"), line


BAD_TABLES = {
    (
        "serving.table=gone",
        "serving.kv.num_blocks=5",
    ): "serving.table: must be a folder of measured "
    "kernels or one of rtx4090_llama-3.1-8b, not 'gone'",
    ("serving.table=rtx4090_llama-3.1-8b",): "serving.kv.num_blocks: is missing; needed by "
    "iteration table",
    ("serving.table=rtx4090_llama", "serving.kv.num_blocks=5"): "serving.table: must be a folder "
    "of measured kernels or one of rtx4090_llama-3.1-8b, not 'rtx4090_llama'; did you mean "
    "'rtx4090_llama-3.1-8b'?",
}


@pytest.mark.parametrize("texts", BAD_TABLES, ids="; ".join)
def test_bad_tables_cost_one_line(texts, bad_folder, npusim):
    arguments = (*SERVE, *sets("serving.iteration=table", *texts))
    assert refused(npusim, bad_folder, arguments, 2) == BAD_TABLES[texts]


def test_a_core_that_two_instances_list_is_named(bad_folder, npusim):
    two = "serving.instances=[{cores: [0, 1]}, {cores: [1, 2]}]"
    line = refused(npusim, bad_folder, (*SERVE, *sets("parallel.tp=2", two)), 2)
    assert line == (
        "serving.instances[1].cores: must not repeat core 1, which an instance has already"
    )


# what cannot proceed: exit code 1
CANNOT = {
    ("serving.kv.memory_fraction=0", "serving.kv.sram_fraction=0"): "leave no room for KV",
    ("serving.kv.num_blocks=100000000",): "serving.kv.num_blocks is 100,000,000, an instance has "
    "room for ",
    ("hw.memories.0.capacity_gib=0.0001", "model.intermediate_size=65536"): "weights",
}


@pytest.mark.parametrize("texts", CANNOT, ids="; ".join)
def test_what_does_not_fit_costs_one_line_and_exit_code_1(texts, bad_folder, npusim):
    line = refused(npusim, bad_folder, (*SERVE, "--out", "out", *sets(*texts)), 1)
    assert CANNOT[texts] in line


def test_goals_that_no_rate_meets_cost_one_line_and_exit_code_1(bad_folder, npusim):
    line = refused(npusim, bad_folder, (*SERVE, "--find-rate", "--slo", "ttft=1us"), 1)
    assert line.startswith("--find-rate: no rate meets the goals, tried down to ")
    assert line.endswith("/s; loosen them, or lower serving.slo.attain_fraction 0.9")
