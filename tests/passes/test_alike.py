"""Copied rows are the rows: of ranks that do the same, and of layers that look far back."""

import numpy as np
import pytest

from npusim.graph.batch import Slice, decode, prefill
from npusim.graph.transformer import build
from npusim.passes.emit import alike, stages
from npusim.passes.emit.repeat_rows import Run
from npusim.passes.pipeline import lower
from npusim.passes.share import WHOLE, Share
from npusim.program import check
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel

TINY = {
    "num_hidden_layers": 3, "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1024,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32,
}  # fmt: skip
BATCHES = {
    "prefill": prefill(2, 96),
    "decodes of one context": decode(20, 200),
    "decodes of different contexts": tuple(Slice(1, 37 * i + 9) for i in range(20)),
    "mixed": (Slice(64, 128, False), Slice(1, 77), Slice(1, 300)),
}
EXPERTS = {"num_local_experts": 4}
LATENT = {"num_hidden_layers": 3, "vocab_size": 1024, "n_routed_experts": 8, "hidden_size": 256}


def lowered(batch, name="qwen3-4b", model=TINY, capacity_mib=0.25, share=WHOLE, mla="auto", **more):
    """On a chip whose scratchpads are too small for the weights."""
    key = "core_groups.0.core.scratchpad.capacity_mib"
    hardware = load_hardware("npu_large_core", {key: capacity_mib})
    parallel = Parallel(**{"partition": "megatron", "collective": "ring", **more})
    graph = build(load_model(name, model), batch, mla)
    return lower(graph, hardware, parallel, "mesh2d", Dtypes(), share)


def assert_same(program, other):
    check(program)
    assert program.ops == other.ops
    for name, column in other.columns.items():
        np.testing.assert_array_equal(program.columns[name], column, name)
    np.testing.assert_array_equal(program.dep_start, other.dep_start)
    np.testing.assert_array_equal(program.deps, other.deps)


@pytest.fixture
def both_ways(monkeypatch):
    """The program with ranks copied wherever that can be, and with every rank emitted."""

    def programs(*args, **options):
        found = []
        for least in (0, 1 << 62):
            monkeypatch.setattr(alike, "LEAST_TASKS", least)
            found.append(lowered(*args, **options))
        return found

    return programs


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    "parallel",
    [
        {"tp": 4},
        {"tp": 3},  # heads are spread unevenly
        {"tp": 16},  # two ranks share a head
        {"tp": 4, "pp": 2, "micro_batches": 2},
        {"tp": 4, "partition": "input_only"},
        {"tp": 4, "partition": "k"},
    ],
    ids=lambda p: " ".join(f"{key} {value}" for key, value in p.items()),
)
def test_ranks_that_do_the_same(both_ways, batch, parallel):
    if len(BATCHES[batch]) < parallel.get("micro_batches", 1):
        pytest.skip("fewer requests than micro-batches")
    assert_same(*both_ways(BATCHES[batch], **parallel))


@pytest.mark.parametrize("mla", ["absorbed", "expanded"])
def test_ranks_with_latents(both_ways, mla):
    model = {**LATENT, "moe_intermediate_size": 64}
    options = {"name": "deepseek-v3", "model": model, "capacity_mib": 4.0, "mla": mla}
    assert_same(*both_ways(BATCHES["mixed"], tp=4, ep=2, **options))


def test_ranks_with_experts(both_ways):
    options = {"name": "mixtral-8x7b", "model": {**TINY, **EXPERTS}}
    assert_same(*both_ways(BATCHES["mixed"], tp=4, ep=2, **options))


def test_activations_that_spill_go_to_each_core_s_own_memory(both_ways):
    copied, emitted = both_ways(prefill(1, 600), tp=4, capacity_mib=0.2)
    assert_same(copied, emitted)
    adds = {i for i, op in enumerate(copied.ops) if op.kind == "add"}
    spilled = (copied.memory >= 0) & np.isin(copied.op, list(adds))
    assert len(set(copied.memory[spilled])) == 4


@pytest.mark.parametrize("fraction", [0.25, 1.0])
def test_ranks_with_part_of_the_cache_in_the_scratchpad(both_ways, fraction):
    share = Share(kv_room_bytes=64 << 10, kv_resident_fraction=fraction)
    assert_same(*both_ways(BATCHES["mixed"], tp=4, share=share))


@pytest.mark.parametrize(("context", "furthest"), [(100, 10), (300, 3), (1000, 1)])
def test_layers_that_wait_for_what_stands_several_layers_back(monkeypatch, context, furthest):
    """A buffer of 2 MiB / 16 holds blocks of 128 bytes a token for each of several layers: a load
    waits for the layer that had its room, and layers repeat once each leaves behind what the one
    before it did."""
    emitted = []
    pattern = stages._emit_pattern

    def counted(*args):
        emitted.append(args[2])
        return pattern(*args)

    monkeypatch.setattr(stages, "_emit_pattern", counted)
    given = {"tp": 4, "capacity_mib": 2.0, "share": Share(kv_room_bytes=0)}
    given["model"] = {**TINY, "num_hidden_layers": 40}
    short, num_emitted = lowered(decode(1, context), **given), len(emitted)
    monkeypatch.setattr(
        stages, "find_runs", lambda items: [Run(i, 1, 1) for i in range(len(items))]
    )
    full = lowered(decode(1, context), **given)
    assert_same(short, full)
    assert _furthest(full) == furthest
    assert num_emitted < 30


def _furthest(program):
    """Layers between a task and what it waits for, at most."""
    layer = np.array([op.layer for op in program.ops])[program.op]
    waiting = np.repeat(layer, np.diff(program.dep_start))
    inside = (layer[program.deps] >= 0) & (waiting >= 0)
    return int((waiting - layer[program.deps])[inside].max())
