"""What is emitted: FLOPs, weights and KV conserved; dependencies; a repeated layer is the layer."""

import numpy as np
import pytest

from npusim.errors import CapacityError
from npusim.graph.batch import Slice, decode, prefill
from npusim.graph.ir import ops_in_order
from npusim.graph.micro import build_gemm
from npusim.graph.transformer import build
from npusim.passes.emit import stages as emit_stages
from npusim.passes.emit.repeat_rows import Run, find_runs
from npusim.passes.partition import PARTITIONS
from npusim.passes.pipeline import lower
from npusim.program import COMPUTE, LOAD, RECV, SEND, STORE
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel

TINY = {
    "num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1024,
    "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 32,
}  # fmt: skip
BATCHES = {
    "prefill": prefill(2, 96),
    "decode": decode(3, 200),
    "mixed": (Slice(64, 128), Slice(1, 77), Slice(1, 300)),
}


def chip(capacity_mib=0.25, **overrides):
    """A scratchpad too small for the weights, so that they stream."""
    key = "core_groups.0.core.scratchpad.capacity_mib"
    return load_hardware("npu_large_core", {key: capacity_mib, **overrides})


def lowered(batch, hardware=None, name="qwen3-4b", model=None, **parallel):
    graph = build(load_model(name, {**TINY, **(model or {})}), batch)
    parallel = {"partition": "megatron", "collective": "ring", **parallel}
    program = lower(graph, hardware or chip(), Parallel(**parallel), "ring", Dtypes())
    return graph, program


def op_kinds(program):
    return np.array([op.kind for op in program.ops])[program.op]


def flops_of(program):
    own = (program.kind == COMPUTE) & (op_kinds(program) != "collective")
    return int(program.flops[own].sum())


def graph_sum(graph, field, kinds=None):
    ops = [op for op in ops_in_order(graph) if kinds is None or op.kind in kinds]
    return sum(getattr(op, field) for op in ops)


def loaded(program, kinds):
    rows = (program.kind == LOAD) & np.isin(op_kinds(program), kinds)
    return int(program.bytes[rows].sum())


@pytest.mark.parametrize("tp", [1, 4])
@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("batch", BATCHES)
def test_flops_are_the_graphs(batch, partition, tp):
    graph, program = lowered(BATCHES[batch], tp=tp, partition=partition)
    assert flops_of(program) == graph_sum(graph, "flops")


@pytest.mark.parametrize("partition", ["megatron", "k", "mn", "mnk"])
def test_weights_in_memory_are_loaded_once(partition):
    graph, program = lowered(prefill(1, 8), name="llama-2-7b", tp=4, partition=partition)
    table = 2 * 1024 * 256  # the embedding, of which 8 rows are gathered
    in_memory = sum(row["memory_weight_bytes"] for row in program.placed)
    assert loaded(program, ("matmul",)) == in_memory - table
    assert loaded(program, ("embedding",)) == 8 * 256 * 2
    everything = 2 * graph_sum(graph, "weight_elements", ("matmul",))
    assert everything / 2 < loaded(program, ("matmul",)) <= everything
    assert not any("scratchpad and go through memory" in note for note in program.notes)


def test_resident_weights_are_not_loaded():
    _, program = lowered(prefill(1, 8), chip(64), tp=4)
    assert loaded(program, ("matmul", "embedding")) == 0
    assert (program.kind != STORE).all()
    assert "weights in prefill: all stay in the scratchpads" in program.notes


@pytest.mark.parametrize("tp", [1, 2, 4, 8, 16])
def test_context_is_loaded_and_new_rows_are_stored(tp):
    # weights and activations are small beside a cache of 4 x 3 x 4,000 rows
    graph, program = lowered(decode(3, 4000), tp=tp)
    row_bytes = 2 * 2 * 8 * 32  # K and V of 8 heads of 32
    placed = sum(row["sram_kv_bytes"] for row in program.placed)
    whole = 4 * 3 * 4001 * row_bytes
    assert loaded(program, ("qk",)) == pytest.approx(4 * 3 * 4000 * row_bytes - placed, rel=2e-3)
    stored = int(program.bytes[program.kind == STORE].sum())
    assert stored == pytest.approx(4 * 3 * row_bytes * (1 - placed / whole), rel=0.02)
    assert graph_sum(graph, "kv_write_elements") == 4 * 3 * row_bytes // 2


