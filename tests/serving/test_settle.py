"""Instances on literal chips: weights and KV fit, are where they should be, and overlap nothing."""

from fractions import Fraction
from itertools import pairwise

import pytest
from tiny_chip import chip_text

from npusim.errors import CapacityError, SpecError
from npusim.serving.settle import largest_batch, settle
from npusim.spec.load import load_scenario, resolve
from npusim.units import GIB, MIB

CHIP = chip_text("ATTACH", capacity_gib=1 / 16)
SCENARIO = """\
hw: HW
model: MODEL
parallel: {tp: 2, pp: 1, partition: megatron}
traffic: {kind: burst, requests: 1, prompt: &nine {kind: fixed, tokens: 9}, output: *nine}
serving:
  limits: {max_requests: 8, max_tokens: 64}
"""
ATTACH = {
    "core": "core", "group": "group, cores_per_instance: 4",
    "edge": "edge, ports: [{at: [0, 0]}, {at: [1, 3]}]",
}  # fmt: skip
CAPACITY = 64 * MIB
TINY = ["model.num_hidden_layers=4", "model.hidden_size=256", "model.intermediate_size=512",
        "model.vocab_size=4096"]  # fmt: skip
DENSE = ("qwen3-4b", [*TINY, "model.num_attention_heads=8", "model.num_key_value_heads=8",
                      "model.head_dim=32"])  # fmt: skip
GQA = ("qwen3-4b", [*TINY, "model.num_attention_heads=8", "model.num_key_value_heads=2",
                    "model.head_dim=32"])  # fmt: skip
MOE = ("qwen3-30b-a3b", [*TINY, "model.num_attention_heads=8", "model.num_key_value_heads=4",
                         "model.head_dim=32", "model.num_experts=8", "model.num_experts_per_tok=2",
                         "model.moe_intermediate_size=128"])  # fmt: skip
MLA = ("deepseek-v3", [*TINY, "model.num_attention_heads=8", "model.num_key_value_heads=8",
                        "model.q_lora_rank=64",
                            "model.kv_lora_rank=64", "model.qk_nope_head_dim=32",
                            "model.qk_rope_head_dim=16", "model.v_head_dim=32",
                            "model.first_k_dense_replace=4"])  # fmt: skip
MODELS = {"dense": DENSE, "gqa": GQA, "moe": MOE, "mla": MLA}
# elements of K and V (or what stands for them) of a token and layer
ROW = {"dense": 2 * 8 * 32, "gqa": 2 * 2 * 32, "moe": 2 * 4 * 32, "mla": 64 + 16}


def scenario(folder, hw, model, overrides):
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO.replace("HW", hw).replace("MODEL", model))
    return load_scenario(path, overrides)


@pytest.fixture
def settled(tmp_path):
    """settled(attach, *overrides): a small model on the tiny chip."""

    def make(attach="core", *overrides, model="gqa", chip=CHIP):
        path = tmp_path / "chip.yaml"
        path.write_text(chip.replace("ATTACH", ATTACH[attach]))
        name, sizes = MODELS[model]
        return settle(resolve(scenario(tmp_path, str(path), name, [*sizes, *overrides])))

    return make


def weights_of(one):
    return sum(core.memory_weight_bytes for core in one.footprint.cores)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "mapping", ["tp: 2, pp: 1", "tp: 2, pp: 2", "tp: 1, pp: 4", "tp: 8, pp: 1"]
)
def test_weights_and_kv_fit_every_memory(settled, model, mapping):
    (one,) = settled("core", f"parallel={{{mapping}, partition: megatron}}", model=model)
    kv_tokens = one.size.num_blocks * one.size.block_tokens
    sram_tokens = one.size.sram_blocks * one.size.block_tokens
    most = 0
    for core in one.footprint.cores:
        kv_bytes = Fraction(core.kv_bits_per_token, 8) * (kv_tokens - sram_tokens)
        assert core.memory_weight_bytes + kv_bytes <= CAPACITY
        most = max(most, core.memory_weight_bytes + kv_bytes)
        in_scratchpad = Fraction(core.kv_bits_per_token, 8) * sram_tokens
        held = core.buffers_bytes + core.resident_weight_bytes + in_scratchpad
        assert held <= core.scratchpad_bytes
    assert most > 0.85 * CAPACITY  # of the 0.9 that KV may have beside few weights
    assert len(one.footprint.cores) == one.row.tp * one.row.pp


