"""The passes end to end: what is refused, stages and replicas, micro-batches, auto, determinism."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npusim.errors import CapacityError, SpecError
from npusim.graph.batch import Slice, decode, prefill
from npusim.graph.ir import ops_in_order
from npusim.graph.mask import masked_slices
from npusim.graph.micro import build_gemm
from npusim.graph.transformer import build
from npusim.machine.system import run
from npusim.passes.choose import choose
from npusim.passes.pipeline import lower, stages_of
from npusim.passes.split import cut_slice, micro_batches, replicas
from npusim.program import COMPUTE, LOAD, RECV, SEND
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel

TINY = {
    "num_hidden_layers": 4, "hidden_size": 128, "intermediate_size": 256, "vocab_size": 512,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def chip():
    return load_hardware("npu_large_core")


def graph_of(batch, name="qwen3-4b", **model):
    return build(load_model(name, {**TINY, **model}), batch)


def lowered(graph, chip, placement="ring", dtypes=None, **parallel):
    parallel = {"partition": "megatron", **parallel}
    return lower(graph, chip, Parallel(**parallel), placement, dtypes or Dtypes())


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parallel", "text"),
    [
        ({"tp": 65}, "needs 65 cores, there are 64"),
        ({"tp": 4, "pp": 5}, "pp must be at most the 4 layers"),
        ({"dp": 3}, "dp must be at most the 1 requests of the batch, not 3"),
        ({"partition": "megatrom"}, "did you mean 'megatron'"),
        ({"tp": 4, "ep": 3}, "ep 3 must divide tp 4"),
        ({"tp": 4, "partition": "mnk", "grid": (2, 3)}, "has 6 ranks, tp is 4"),
        ({"tp": 4, "collective": "rign"}, "did you mean 'ring'"),
    ],
)
def test_bad_mappings(chip, parallel, text):
    with pytest.raises(SpecError, match=text):
        lowered(graph_of(prefill(1, 16)), chip, **parallel)


def test_unknown_placement(chip):
    with pytest.raises(SpecError, match="did you mean 'mesh2d'"):
        lowered(graph_of(prefill(1, 16)), chip, placement="mesh2")


def test_stages_need_layers(chip):
    with pytest.raises(SpecError, match="pp must be 1 for work without layers, not 2"):
        lowered(build_gemm(8, 8, 8), chip, pp=2)


def test_a_model_that_does_not_fit(chip):
    graph = build(load_model("llama-3.1-405b"), decode(1, 100))
    with pytest.raises(CapacityError, match="raise tp or pp"):
        lowered(graph, chip, tp=4)


def test_auto_says_when_nothing_fits(chip):
    graph = build(load_model("llama-3.1-405b"), decode(1, 100))
    with pytest.raises(
        CapacityError, match=r"weights need .* a core, which has .*; it takes 190 su"
    ):
        lowered(graph, chip, tp=2, partition="auto")


@pytest.mark.parametrize("partition", ["auto", "megatron"])
def test_the_least_number_of_cores_is_said_and_enough(chip, partition):
    """14.97 GiB of weights and 50 MiB of KV, 4 GiB a core."""
    graph = build(load_model("llama-3.1-8b"), decode(1, 400))
    with pytest.raises(CapacityError, match="tp x pp must be at least 4, not 2"):
        lowered(graph, chip, tp=2, partition=partition)
    lowered(graph, chip, tp=4, partition=partition)


# ---- stages, replicas ---------------------------------------------------------------------------


def test_stages_hand_over_the_residual_stream(chip):
    program = lowered(graph_of(prefill(1, 16)), chip, tp=2, pp=4)
    rows = [i for i, op in enumerate(program.ops) if op.name.endswith("hand_over")]
    assert [program.ops[i].name for i in rows] == [f"stage{i}.hand_over" for i in (1, 2, 3)]
    sends = (program.kind == SEND) & np.isin(program.op, rows)
    assert sends.sum() == 2 * 3 and set(program.bytes[sends]) == {16 // 2 * 128 * 2}
    stage_of = {row["core"]: (row["stage"], row["rank"]) for row in program.placed}
    for src, dst in zip(program.core[sends], program.peer[sends], strict=True):
        (stage, rank), (next_stage, next_rank) = stage_of[src], stage_of[dst]
        assert next_stage == stage + 1 and next_rank == rank


def test_ops_outside_layers_go_to_the_end_stages(chip):
    program = lowered(graph_of(prefill(1, 16)), chip, tp=2, pp=4)
    stage_of = {row["core"]: row["stage"] for row in program.placed}
    for name, stage in (("embedding", 0), ("final_norm", 3), ("lm_head", 3), ("sample", 3)):
        rows = [i for i, op in enumerate(program.ops) if op.name == name]
        assert {stage_of[c] for c in program.core[np.isin(program.op, rows)]} == {stage}


def test_stages_of_a_gemm():
    assert stages_of(build_gemm(8, 8, 8), 1) == [range(0)]


def test_replicas_do_not_talk_and_share_the_requests(chip):
    graph = graph_of(decode(5, 64))
    program = lowered(graph, chip, tp=2, dp=2)
    replica_of = {row["core"]: row["replica"] for row in program.placed}
    assert sorted(replica_of.values()) == [0, 0, 1, 1]
    sends = program.kind == SEND
    for src, dst in zip(program.core[sends], program.peer[sends], strict=True):
        assert replica_of[src] == replica_of[dst]
    own = [op.kind != "collective" for op in program.ops]
    rows = (program.kind == COMPUTE) & np.array(own)[program.op]
    assert program.flops[rows].sum() == sum(op.flops for op in ops_in_order(graph))


def test_layers_of_replicas_stand_together(chip):
    program = lowered(graph_of(decode(4, 64)), chip, tp=2, dp=2, pp=2)
    layers = np.array([op.layer for op in program.ops])[program.op]
    blocks = layers[np.flatnonzero(np.diff(layers, prepend=-2))]
    inside = [layer for layer in blocks.tolist() if layer >= 0]
    assert inside == [0, 1, 2, 3]


# ---- parts of a batch ---------------------------------------------------------------------------


@given(
    st.integers(1, 60), st.integers(0, 60), st.integers(0, 80), st.data()
)  # new tokens, context, window
@settings(max_examples=200)
def test_a_cut_slice_is_the_slice_of_the_chunk(new, context, window, data):
    first = data.draw(st.integers(0, new - 1))
    last = data.draw(st.integers(first + 1, new))
    whole = masked_slices((Slice(new, context),), window)[0]
    chunk = masked_slices((Slice(last - first, context + first),), window)[0]
    assert cut_slice(whole, first, last) == chunk


@pytest.mark.parametrize("name", ["qwen3-4b", "gemma-2-9b", "mixtral-8x7b"])
def test_micro_batches_of_a_prompt_are_its_chunks(name):
    own = {"gemma-2-9b": {"sliding_window": 40}}.get(name, {})
    model = load_model(name, {**TINY, **own})
    chunks = micro_batches(build(model, prefill(1, 128)), 4)
    for index, chunk in enumerate(chunks):
        expected = build(model, (Slice(32, 32 * index, samples=index == 3),))
        assert list(chunk.nodes) == list(expected.nodes)
        for op, right in zip(ops_in_order(chunk), ops_in_order(expected), strict=True):
            same = ("m", "k", "n", "flops", "slices", "weight_elements", "kv_write_elements",
                    "kv_read_elements", "expert_tokens", "vector_ops")  # fmt: skip
            assert [getattr(op, f) for f in same] == [getattr(right, f) for f in same], op.name


def test_replicas_take_whole_requests():
    graph = graph_of((Slice(8), Slice(16), Slice(1, 50)))
    first, second = replicas(graph, 2)
    assert first.nodes["layer0.qk"]["op"].slices == ((8, 8, 36), (16, 16, 136))
    assert second.nodes["layer0.qk"]["op"].slices == ((1, 51, 51),)
    assert second.nodes["lm_head"]["op"].m == 1


def test_micro_batches_run_one_after_the_other_on_every_stage(chip):
    graph = graph_of(prefill(1, 128))
    program = lowered(graph, chip, tp=2, pp=2, micro_batches=4)
    hand_overs = [op.name for op in program.ops if op.name.endswith("hand_over")]
    assert hand_overs == ["stage1.hand_over"] * 4
    own = np.array([op.kind != "collective" for op in program.ops])[program.op]
    flops = program.flops[(program.kind == COMPUTE) & own].sum()
    assert flops == sum(op.flops for op in ops_in_order(graph))
    assert sum(op.name == "sample" for op in program.ops) == 1


# ---- auto ---------------------------------------------------------------------------------------


def choice(chip, graph, placement="auto", **parallel):
    return choose(graph, chip, Parallel(partition="auto", **parallel), placement, Dtypes())


def test_auto_takes_column_row_pairs_for_decode(chip):
    graph = build(load_model("llama-3.1-8b"), decode(1, 1000))
    best, notes = choice(chip, graph, tp=8)
    assert best.scheme.name == "megatron"
    assert notes[0].startswith("partition: megatron on ") and "others at best: " in notes[0]


def test_auto_rotates_weights_when_activations_outgrow_the_scratchpad(chip):
    graph = build(load_model("llama-3.1-8b"), prefill(1, 4096))
    best, _ = choice(chip, graph, tp=64)
    assert best.name == "mnk on mesh2d"


def test_auto_leaves_a_given_placement(chip):
    graph = build(load_model("llama-3.1-8b"), prefill(1, 4096))
    best, notes = choice(chip, graph, placement="ring", tp=64)
    assert best.placement == "ring" and notes[1].startswith("placement ring")


def test_a_single_rank_needs_no_choice(chip):
    best, _ = choice(chip, build_gemm(8, 8, 8), tp=1)
    assert best.scheme.name == "megatron" and best.estimate is None


# ---- the program --------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", ["megatron", "k", "mn", "mnk", "input_only", "auto"])
def test_same_input_same_program(chip, partition):
    programs = [
        lowered(graph_of(prefill(2, 40)), chip, tp=4, pp=2, partition=partition) for _ in range(2)
    ]
    for name in programs[0].columns:
        assert (programs[0].columns[name] == programs[1].columns[name]).all()
    assert (programs[0].deps == programs[1].deps).all()
    assert programs[0].notes == programs[1].notes and programs[0].placed == programs[1].placed


@pytest.mark.parametrize("chip_name", ["tpuv4_like", "npu_edge_hbm", "npu_group_hbm"])
def test_other_chips(chip_name):
    hardware = load_hardware(chip_name)
    tp = min(4, hardware.mesh.num_cores)
    program = lowered(graph_of(prefill(1, 64)), hardware, tp=tp, partition="auto")
    assert len(program) and set(np.unique(program.core)) <= set(range(hardware.mesh.num_cores))
    assert (program.unit[program.kind == LOAD] >= 32).all()


@pytest.mark.parametrize("dtypes", [Dtypes(weights="int4"), Dtypes(weights="int8", kv="fp8")])
def test_narrow_types_move_fewer_bytes(chip, dtypes):
    hardware = chip.model_copy()
    graph = build(load_model("qwen3-1.7b"), decode(1, 2000))
    wide, narrow = (lowered(graph, hardware, tp=4, dtypes=d) for d in (Dtypes(), dtypes))
    loads = [p.bytes[p.kind == LOAD].sum() for p in (wide, narrow)]
    assert loads[1] < 0.6 * loads[0]


def test_deepseek_in_both_forms(chip):
    small = {
        "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 256, "vocab_size": 512,
        "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
        "first_k_dense_replace": 1, "num_attention_heads": 8, "num_key_value_heads": 8,
        "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
        "v_head_dim": 16, "n_group": 1, "topk_group": 1,
    }  # fmt: skip
    model = load_model("deepseek-v3", small)
    for form in ("absorbed", "expanded"):
        for batch in (prefill(1, 64), decode(2, 64)):
            graph = build(model, batch, form)
            for partition in ("megatron", "k", "mnk"):
                program = lowered(graph, chip, tp=4, ep=2, partition=partition)
                own = np.array([op.kind != "collective" for op in program.ops])[program.op]
                flops = program.flops[(program.kind == COMPUTE) & own].sum()
                assert flops == sum(op.flops for op in ops_in_order(graph))
                assert any(note.startswith("MLA:") for note in program.notes)


def test_sampling_gathers_at_rank_0(chip):
    program = lowered(graph_of(decode(3, 20)), chip, tp=4)
    row = next(i for i, op in enumerate(program.ops) if op.name == "sample.gather")
    got = (program.op == row) & (program.kind == RECV)
    assert got.sum() == 3 and set(program.core[got]) == {program.placed[0]["core"]}


@pytest.mark.parametrize("protocol", ["eager", "handshake"])
@pytest.mark.parametrize("partition", ["megatron", "k", "mn", "mnk", "input_only"])
def test_programs_run_to_their_end(partition, protocol):
    """The order of messages cannot deadlock, also where receivers must agree first."""
    small = {"core_groups.0.core.scratchpad.capacity_mib": 0.125, "noc.protocol": protocol}
    hardware = load_hardware("npu_large_core", small)
    graph = graph_of((Slice(40), Slice(1, 60)), num_hidden_layers=2)
    program = lowered(graph, hardware, tp=8, pp=2, partition=partition, micro_batches=2)
    trace = run(program, hardware)
    assert (trace.end_ps >= 0).all() and trace.makespan_ps > 0