@pytest.mark.parametrize("dp", [1, 2])
def test_every_request_has_its_own_place_in_the_cache(dp):
    """Also where micro-batches read them one after the other."""
    batch = (Slice(1, 4000), Slice(1, 3000), Slice(1, 2000), Slice(1, 1000))
    _, program = lowered(batch, tp=2, dp=dp, micro_batches=2)
    reads = (program.kind == LOAD) & (op_kinds(program) == "qk")
    for core in np.unique(program.core):
        rows = np.flatnonzero(reads & (program.core == core))
        order = rows[np.argsort(program.address[rows])]
        ends = program.address[order] + program.bytes[order]
        assert (program.address[order][1:] >= ends[:-1]).all()


@pytest.mark.parametrize("tp", [1, 4])
def test_equal_layers_keep_equal_parts_of_the_cache(tp):
    _, program = lowered(decode(1, 4000), chip(1.0), tp=tp)
    layers = np.array([op.layer for op in program.ops])[program.op]
    reads = (program.kind == LOAD) & (op_kinds(program) == "qk")
    loads = [program.bytes[reads & (layers == layer)].sum() for layer in range(4)]
    assert len(set(loads)) == 1 and sum(row["sram_kv_bytes"] for row in program.placed) > 0


def test_kv_heads_that_are_replicated_are_loaded_by_every_holder():
    few = {"num_key_value_heads": 2}
    _, program = lowered(decode(1, 4000), model=few, tp=4)
    _, alone = lowered(decode(1, 4000), model=few, tp=2)
    held = [
        sum(r["memory_kv_bytes"] + r["sram_kv_bytes"] for r in p.placed) for p in (program, alone)
    ]
    assert held[0] == 2 * held[1]
    assert "KV heads: 2 over 4 ranks, each stored 2 times on average" in program.notes


def test_every_op_and_every_core_appears():
    graph, program = lowered(prefill(1, 32), tp=4, pp=2)
    names = {op.name for op in program.ops}
    drawn = {op.name for op in ops_in_order(graph)}
    assert drawn <= names
    with_tasks = {program.ops[i].name for i in np.unique(program.op)}
    assert drawn <= with_tasks
    assert set(np.unique(program.core)) == {row["core"] for row in program.placed}
    assert len(program.placed) == 8
    layers = {op.layer for op in program.ops if op.name.startswith("layer3.")}
    assert layers == {3}
    assert {op.phase for op in program.ops} == {"prefill"}
    assert {op.kind for op in program.ops if op.name.endswith("reduce_scatter")} == {"collective"}


@pytest.mark.parametrize("name", ["qwen3-4b", "gemma-2-9b", "mixtral-8x7b"])
@pytest.mark.parametrize("partition", ["megatron", "mnk"])
@pytest.mark.parametrize("batch", BATCHES)
def test_a_repeated_layer_is_the_layer(monkeypatch, batch, partition, name):
    """Repeating rows gives, column for column, what emitting every layer gives."""
    # Gemma's windows give a pattern of two layers
    own = {"mixtral-8x7b": {"num_local_experts": 4}, "gemma-2-9b": {"sliding_window": 64}}
    deep = {"num_hidden_layers": 7, **own.get(name, {})}
    _, short = lowered(BATCHES[batch], name=name, model=deep, tp=4, partition=partition)
    monkeypatch.setattr(
        emit_stages, "find_runs", lambda items: [Run(i, 1, 1) for i in range(len(items))]
    )
    _, full = lowered(BATCHES[batch], name=name, model=deep, tp=4, partition=partition)
    assert short.ops == full.ops
    for column in full.columns:
        assert (short.columns[column] == full.columns[column]).all(), column
    assert (short.dep_start == full.dep_start).all() and (short.deps == full.deps).all()