@pytest.mark.parametrize("model", MODELS)
def test_kv_of_a_token_by_hand(settled, model):
    (one,) = settled(model=model)
    assert one.row.kv_bytes_per_token == 4 * ROW[model] * 2  # layers, bf16
    stored = sum(core.kv_bits_per_token for core in one.footprint.cores) / 8
    copies = 2 if model == "mla" else 1  # every rank needs the latent of all heads
    assert stored == copies * one.row.kv_bytes_per_token


@pytest.mark.parametrize(("dtype", "ratio"), [("bf16", 1), ("fp8", 2), ("int8", 2)])
def test_blocks_by_the_bits_of_kv(settled, dtype, ratio):
    (one,) = settled("core", f"dtype.kv={dtype}", "serving.kv.sram_fraction=0.0")
    # a rank's half of 4 layers x 2 KV heads x 32 x (K and V) elements
    per_token = 4 * 2 * 32 * 2 * 2 // 2 // ratio
    (first, *_) = one.footprint.memories
    tokens = int(first.free_bytes / per_token * 0.9)
    assert one.size.num_blocks == tokens // 16


def test_scratchpad_room_is_what_was_asked_for(settled):
    (one,) = settled("core", "serving.kv.sram_fraction=0.25")
    assert one.share.kv_room_bytes == MIB // 4
    assert one.size.sram_blocks == MIB // 4 // 512 // 16  # 512 bytes of a token on each rank
    (none,) = settled("core", "serving.kv.sram_fraction=0.0")
    assert none.size.sram_blocks == 0 == none.share.kv_room_bytes


def test_more_room_in_scratchpads_is_more_blocks_there_and_no_more_bytes(settled):
    found = [settled("core", f"serving.kv.sram_fraction={f}")[0] for f in (0.0, 0.2, 0.4)]
    sram = [one.size.sram_blocks for one in found]
    assert sram == sorted(set(sram))
    for one in found:
        core = one.footprint.cores[0]
        room = one.share.kv_room_bytes
        assert core.buffers_bytes + core.resident_weight_bytes + room <= core.scratchpad_bytes


def test_more_than_a_scratchpad_holds(settled):
    with pytest.raises(CapacityError):
        settled("core", "serving.kv.sram_fraction=1.0")


def test_num_blocks_sets_the_blocks(settled):
    (one,) = settled("core", "serving.kv={num_blocks: 77, block_tokens: 8}")
    assert (one.size.num_blocks, one.size.block_tokens) == (77, 8)
    assert one.row.num_blocks == 77 and one.size.sram_blocks <= 77


