"""The estimate ranks the partitions as the simulation does, and counts attention and reductions."""

from dataclasses import replace

import pytest

from npusim.graph.batch import decode, prefill
from npusim.graph.micro import build_gemm
from npusim.graph.transformer import build
from npusim.machine.system import run
from npusim.passes.choose import choose
from npusim.passes.cut.graph import cut_graph
from npusim.passes.estimate import chip_of, estimate
from npusim.passes.partition import PARTITIONS, scheme_of
from npusim.passes.pipeline import lower
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel

SMALL = {
    "num_hidden_layers": 2, "hidden_size": 1024, "intermediate_size": 3584, "vocab_size": 4096,
    "num_attention_heads": 8, "num_key_value_heads": 4,
}  # fmt: skip
MESH = {"mesh": {"rows": 4, "columns": 4}, "core_groups.0.core.scratchpad.capacity_mib": 2}


@pytest.fixture(scope="module")
def chip():
    return load_hardware("npu_large_core", MESH)


def graph_of(batch):
    return build(load_model("llama-3.1-8b", SMALL), batch)


@pytest.mark.parametrize("batch", [prefill(1, 64), prefill(1, 1024), decode(4, 512)])
def test_auto_is_nearly_as_fast_as_the_fastest_partition(chip, batch):
    graph, times = graph_of(batch), {}
    for name in (*PARTITIONS, "auto"):
        parallel = Parallel(tp=16, partition=name)
        times[name] = run(lower(graph, chip, parallel, "auto", Dtypes()), chip).makespan_ps
    assert times.pop("auto") <= 1.1 * min(times.values()), times


@pytest.mark.parametrize(("shape", "tp"), [((512, 4096, 4096), 4), ((32, 4096, 4096), 3)])
def test_auto_knows_that_a_gemm_streams_its_weights_from_a_shared_memory(shape, tp):
    hardware, times = load_hardware("tpuv4_like"), {}
    for name in (*PARTITIONS, "auto"):
        program = lower(
            build_gemm(*shape), hardware, Parallel(tp=tp, partition=name), "ring", Dtypes()
        )
        times[name] = run(program, hardware).makespan_ps
    assert times.pop("auto") == min(times.values())


def test_cores_in_use_share_the_bandwidth_of_their_memory():
    hardware = load_hardware("tpuv4_like")
    gb_s = hardware.memory_instances()[0].memory.gb_s
    for used in ([2], [0, 1, 3], [0, 1, 2, 3]):
        assert chip_of(hardware, Dtypes(), used).memory_gb_s == pytest.approx(gb_s / len(used))


def test_links_bound_what_an_edge_memory_gives_a_core():
    hardware = load_hardware("npu_edge_hbm")
    memory, link = hardware.memory_instances()[0].memory, hardware.noc.link_gb_s
    alone = chip_of(hardware, Dtypes(), [0]).memory_gb_s
    shared = chip_of(hardware, Dtypes(), range(64)).memory_gb_s
    assert alone == min(memory.gb_s, link)
    assert shared == pytest.approx(min(memory.gb_s, len(memory.ports) * link) / 64)


def parts_of(batch, partition="megatron"):
    scheme = scheme_of(Parallel(tp=16, partition=partition))
    graph = graph_of(batch)
    names = graph.graph["layers"][1]
    return list(cut_graph(graph.subgraph(names), scheme).values()), scheme


def test_attention_is_array_work_and_grows_with_the_pairs(chip):
    numbers = chip_of(chip, Dtypes(), range(16))
    times = []
    for batch in (prefill(1, 512), prefill(2, 256)):  # twice the pairs, all else the same
        parts, scheme = parts_of(batch)
        times.append(estimate(parts, scheme, numbers, range(16), False))
    assert times[0].arrays_ps > times[1].arrays_ps
    assert times[0].collectives_ps == times[1].collectives_ps


def test_a_reduction_costs_additions_beside_its_messages(chip):
    numbers = chip_of(chip, Dtypes(), range(16))
    parts, scheme = parts_of(prefill(1, 512))
    down = next(part for part in parts if part.op.role == "down")
    gathered = replace(down, after=(replace(down.after[0], kind="all_gather"),))
    times = [
        estimate([part], scheme, numbers, range(16), False).collectives_ps
        for part in (down, gathered)
    ]
    assert times[0] > times[1]


def test_the_fastest_mapping_is_said_with_the_others(chip):
    _, notes = choose(graph_of(prefill(1, 64)), chip, Parallel(tp=16), "auto", Dtypes())
    assert all(name in notes[0] for name in PARTITIONS)