def test_find_runs():
    assert find_runs("aaaa") == [Run(0, 1, 4)]
    assert find_runs("abababx") == [Run(0, 2, 3), Run(6, 1, 1)]
    assert find_runs("aab") == [Run(0, 1, 1), Run(1, 1, 1), Run(2, 1, 1)]


def test_double_buffering():
    """Tile i + 2 of a weight waits for the computation of tile i, tile i + 1 does not."""
    graph = build_gemm(64, 512, 2048)
    program = lower(graph, chip(1.0), Parallel(partition="megatron"), "ring", Dtypes())
    loads, computes = (np.flatnonzero(program.kind == kind) for kind in (LOAD, COMPUTE))
    assert len(loads) == len(computes) >= 8
    waits = [program.deps[program.dep_start[t] : program.dep_start[t + 1]].tolist() for t in loads]
    assert waits[0] == waits[1] == []
    assert [w for w in waits if w] == [[c] for c in computes[: len(waits) - waits.count([])]]
    assert program.bytes[loads].sum() == 2 * 512 * 2048


def test_weights_of_the_next_op_load_while_this_one_computes():
    _, program = lowered(prefill(1, 8), tp=1)
    for task in np.flatnonzero(program.kind == LOAD):
        if program.ops[program.op[task]].kind != "matmul":
            continue
        waits = program.deps[program.dep_start[task] : program.dep_start[task + 1]]
        assert set(program.kind[waits]) <= {COMPUTE}
        assert {program.ops[op].kind for op in program.op[waits]} <= {"matmul"}


@pytest.mark.parametrize(("batch", "said"), [(prefill(1, 4), True), (decode(3, 9), False)])
def test_sequence_parallelism_is_said(batch, said):
    _, program = lowered(batch, tp=4)
    assert any("sequence-parallel" in note for note in program.notes) == said


def test_vector_work_of_a_sequence_parallel_layer_is_done_once():
    graph, program = lowered(prefill(1, 64), tp=4)
    rows = [i for i, op in enumerate(program.ops) if op.name == "layer1.mlp_norm"]
    own = np.isin(program.op, rows) & (program.kind == COMPUTE)
    op = graph.nodes["layer1.mlp_norm"]["op"]
    moved = 2 * (op.input_elements + op.output_elements)
    assert program.bytes[own].sum() == moved  # a rank's share of rows, read and written


def test_consumers_of_an_all_reduce_wait_for_it():
    _, program = lowered(decode(3, 8), tp=4)
    names = [op.name for op in program.ops]
    add, reduce = names.index("layer1.attention_add"), names.index("layer1.output.all_reduce")
    for task in np.flatnonzero(program.op == add):
        waits = program.deps[program.dep_start[task] : program.dep_start[task + 1]]
        own = waits[program.op[waits] == reduce]
        assert len(own) and (program.core[own] == program.core[task]).all()


def test_activations_that_do_not_fit_go_through_memory():
    _, program = lowered(prefill(1, 2048), chip(1.0), tp=1)
    assert any("go through memory" in note for note in program.notes)
    stores = (program.kind == STORE) & (op_kinds(program) == "matmul")
    assert program.bytes[stores].sum() > 0


def test_gathered_activations_that_do_not_fit_are_stored_once_and_read_by_the_gemm():
    # 1,024 rows of 256 are gathered; the partial sums behind output and down are as many
    _, program = lowered(prefill(1, 1024), chip(1.0), tp=4)
    whole = 2 * 1024 * 256
    for name, kind in (("mlp_norm", STORE), ("output", LOAD), ("output", STORE)):
        row = next(i for i, op in enumerate(program.ops) if op.name == f"layer1.{name}")
        rows = (program.op == row) & (program.kind == kind) & (program.core == program.core[0])
        assert program.bytes[rows].sum() >= whole, (name, kind)


def test_spilled_activations_need_a_memory():
    hardware = chip(1.0).model_copy(update={"memories": ()})
    with pytest.raises(CapacityError, match="memory"):
        lowered(prefill(1, 2048), hardware, tp=1)