def test_the_ring_of_the_study_has_blocks_of_the_scratchpad(settled):
    (one,) = settled("core", "serving.kv={layout: sram_ring, sram_fraction: 0.25}")
    block_bytes = one.footprint.cores[0].block_bytes
    assert one.size.block_tokens == max(1, block_bytes // 512)
    assert one.size.num_blocks == one.size.sram_blocks == MIB // 4 // 512 // one.size.block_tokens
    assert one.size.memory_tokens > 0


@pytest.mark.parametrize("attach", ["group", "edge"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_instances_share_a_memory_without_overlap(settled, attach, count):
    found = settled(attach, f"serving.instances=[{{count: {count}}}]")
    areas = {}
    for one in found:
        base = dict(one.share.memory_base)
        for memory in one.footprint.memories:
            kv_tokens = (one.size.num_blocks - one.size.sram_blocks) * one.size.block_tokens
            bits = {core.core: core.kv_bits_per_token for core in one.footprint.cores}
            kv_bytes = kv_tokens * sum(bits[core] for core in memory.cores) // 8
            areas.setdefault(memory.memory_id, []).append(
                (base.get(memory.memory_id, 0), memory.first_free + kv_bytes)
            )
    for parts in areas.values():
        parts.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(parts))
        assert parts[-1][1] <= CAPACITY


@pytest.mark.parametrize("count", [2, 4])
def test_what_weights_leave_is_divided_evenly(settled, count):
    """Weights are most of the memory: none of it goes to the first because it comes first."""
    heavy = [
        "model.vocab_size=10240",
        "model.intermediate_size=1024",
        "serving.kv.sram_fraction=0.0",
    ]
    found = settled("edge", *heavy, f"serving.instances=[{{count: {count}}}]")
    (alone,) = settled("edge", *heavy)
    weights = alone.footprint.memories[0].first_free
    assert weights > CAPACITY // 6
    each = (CAPACITY - count * weights) / count * 0.9 / 1024 // 16  # 1,024 bytes a token
    blocks = [one.size.num_blocks for one in found]
    assert max(blocks) - min(blocks) <= 0.01 * each
    assert min(blocks) == pytest.approx(each, rel=0.01)


def test_instances_on_different_chips_share_nothing(settled):
    (alone,) = settled("edge")
    apart = settled("edge", "serving.instances=[{chip: 0}, {chip: 1}]")
    assert [one.size for one in apart] == [alone.size] * 2
    assert all(not one.share.memory_base for one in apart)
    assert [one.row.cores for one in apart] == [alone.row.cores] * 2
    together = settled("edge", "serving.instances=[{chip: 0}, {chip: 0}, {chip: 1}]")
    assert together[0].size.num_blocks < alone.size.num_blocks == together[2].size.num_blocks


def test_private_memories_are_not_divided(settled):
    (alone,) = settled("core")
    assert [one.size for one in settled("core", "serving.instances=[{count: 3}]")] == [
        alone.size
    ] * 3


HETERO = CHIP.replace("""  - name: main
    core:""", """  - name: main
    cores: [0-3]
    core:
      clock_mhz: 1000
      arrays: {rows: 32, columns: 32}
      vector: {lanes: 16}
      sfu: {lanes: 4}
      scratchpad: {capacity_mib: 4}
  - name: other
    cores: [4-7]
    core:""")  # fmt: skip


def test_instances_of_a_core_group_have_its_scratchpads(settled):
    roles = "[{role: prefill, core_group: main}, {role: decode, core_group: other}]"
    found = settled(
        "core", f"serving.instances={roles}", "serving.kv.sram_fraction=0.25", chip=HETERO
    )
    assert [set(one.row.cores) <= set(cores) for one, cores in
            zip(found, [range(4), range(4, 8)], strict=True)] == [True, True]  # fmt: skip
    assert [one.share.kv_room_bytes for one in found] == [MIB, MIB // 4]
    assert found[0].size.sram_blocks == 4 * found[1].size.sram_blocks


def test_a_prefill_instance_reserves_no_outputs(settled):
    found = settled(
        "core", "serving.instances=[{role: prefill}, {role: decode}]", "serving.kv.reserve=output"
    )
    assert [one.kv.reserve for one in found] == ["prompt", "output"]


def test_the_largest_batch_of_a_role(settled):
    found = settled("core", "serving.instances=[{role: prefill}, {role: decode}]")
    prefill, decode = (
        largest_batch(one.setup.scenario.serving.instances[i].model_copy(
            update={"limits": one.limits}))
        for i, one in enumerate(found)
    )  # fmt: skip
    assert [piece.new_tokens for piece in prefill] == [64]
    assert [piece.new_tokens for piece in decode] == [1] * 8


def test_weights_that_fill_the_memory(settled):
    with pytest.raises(CapacityError, match="weights"):
        settled("core", "model.vocab_size=1000000")


def test_too_few_cores(settled):
    with pytest.raises(SpecError, match=r"serving.instances\[1\]: each needs 2 cores"):
        settled("core", "serving.instances=[{chip: 1}, {count: 5}]")


@pytest.fixture
def on_gpus(tmp_path):
    """Llama of two layers on GPUs."""

    def make(*overrides):
        texts = ["model.num_hidden_layers=2", "parallel={tp: 1, pp: 1, partition: auto}",
                 "dtype.kv=bf16"]  # fmt: skip
        found = scenario(tmp_path, "h100_sxm", "llama-3.1-8b", [*texts, *overrides])
        return settle(resolve(found))

    return make


def test_an_instance_of_chips_that_run_kernels_has_its_chips_alone(on_gpus):
    (alone,) = on_gpus()
    both = on_gpus("serving.instances=[{count: 2}]")
    assert [one.size for one in both] == [alone.size] * 2
    assert all(not one.share.memory_base and one.share.cores is None for one in both)


def test_kv_of_a_chip_that_runs_kernels_by_hand(on_gpus):
    (one,) = on_gpus()
    per_token = 2 * 2 * 8 * 128 * 2  # layers, K and V, heads, head size, bf16
    (memory,) = one.footprint.memories
    assert one.row.kv_bytes_per_token == per_token
    assert one.size.num_blocks == int(memory.free_bytes / per_token * 0.9) // 16
    total = memory.first_free + one.size.num_blocks * 16 * per_token
    assert 60 * GIB < total < 80 * GIB


def test_blocks_of_a_row_count_those_of_the_ring(settled):
    (one,) = settled("core", "serving.kv={layout: sram_ring}")
    in_ring = one.size.memory_tokens // one.size.block_tokens
    assert in_ring > 0 and one.row.num_blocks == one.size.num_blocks + in_ring
