"""An instance's share of a chip: its cores, its part of memories, the same weights resident in all
iterations, a fixed room for KV; and the footprint that an instance is settled by."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from npusim.errors import CapacityError, SpecError
from npusim.graph.batch import Slice, decode, prefill
from npusim.graph.transformer import build
from npusim.machine.system import run
from npusim.passes.footprint import footprint
from npusim.passes.pipeline import lower
from npusim.passes.share import WHOLE, Share
from npusim.program import LOAD, STORE
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel
from npusim.units import GIB, KIB, MIB

TINY = {
    "num_hidden_layers": 4, "hidden_size": 128, "intermediate_size": 256, "vocab_size": 512,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16,
}  # fmt: skip
MLA = {
    "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 256, "vocab_size": 512,
    "num_attention_heads": 8, "num_key_value_heads": 8, "q_lora_rank": 32, "kv_lora_rank": 32,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "first_k_dense_replace": 2,
}  # fmt: skip
PARALLEL = Parallel(tp=2, pp=2, partition="megatron")
MIXED = (Slice(64), *decode(4, 256))
BATCHES = [MIXED, prefill(1, 64), (Slice(32, 100, samples=False),), decode(1, 7), decode(4, 250)]


@pytest.fixture(scope="module")
def chip():
    return load_hardware("npu_large_core")


def small_scratchpads(kib):
    mib = kib / 1024
    return load_hardware("npu_large_core", {"core_groups.0.core.scratchpad.capacity_mib": mib})


def lowered(batch, chip, share, parallel=PARALLEL, name="qwen3-4b", **model):
    graph = build(load_model(name, {**TINY, **model}), batch)
    return lower(graph, chip, parallel, "ring", Dtypes(), share)


def held(chip, share=WHOLE, parallel=PARALLEL, batch=MIXED, name="qwen3-4b", tiny=TINY):
    graph = build(load_model(name, tiny), batch)
    return footprint(graph, chip, parallel, "ring", Dtypes(), share)


def settled(chip, room, cores=None):
    found = held(chip, Share(cores=cores, kv_room_bytes=room))
    return found, Share(cores=cores, buffers_bytes=found.buffers_bytes, kv_room_bytes=room)


# ---- cores and memories -------------------------------------------------------------------------


def test_all_cores_are_as_good_as_no_share(chip):
    one, two = (lowered(MIXED, chip, share) for share in (Share(), Share(cores=tuple(range(64)))))
    assert all((one.columns[name] == two.columns[name]).all() for name in one.columns)
    assert (one.deps == two.deps).all() and one.placed == two.placed


def test_tasks_stay_on_the_cores_of_the_share(chip):
    cores = (17, 18, 25, 26)
    program = lowered(MIXED, chip, Share(cores=cores))
    assert set(program.core.tolist()) == set(cores)
    assert run(program, chip).makespan_ps > 0


def test_too_many_ranks_for_the_share(chip):
    with pytest.raises(SpecError, match="tp 2 x pp 2 x dp 1 needs 4 cores, there are 3"):
        lowered(MIXED, chip, Share(cores=(0, 1, 2)))


def test_what_others_hold_is_left_alone():
    chip = small_scratchpads(32)
    share = Share(cores=(0, 1, 8, 9), memory_base=((0, 1000), (1, 5 * MIB)))
    program = lowered(MIXED, chip, share)
    moves = np.isin(program.kind, (LOAD, STORE))
    for memory_id, first in ((0, 4096), (1, 5 * MIB), (8, 0), (9, 0)):  # from whole stripes on
        own = moves & (program.memory == memory_id)
        assert program.address[own].min() == first


def test_a_memory_that_others_have_filled():
    chip = small_scratchpads(32)
    with pytest.raises(CapacityError, match="weights and KV need"):
        lowered(MIXED, chip, Share(cores=(0, 1, 8, 9), memory_base=((0, 4 * GIB),)))


# ---- the same weights in every iteration --------------------------------------------------------


@pytest.mark.parametrize(("kib", "room"), [(128, 16 * KIB), (64, 8 * KIB), (4096, MIB)])
def test_the_same_weights_stay_in_all_iterations(kib, room):
    chip = small_scratchpads(kib)
    found, share = settled(chip, room)
    expected = {core.core: core.memory_weight_bytes for core in found.cores}
    assert any(expected.values()) == (kib < 4096)
    for batch in BATCHES:
        rows = lowered(batch, chip, share).placed
        layers = {row["core"]: row["memory_weight_bytes"] for row in rows}
        # the tables of the first and last stage stand behind the layers and may find room
        assert all(layers[core] <= size for core, size in expected.items())
        if any(piece.samples for piece in batch):
            assert layers == expected


def test_a_short_context_settles_for_long_ones():
    chip, room = small_scratchpads(64), 8 * KIB
    found = held(chip, Share(kv_room_bytes=room), batch=decode(8, 1))
    share = Share(buffers_bytes=found.buffers_bytes, kv_room_bytes=room)
    expected = {core.core: core.memory_weight_bytes for core in found.cores}
    for context in (1, 100, 4000):
        rows = lowered(decode(8, context), chip, share).placed
        assert {row["core"]: row["memory_weight_bytes"] for row in rows} == expected


def test_buffers_hold_what_does_not_fill_them():
    found, share = settled(small_scratchpads(128), 16 * KIB)
    again = held(small_scratchpads(128), share)
    assert again == replace(found, cores=again.cores)
    for one, two in zip(found.cores, again.cores, strict=True):
        assert two.buffers_bytes == found.buffers_bytes >= one.buffers_bytes
        assert two.weight_bytes == one.weight_bytes


def test_more_room_for_kv_leaves_less_for_weights():
    chip, resident = small_scratchpads(128), []
    for room in (0, 16 * KIB, 32 * KIB):
        found, _ = settled(chip, room)
        resident.append(sum(core.resident_weight_bytes for core in found.cores))
    assert resident == sorted(resident, reverse=True) and resident[0] > resident[-1]


def test_a_room_that_leaves_no_buffers():
    chip = small_scratchpads(64)
    with pytest.raises(CapacityError, match=r"core 0: buffers of .* and KV room of 64.00 KiB"):
        lowered(MIXED, chip, Share(kv_room_bytes=64 * KIB))


# ---- KV in the room -----------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "stays"), [(1.0, 1.0), (0.5, 0.5), (0.3, 0.25), (0.0, 0.0)])
def test_a_fraction_of_the_cache_stays_in_whole_blocks(chip, fraction, stays):
    # 64 rows x 2 KV heads x 32 elements of 2 bytes = 8 KiB a layer; two layers a core
    batch, layer = decode(1, 63), 8 * KIB
    share = Share(kv_room_bytes=MIB, kv_resident_fraction=fraction)
    block = chip.core(0).scratchpad.block_bytes
    kept = int(layer * fraction) // block * block
    assert kept == int(layer * stays)
    for row in lowered(batch, chip, share).placed:
        assert row["sram_kv_bytes"] == 2 * kept
        assert row["memory_kv_bytes"] == 2 * (layer - kept)


def test_no_more_than_the_room_stays(chip):
    share = Share(kv_room_bytes=12 * KIB)  # of 16 KiB
    for row in lowered(decode(1, 63), chip, share).placed:
        assert row["sram_kv_bytes"] == 12 * KIB and row["memory_kv_bytes"] == 4 * KIB


def test_what_is_not_resident_is_loaded(chip):
    context, loads = 64 * KIB // 128 - 1, []
    for fraction in (1.0, 0.5, 0.0):
        share = Share(kv_room_bytes=4 * MIB, kv_resident_fraction=fraction)
        program = lowered(decode(1, context), chip, share)
        loads.append(int(program.bytes[program.kind == LOAD].sum()))
        run(program, chip)
    row = 2 * 32 * 2  # bytes of the new token's row: it is in the scratchpad already
    # 4 cores of 2 layers
    assert loads == [0, 8 * (32 * KIB - row), 8 * (64 * KIB - row)]


# ---- footprint ----------------------------------------------------------------------------------


def test_weights_and_kv_of_every_core(chip):
    found = held(chip)
    assert [len(cores) for cores in found.groups] == [2, 2]
    # a layer: qkv 128 x 256, output 128 x 128, gate and up 128 x 512, down 256 x 128
    layer = 2 * (128 * (256 + 128 + 512 + 256))
    table = 2 * 512 * 128
    for core in found.cores:
        assert core.weight_bytes == (2 * layer + table) // 2  # tp 2; a table at either end
        assert core.kv_bits_per_token == 2 * 2 * (4 // 2) * 16 * 16
        assert core.memory_weight_bytes == 0 and core.memory_id == core.core
        used = core.scratchpad_bytes - core.unclaimed_bytes
        assert used == pytest.approx(core.buffers_bytes + core.weight_bytes, abs=20 * KIB)
    assert [m.cores for m in found.memories] == [(c,) for c in sorted(sum(found.groups, ()))]
    bits = found.cores[0].kv_bits_per_token
    assert found.memory_tokens() == (4 * GIB - 4096) * 8 // bits


def test_replicated_heads_and_latents(chip):
    spread = held(chip, parallel=Parallel(tp=8, partition="megatron"))
    # 4 KV heads over 8 ranks: each holds one, 4 layers
    assert {c.kv_bits_per_token for c in spread.cores} == {Fraction(4 * 2 * 16 * 16)}
    shared = held(chip, parallel=Parallel(tp=16, partition="megatron"))
    # 16 ranks, 8 query heads: two ranks share a head's context
    assert {c.kv_bits_per_token for c in shared.cores} == {Fraction(4 * 2 * 16 * 16, 2)}
    latent = held(chip, parallel=Parallel(tp=4, partition="megatron"), name="deepseek-v3", tiny=MLA)
    assert {c.kv_bits_per_token for c in latent.cores} == {Fraction(2 * (32 + 8) * 16)}


def test_experts_are_weights_too(chip):
    tiny = {**TINY, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
    parallel = Parallel(tp=2, partition="megatron")
    found = held(chip, parallel=parallel, name="qwen3-30b-a3b", tiny=tiny)
    layer = 128 * (256 + 128) + 8 * 128 * 64 * 3
    router = 2 * 128 * 8 // 2  # cut by columns and gathered
    expected = (4 * (2 * layer + 2 * router) + 2 * 2 * 512 * 128) // 2
    assert {core.weight_bytes for core in found.cores} == {expected}


def test_cores_share_the_room_of_a_shared_memory():
    found = held(load_hardware("npu_edge_hbm"))
    (memory,) = found.memories
    assert memory.cores == tuple(sorted(core.core for core in found.cores))
    bits = sum(core.kv_bits_per_token for core in found.cores)
    assert found.memory_tokens() == int(memory.free_bytes * 8 / bits)


def test_an_instance_of_one_kind_of_cores():
    chip = load_hardware("npu_hetero_pd")
    share = Share(cores=tuple(range(42, 64)), kv_room_bytes=MIB)
    found = held(chip, share, Parallel(tp=2, pp=2))
    assert {core.core for core in found.cores} <= set(range(42, 64))
    assert found.parallel.partition != "auto"
    with pytest.raises(SpecError, match="needs 24 cores, there are 22"):
        held(chip, share, Parallel(tp=6, pp=4))


def test_a_partition_for_several_kinds_of_iterations(chip):
    model = load_model("qwen3-4b", {"num_hidden_layers": 4})
    large, step = build(model, prefill(1, 2048)), build(model, decode(8, 500))
    parallel, chosen = Parallel(tp=4), []
    for graph, beside in ((large, ()), (step, ()), (large, (step,))):
        found = footprint(graph, chip, parallel, "ring", Dtypes(), beside=beside)
        chosen.append(found.parallel.partition)
    # rotating weights are a little better for the prompt, and twice as slow in a decode step
    assert chosen == ["mn", "megatron", "megatron"]


def test_one_replica_an_instance(chip):
    with pytest.raises(SpecError, match="dp must be 1"):
        held(chip, parallel=Parallel(dp=2))


def test_a_chip_with_kernels():
    chip = load_hardware("a100_sxm_80")
    found = held(chip, parallel=Parallel(tp=1))
    (core,), (memory,) = found.cores, found.memories
    layer, table = 2 * (128 * (256 + 128 + 512 + 256)), 2 * 512 * 128
    norms = core.weight_bytes - 4 * layer - table  # the LM head is tied to it
    stripe = chip.memory_instances()[memory.memory_id].memory.interleave_bytes
    assert 0 <= norms < (4 * 8 + 2) * stripe  # norms, and every tensor starts on a stripe
    assert core.kv_bits_per_token == 4 * 2 * 4 * 16 * 16
    assert memory.first_free >= core.weight_bytes
    assert found.memory_tokens() == int(memory.free_bytes * 8 / core.kv_bits_per_token)
    assert memory.free_bytes < chip.memory_instances()[memory.memory_id].memory.capacity_bytes