def test_messages_have_partners_on_their_own_side():
    _, program = lowered(prefill(1, 32), tp=4, pp=4, partition="mnk")
    sends = np.flatnonzero(program.kind == SEND)
    assert (program.kind[program.match[sends]] == RECV).all()
    assert (program.core[sends] != program.peer[sends]).all()


@pytest.mark.parametrize("partition", ["megatron", "k", "mn", "mnk"])
def test_the_weights_of_a_gemm_come_from_memory(partition):
    """Even when the scratchpads could hold them, and in tiles that overlap with the computation."""
    parallel = Parallel(tp=4, partition=partition)
    program = lower(build_gemm(256, 1024, 2048), chip(64), parallel, "ring", Dtypes())
    assert loaded(program, ("matmul",)) == 2 * 1024 * 2048
    assert flops_of(program) == 2 * 256 * 1024 * 2048


@pytest.mark.parametrize("partition", ["mn", "mnk"])
def test_a_rank_computes_with_the_first_tile_of_its_block_while_others_load(partition):
    parallel = Parallel(tp=4, partition=partition)
    program = lower(build_gemm(256, 1024, 2048), chip(64), parallel, "ring", Dtypes())
    for core in np.unique(program.core):
        first = np.flatnonzero((program.kind == COMPUTE) & (program.core == core))[0]
        waits = program.deps[program.dep_start[first] : program.dep_start[first + 1]]
        assert (program.kind[waits] == LOAD).sum() == 1
        assert program.bytes[waits].max() <= 2 * 1024 * 2048 // 4 // 4


def test_without_a_memory_the_weights_of_a_gemm_are_in_the_scratchpad():
    hardware = chip(64).model_copy(update={"memories": ()})
    program = lower(
        build_gemm(256, 1024, 2048), hardware, Parallel(partition="megatron"), "ring", Dtypes()
    )
    assert (program.kind != LOAD).all()


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("partition", ["megatron", "mnk"])
def test_cores_that_share_a_memory_touch_their_own_addresses(batch, partition):
    hardware = load_hardware("npu_edge_hbm", {"core_groups.0.core.scratchpad.capacity_mib": 0.25})
    _, program = lowered(BATCHES[batch], hardware, tp=4, pp=2, partition=partition)
    rows = np.flatnonzero((program.kind == LOAD) | (program.kind == STORE))
    strided = program.row_bytes[rows] > 0
    count = np.where(strided, program.bytes[rows] // np.maximum(program.row_bytes[rows], 1), 1)
    length = np.where(
        strided,
        (count - 1) * program.stride_bytes[rows] + program.row_bytes[rows],
        program.bytes[rows],
    )
    first, core = program.address[rows], program.core[rows]
    order = np.argsort(first, kind="stable")
    last_byte, owner = -1, -1
    for i in order:
        assert first[i] > last_byte or core[i] == owner
        if first[i] + length[i] - 1 > last_byte:
            last_byte, owner = first[i] + length[i] - 1, core[i]


def test_requests_that_do_not_sample_are_not_lost_in_replicas():
    batch = (Slice(1, 500), Slice(40, 100), Slice(1, 7, samples=False), Slice(1, 0, samples=False))
    graph, program = lowered(batch, tp=2, dp=2, micro_batches=2)
    assert flops_of(program) == graph_sum(graph, "flops")


def test_a_latent_cache_of_many_requests_stays_inside_its_place():
    small = {
        "num_hidden_layers": 2, "hidden_size": 96, "intermediate_size": 100, "vocab_size": 200,
        "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 50,
        "first_k_dense_replace": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
        "q_lora_rank": 24, "kv_lora_rank": 20, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
        "v_head_dim": 16, "n_group": 1, "topk_group": 1,
    }  # fmt: skip
    graph = build(load_model("deepseek-v3", small), (Slice(40, 500), Slice(40, 101)), "expanded")
    program = lower(graph, chip(8), Parallel(tp=4, partition="megatron"), "ring", Dtypes(kv="fp8"))
    assert sum(row["memory_kv_bytes"] for row in program.placed) == 0
    assert loaded(program, ("qk", "matmul")) == 0
