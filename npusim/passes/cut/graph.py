"""Ops of the graph in order and a Scheme → a Part for every op, with the collectives between them.

The residual stream is cut by rows of m over the rows of the scheme's grid (so it is whole on every
rank when the grid has one row, unless it is sequence-parallel); attention is cut by heads, the FFN
between its GEMMs by columns.
"""

from collections.abc import Mapping
from dataclasses import replace

import networkx as nx

from npusim.graph.ir import Op, ops_in_order
from npusim.passes.cut.around import WHOLE, Around, head_share, need
from npusim.passes.cut.heads import Heads, spread_heads
from npusim.passes.cut.matmul import cut_matmul
from npusim.passes.cut.moe import cut_combine, cut_experts
from npusim.passes.partition import Comm, Part, Scheme, shards

# norms of the residual stream in front of these are needed by every rank
NEED_ALL_TOKENS = ("matmul", "experts")
MERGE_STATISTICS = 2  # running maximum and sum of a softmax row


def cut_graph(graph: nx.DiGraph, scheme: Scheme) -> dict[str, Part]:
    """Part of every op by name. Raises SpecError when tp exceeds a dimension that must be cut."""
    ops = ops_in_order(graph)
    qk_of_layer = {op.layer: op for op in ops if op.kind == "qk"}
    sequence = is_sequence_parallel(ops, scheme)
    parts: dict[str, Part] = {}
    for op in ops:
        qk = qk_of_layer.get(op.layer)
        heads = spread_heads(qk.heads, qk.kv_heads, scheme.tp) if qk else None
        inputs = tuple(parts[name] for name in graph.predecessors(op.name))
        users = (graph.nodes[name]["op"].kind for name in graph.successors(op.name))
        gathered = not set(users).isdisjoint(NEED_ALL_TOKENS)
        around = Around(scheme, heads, qk, inputs, sequence, gathered)
        parts[op.name] = CUTS[op.kind](op, around)
    return parts


def is_sequence_parallel(ops: list[Op], scheme: Scheme) -> bool:
    """Whether the residual stream is cut by tokens: with fewer tokens than ranks some would idle,
    and a collective of so few bytes is quicker in one piece."""
    tokens = next((op.m for op in ops if op.kind == "qk"), 0)
    return scheme.paired and tokens >= scheme.tp > 1


def check_parts(graph: nx.DiGraph, parts: Mapping[str, Part], tp: int) -> None:
    """AssertionError when an op has no Part, or a Part does not speak of every rank."""
    assert set(parts) == set(graph.nodes)
    for part in parts.values():
        columns = (part.shapes, part.weights, part.outputs, part.kept, part.share, part.experts)
        for per_rank in columns:
            assert len(per_rank) in (0, tp), f"{part.op.name} is cut for {len(per_rank)} ranks"
        for comm in part.before + part.after:
            assert len(comm.groups) == len(comm.elements)


def cut_attention(op: Op, around: Around) -> Part:
    """qk, softmax, av: by heads, and along the context where ranks share a head."""
    heads, qk = around.heads, around.qk
    assert heads and qk
    tokens = sum(new for new, _, _ in qk.slices)
    merge: tuple[Comm, ...] = ()
    if op.kind == "av" and heads.groups:
        ranks = [len(group) for group in heads.groups]
        statistics = tuple(MERGE_STATISTICS * tokens * n for n in ranks)
        merge = (
            Comm("all_gather", heads.groups, statistics),
            Comm("reduce_scatter", heads.groups, (tokens * op.value_dim,) * len(ranks)),
        )
    share = head_share(heads)
    outputs = tuple(tokens * op.value_dim * q // parts for q, (_, parts) in _per_rank(heads))
    return Part(op, share=share, outputs=outputs, after=merge, layout="split", heads=heads)


def _per_rank(heads: Heads) -> list[tuple[int, tuple[int, int]]]:
    return list(zip(heads.query, heads.context, strict=True))


def cut_vector(op: Op, around: Around) -> Part:
    """Vector work follows its input: own heads or columns, or own rows of the residual stream."""
    layout = "rows" if op.kind == "add" else around.layout
    if layout == "split":
        share = next(part.share for part in around.inputs if part.layout == "split")
    elif layout == "whole":
        share = (WHOLE,) * around.scheme.tp
    else:
        share = tuple((rows, max(1, op.m)) for rows in around.token_shards(max(1, op.m)))
    outputs = tuple(op.output_elements * a // b for a, b in share)
    part = Part(op, share=share, outputs=outputs, layout=layout)
    return _with_all_tokens(part, around) if op.kind == "norm" else part


def _with_all_tokens(part: Part, around: Around) -> Part:
    """A norm of own tokens is gathered where its consumers need all of them."""
    op = part.op
    if not (around.sequence and around.gathered and part.layout == "rows"):
        return part
    comm = Comm("all_gather", around.scheme.everyone, (op.m * op.n,), unit=op.n)
    kept = (op.m * op.n,) * around.scheme.tp
    return replace(part, kept=kept, after=(comm,), layout="whole")


def cut_sample(op: Op, around: Around) -> Part:
    """Each rank's best of its own logits; (value, index) of every row goes to rank 0."""
    part = cut_vector(op, around)
    tp = around.scheme.tp
    sent = (Comm("gather", around.scheme.everyone, (2 * op.m,)),) if tp > 1 else ()
    return Part(op, share=part.share, outputs=(op.m,) * tp, after=sent)


def cut_embedding(op: Op, around: Around) -> Part:
    """Assumes a table cut by rows in every partition, so that a tied LM head shares it, and
    tokens spread evenly over the ranks' rows; all ranks gather what the others found, or hand it
    to the ranks whose tokens they are."""
    scheme, tp = around.scheme, around.scheme.tp
    need(op, op.k, tp, "rows")
    found = shards(op.m, tp)
    spread = Comm("all_gather", scheme.everyone, (op.m * op.n,))
    if around.sequence:
        spread = Comm("all_to_all", scheme.everyone, (found[0] * op.n * (tp - 1) // tp,))
    return Part(
        op,
        shapes=tuple((rows, op.k, op.n) for rows in found),
        weights=tuple(rows * op.n for rows in shards(op.k, tp)),
        outputs=tuple(rows * op.n for rows in found) if around.sequence else (op.m * op.n,) * tp,
        share=tuple((rows, max(1, op.m)) for rows in found),
        after=(spread,) if tp > 1 else (),
    )


CUTS = {
    "embedding": cut_embedding,
    "matmul": cut_matmul,
    "qk": cut_attention,
    "softmax": cut_attention,
    "av": cut_attention,
    "experts": cut_experts,
    "moe_combine": cut_combine,
    "norm": cut_vector,
    "rope": cut_vector,
    "activation": cut_vector,
    "add": cut_vector,
    "topk": cut_vector,
    "sample": cut_sample,
}
