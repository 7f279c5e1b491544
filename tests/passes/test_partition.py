"""Schemes, heads over ranks, and how ops are cut: totals conserved, uneven shards, refusals."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.errors import SpecError
from npusim.graph.batch import decode, prefill
from npusim.graph.ir import ops_in_order
from npusim.graph.micro import build_gemm
from npusim.graph.transformer import build
from npusim.passes.cut.graph import check_parts, cut_graph
from npusim.passes.cut.heads import spread_heads
from npusim.passes.partition import PARTITIONS, Scheme, scheme_of, shards, squarest
from npusim.spec.load import load_model
from npusim.spec.scenario import Parallel

TINY = {
    "num_hidden_layers": 2, "hidden_size": 96, "intermediate_size": 160, "vocab_size": 320,
    "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 16,
}  # fmt: skip


def tiny(batch, name="qwen3-4b", **overrides):
    return build(load_model(name, {**TINY, **overrides}), batch)


@given(st.integers(0, 1000), st.integers(1, 70))
def test_shards_cover_the_total_and_differ_by_one(total, parts):
    found = shards(total, parts)
    assert len(found) == parts and sum(found) == total and max(found) - min(found) <= 1


@pytest.mark.parametrize(
    ("tp", "grid"), [(1, (1, 1)), (4, (2, 2)), (8, (2, 4)), (12, (3, 4)), (7, (1, 7))]
)
def test_squarest(tp, grid):
    assert squarest(tp) == grid


def test_grid_groups():
    scheme = Scheme("mnk", 2, 3)
    assert scheme.row_groups == ((0, 1, 2), (3, 4, 5))
    assert scheme.column_groups == ((0, 3), (1, 4), (2, 5))


@pytest.mark.parametrize(
    ("parallel", "text"),
    [
        (Parallel(tp=4, partition="megatrn"), "did you mean 'megatron'"),
        (Parallel(tp=4, partition="mnk", grid=(3, 2)), r"has 6 ranks, tp is 4"),
        (Parallel(tp=4, partition="k", ep=3), "ep 3 must divide tp 4"),
    ],
)
def test_bad_choices_are_refused(parallel, text):
    with pytest.raises(SpecError, match=text):
        scheme_of(parallel)


# ---- heads --------------------------------------------------------------------------------------


def test_heads_divide():
    heads = spread_heads(32, 8, 8)
    assert heads.query == (4,) * 8 and heads.kv == (1,) * 8 and heads.replicas == 1


def test_kv_heads_that_tp_cannot_divide_are_replicated():
    heads = spread_heads(32, 8, 16)  # 2 query heads a rank, 4 to a KV head
    assert heads.kv == (1,) * 16 and heads.replicas == 2


def test_uneven_heads_hold_every_kv_head_they_read():
    heads = spread_heads(6, 3, 4)  # query heads 0 1 | 2 3 | 4 | 5, two to a KV head
    assert heads.query == (2, 2, 1, 1) and heads.kv == (1, 1, 1, 1)


def test_more_ranks_than_heads_split_the_context():
    heads = spread_heads(3, 1, 8)
    assert heads.groups == ((0, 1, 2), (3, 4, 5), (6, 7))
    assert heads.context == ((0, 3), (1, 3), (2, 3)) * 2 + ((0, 2), (1, 2))


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 40))
def test_heads_brute_force(num_kv, per_kv, ranks):
    heads = spread_heads(num_kv * per_kv, num_kv, ranks)
    if ranks <= num_kv * per_kv:
        assert sum(heads.query) == num_kv * per_kv
        first = 0
        for query, kv in zip(heads.query, heads.kv, strict=True):
            assert kv == len({head // per_kv for head in range(first, first + query)})
            first += query
    else:
        shares = sum(q / parts for q, (_, parts) in zip(heads.query, heads.context, strict=True))
        assert shares == pytest.approx(num_kv * per_kv)


# ---- cuts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTITIONS)
@pytest.mark.parametrize("tp", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("batch", [prefill(2, 40), decode(3, 50)], ids=["prefill", "decode"])
def test_parts_cover_every_op(name, tp, batch):
    graph = tiny(batch)
    scheme = scheme_of(Parallel(tp=tp, partition=name))
    parts = cut_graph(graph, scheme)
    check_parts(graph, parts, tp)
    copies = tp if name == "input_only" else 1
    for op in ops_in_order(graph):
        part = parts[op.name]
        if op.kind == "matmul":
            assert sum(part.weights) == op.weight_elements * (1 if op.role == "lm_head" else copies)
            flops = sum(2 * m * k * n for m, k, n in part.shapes)
            assert flops == op.flops
        if op.kind in ("qk", "softmax", "av", "activation"):
            assert sum(a / b for a, b in part.share) == pytest.approx(1)


@pytest.mark.parametrize("tp", [3, 5, 7])
def test_uneven_shards_differ_by_one(tp):
    graph = build_gemm(10, 64, 101)
    part = cut_graph(graph, scheme_of(Parallel(tp=tp, partition="megatron")))["gemm"]
    widths = [n for _, _, n in part.shapes]
    assert sum(widths) == 101 and max(widths) - min(widths) <= 1


@pytest.mark.parametrize(
    ("partition", "text"),
    [("megatron", "64 ranks cannot share the 32 columns"), ("k", "64 ranks cannot share the 16")],
)
def test_tp_above_a_dimension_is_refused(partition, text):
    graph = build_gemm(8, 16, 32)
    with pytest.raises(SpecError, match=text):
        cut_graph(graph, scheme_of(Parallel(tp=64, partition=partition)))


def megatron(batch, tp, **model):
    return cut_graph(tiny(batch, **model), scheme_of(Parallel(tp=tp, partition="megatron")))


def comms_of(parts, layer=1):
    return [
        (part.op.name, comm.kind, *comm.elements)
        for part in parts.values()
        for comm in part.before + part.after
        if part.op.layer == layer
    ]


@pytest.mark.parametrize("tp", [4, 8])
def test_megatron_has_two_all_reduces_a_layer_for_few_tokens(tp):
    full = 3 * 96
    assert comms_of(megatron(decode(3, 50), tp)) == [
        ("layer1.output", "all_reduce", full),
        ("layer1.down", "all_reduce", full),
    ]


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_megatron_is_sequence_parallel_from_tp_tokens_on(tp):
    full = tp * 96
    assert comms_of(megatron(prefill(1, tp), tp)) == [
        ("layer1.attention_norm", "all_gather", full),
        ("layer1.output", "reduce_scatter", full),
        ("layer1.mlp_norm", "all_gather", full),
        ("layer1.down", "reduce_scatter", full),
    ]


@pytest.mark.parametrize("name", ["qwen3-4b", "gemma-2-9b", "mixtral-8x7b"])
def test_sequence_parallel_ranks_add_and_norm_their_own_tokens(name):
    experts = {"num_local_experts": 4} if name == "mixtral-8x7b" else {}
    parts = megatron(prefill(1, 10), 4, name=name, **experts)
    for part in parts.values():
        if part.op.layer == 1 and part.op.kind in ("add", "norm") and part.op.m == 10:
            assert part.share == ((3, 10), (3, 10), (2, 10), (2, 10))
            assert part.outputs == (288, 288, 192, 192)
    last = parts["layer1.mlp_add"]
    assert last.layout == "rows" and not last.after
    made = next(p for n, p in parts.items() if n in ("layer1.down", "layer1.moe_combine"))
    assert made.kept == (288, 288, 192, 192)


def test_the_latents_of_mla_are_whole_on_every_sequence_parallel_rank():
    small = {
        "num_hidden_layers": 2, "hidden_size": 96, "n_routed_experts": 8, "vocab_size": 200,
        "num_experts_per_tok": 2, "moe_intermediate_size": 48, "intermediate_size": 96,
        "first_k_dense_replace": 1, "num_attention_heads": 8, "num_key_value_heads": 8,
        "q_lora_rank": 24, "kv_lora_rank": 20, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
        "v_head_dim": 16, "n_group": 1, "topk_group": 1,
    }  # fmt: skip
    graph = build(load_model("deepseek-v3", small), prefill(1, 12))
    parts = cut_graph(graph, scheme_of(Parallel(tp=4, ep=2, partition="megatron")))
    assert parts["layer1.kv_latent_norm"].share == ((1, 1),) * 4
    assert parts["layer1.shared_add"].share == ((3, 12),) * 4
    assert parts["layer1.shared_down"].kept == parts["layer1.moe_combine"].kept == (288,) * 4


def test_context_split_gathers_and_merges_inside_a_head():
    graph = tiny(prefill(1, 32), num_attention_heads=2, num_key_value_heads=1)
    parts = cut_graph(graph, scheme_of(Parallel(tp=4, partition="megatron")))
    pairs = ((0, 1), (2, 3))
    qkv, av = parts["layer0.qkv"], parts["layer0.av"]
    # each head's columns: 16 of q, 16 of k, 16 of v
    assert [(c.kind, c.groups, c.elements) for c in qkv.after] == [
        ("all_gather", pairs, (32 * 48, 32 * 48))
    ]
    assert [(c.kind, c.elements) for c in av.after] == [
        ("all_gather", (2 * 32 * 2,) * 2),
        ("reduce_scatter", (32 * 16,) * 2),
    ]


MOE = {
    "num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 128, "num_attention_heads": 8,
    "num_key_value_heads": 8, "intermediate_size": 96, "num_local_experts": 8,
}  # fmt: skip


@pytest.mark.parametrize("ep", [1, 2, 4, 8])
@pytest.mark.parametrize("partition", ["megatron", "k", "mn", "mnk"])
def test_experts_are_dealt_once(ep, partition):
    graph = build(load_model("mixtral-8x7b", MOE), prefill(1, 64))
    parts = cut_graph(graph, scheme_of(Parallel(tp=8, ep=ep, partition=partition)))
    for role in ("expert_gate_up", "expert_down"):
        part = parts[f"layer0.{role}"]
        assert sum(part.weights) == part.op.weight_elements
        flops = sum(
            2 * tokens * k * n
            for (_, k, n), experts in zip(part.shapes, part.experts, strict=True)
            for tokens in experts
        )
        assert flops == part.op.flops
    sent = [c for c in parts["layer0.expert_gate_up"].before if c.kind == "all_to_all"]
    # 128 assignments of 64 elements; a rank owns 1/ep of them, (ep - 1)/ep of those go elsewhere
    expected = 128 * 64 * (ep - 1) // ep**2
    assert [c.elements[0] for c in sent] == ([expected] if ep > 1 else [])


def test_check_parts_sees_a_missing_op():
    graph = build_gemm(8, 16, 32)
    with pytest.raises(AssertionError):
        check_parts(graph, {}, 1)
    assert isinstance(graph, nx.DiGraph)


@pytest.mark.parametrize("partition", ["mn", "mnk"])
def test_the_lm_head_gathers_whole_sampled_rows(partition):
    scheme = scheme_of(Parallel(tp=4, partition=partition))
    part = cut_graph(tiny(decode(3, 50)), scheme)["lm_head"]
    (comm,) = part.before
    assert comm.kind == "all_gather" and comm.groups == scheme.column_groups
    assert set(comm.elements) == {3 * 96}
