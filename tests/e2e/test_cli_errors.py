"""Bad input to the command line: one line, the right exit code, and nothing written."""

import os

import pytest

RUN = ("run", "llm.yaml")
# arguments, and what the line must contain
BAD = {
    "missing scenario": (("run", "nowhere.yaml"), "nowhere.yaml"),
    "unknown scenario name": (("run", "quickstat"), "quickstart"),
    "unknown chip": ((*RUN, "--hw", "npu_large_cor"), "npu_large_core"),
    "missing chip file": ((*RUN, "--hw", "gone.yaml"), "gone.yaml"),
    "unknown model": ((*RUN, "--model", "llama-3.1-8"), "llama-3.1-8b"),
    "scenario is a folder": (("run", "."), "."),
    "scenario is a model": (("run", "model.json"), "give a model to --model"),
    "scenario is a chip": (("run", "chip.yaml"), "give a chip to --hw"),
    "chip is a scenario": ((*RUN, "--hw", "llm.yaml"), "llm.yaml"),
    "broken yaml": (("run", "broken.yaml"), "broken.yaml"),
    "empty yaml": (("run", "empty.yaml"), "empty.yaml"),
    "unknown option": ((*RUN, "--ouput", "x"), "--ouput"),
    "unknown command": (("rum",), "run"),
    "too many scenarios": ((*RUN, "more.yaml"), "more.yaml"),
    "option without value": ((*RUN, "--hw"), "--hw"),
    "unknown engine": ((*RUN, "--engine", "fats"), "fast"),
    "unknown fidelity": ((*RUN, "--fidelity", "cycle"), "transaction"),
    "set without a value": ((*RUN, "--set", "seed"), "seed"),
    "set of an unknown key": ((*RUN, "--set", "workload.promt_tokens=3"), "prompt_tokens"),
    "set of the wrong type": ((*RUN, "--set", "workload.prompt_tokens=many"), "many"),
    "set below the bound": ((*RUN, "--set", "workload.prompt_tokens=0"), "prompt_tokens"),
    "set of an unknown chip key": ((*RUN, "--set", "hw.noc.clok_mhz=3"), "clock_mhz"),
    "set of an unknown model key": ((*RUN, "--set", "model.hidden_size=-1"), "hidden_size"),
    "unknown workload kind": ((*RUN, "--set", "workload.kind=gem"), "gemm"),
    "unknown placement": ((*RUN, "--set", "placement=rings"), "ring"),
    "unknown partition": ((*RUN, "--set", "parallel.partition=megatrn"), "megatron"),
    "more stages than layers": ((*RUN, "--set", "parallel.pp=4", "--set", "parallel.tp=1"), "4"),
    "more cores than the chip has": ((*RUN, "--set", "parallel.tp=5"), "5"),
    "phase without its length": ((*RUN, "--set", "workload.phase=decode"), "decode"),
    "out is where nothing can be made": ((*RUN, "--out", "/proc/x/y"), "--out: cannot write"),
    "out is a file": ((*RUN, "--out", "chip.yaml"), "--out"),
    "out is below a file": ((*RUN, "--out", "chip.yaml/x"), "--out"),
    "trace is a folder": ((*RUN, "--trace", "sub.json"), "--trace"),
    "trace of an unknown suffix": ((*RUN, "--trace", "t.vcdd"), "t.vcdd"),
    "check of a missing file": (("check", "gone.yaml"), "gone.yaml"),
    "check of nothing": (("check",), "FILE"),
    "schema of an unknown kind": (("schema", "hardwar"), "hardware"),
    "list of an unknown kind": (("list", "placements"), "placement"),
    "compare with a missing result": (("compare", ".", "."), "result.json"),
    "compare with no result": (("compare", "model.json", "model.json"), "model.json"),
    "view of a missing trace": (("view", "gone.pftrace"), "gone.pftrace"),
}


@pytest.fixture
def bad_folder(folder):
    (folder / "broken.yaml").write_text("hw: [chip.yaml\n")
    (folder / "empty.yaml").write_text("")
    (folder / "sub.json").mkdir()
    return folder


def listing(folder):
    return {
        os.path.join(top, name): os.stat(os.path.join(top, name)).st_mtime_ns
        for top, folders, names in os.walk(folder)
        for name in (*folders, *names)
    }


@pytest.mark.parametrize("name", BAD)
def test_bad_input_costs_one_line_and_writes_nothing(name, bad_folder, npusim):
    arguments, expected = BAD[name]
    before = listing(bad_folder)
    done = npusim(*arguments)
    assert done.code == 2, (done.out, done.err)
    assert done.out == ""
    assert done.err.startswith("error: ") and done.err.count("\n") == 1, done.err
    assert expected in done.err
    assert listing(bad_folder) == before


SCRATCHPAD = "hw.core_groups.0.core.scratchpad"
CANNOT_PROCEED = {
    "weights do not fit": (
        [
            "model.intermediate_size=65536",
            "hw.memories.0.capacity_gib=0.01",
            "parallel.partition=megatron",
        ],
        "weights and KV need",
    ),
    "weights do not fit any partition": (
        ["model.intermediate_size=65536", "hw.memories.0.capacity_gib=0.01"],
        "weights need",
    ),
    "KV cache does not fit": (
        ["workload.context_tokens=5000000"],
        "weights and KV need",
    ),
    "buffers do not fit": (
        [f"{SCRATCHPAD}.capacity_mib=0.002", "hw.core_groups.0.core.dma.unit_bytes=64"],
        "scratchpad",
    ),
}


@pytest.mark.parametrize("name", CANNOT_PROCEED)
def test_what_cannot_proceed_costs_one_line_and_exit_code_1(name, folder, npusim):
    overrides, expected = CANNOT_PROCEED[name]
    before = listing(folder)
    flags = [part for override in overrides for part in ("--set", override)]
    done = npusim(*RUN, "--out", "out", *flags)
    assert done.code == 1, (done.out, done.err)
    assert done.err.startswith("error: ") and done.err.count("\n") == 1
    assert expected in done.err
    assert listing(folder) == before
