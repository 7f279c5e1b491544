"""Ops of the graph in order and a Scheme → a Part for every op, with the collectives between them.

The residual stream is cut by rows of m over the rows of the scheme's grid (so it is whole on every
rank when the grid has one row); attention is cut by heads, the FFN between its GEMMs by columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx

from npusim.errors import SpecError
from npusim.graph.ir import ROLES, Op, ops_in_order
from npusim.passes import cut_moe
from npusim.passes.heads import Heads, spread_heads
from npusim.passes.partition import Comm, Part, Scheme, shards

WHOLE = (1, 1)
HEAD_ROLES = ("qkv", "q", "q_up", "kv_up", "absorb_k", "absorb_v")
MERGE_STATISTICS = 2  # running maximum and sum of a softmax row


@dataclass(frozen=True)
class Around:
    """What a cut looks at beside its op: the scheme, the layer's heads and qk op (None outside
    attention), and the Parts of the op's producers."""

    scheme: Scheme
    heads: Heads | None
    qk: Op | None
    inputs: tuple[Part, ...]

    @property
    def layout(self) -> str:
        return "split" if any(part.layout == "split" for part in self.inputs) else "rows"


def cut_graph(graph: nx.DiGraph, scheme: Scheme) -> dict[str, Part]:
    """Part of every op by name. Raises SpecError when tp exceeds a dimension that must be cut."""
    ops = ops_in_order(graph)
    qk_of_layer = {op.layer: op for op in ops if op.kind == "qk"}
    parts: dict[str, Part] = {}
    for op in ops:
        qk = qk_of_layer.get(op.layer)
        heads = spread_heads(qk.heads, qk.kv_heads, scheme.tp) if qk else None
        inputs = tuple(parts[name] for name in graph.predecessors(op.name))
        around = Around(scheme, heads, qk, inputs)
        parts[op.name] = CUTS[op.kind](op, around)
    return parts


def check_parts(graph: nx.DiGraph, parts: Mapping[str, Part], tp: int) -> None:
    """AssertionError when an op has no Part, or a Part does not speak of every rank."""
    assert set(parts) == set(graph.nodes)
    for part in parts.values():
        for per_rank in (part.shapes, part.weights, part.outputs, part.share, part.experts):
            assert len(per_rank) in (0, tp), f"{part.op.name} is cut for {len(per_rank)} ranks"
        for comm in part.before + part.after:
            assert len(comm.groups) == len(comm.elements)


def _need(op: Op, size: int, parts: int, what: str) -> None:
    if parts > size:
        raise SpecError(
            f"{parts} ranks cannot share the {size} {what} of {op.name}; lower tp below that",
            "parallel.tp",
        )


def _bias(op: Op, columns: int) -> int:
    return columns if op.bias else 0


# ---- matmul -------------------------------------------------------------------------------------


def cut_matmul(op: Op, around: Around) -> Part:
    """A GEMM by its role; the roles and their Megatron halves are in graph.ir.ROLES."""
    scheme, half = around.scheme, ROLES[op.role]
    if op.role == "lm_head":
        return _lm_head(op, around)
    if op.role in ("absorb_k", "absorb_v"):
        return _columns(op, around)
    if scheme.paired:
        return {"column": _columns, "row": _row_half, "replicated": _shared}[half](op, around)
    if op.role == "router" and (op.n < scheme.rows or op.k < scheme.columns):
        return _everywhere(op, around)
    if scheme.rotating:
        return _grid(op, around)
    return _whole_weights(op, around)


def rank_columns(op: Op, around: Around) -> tuple[int, ...]:
    """Columns of n that each rank computes when n is cut: by heads, gated pairs, or evenly."""
    tp, heads, qk = around.scheme.tp, around.heads, around.qk
    if op.role in HEAD_ROLES and heads and qk:
        own = op.n - (op.heads * op.head_dim if op.role == "qkv" else op.n)
        q_unit = (op.n - own) // qk.heads
        kv_unit = own // qk.kv_heads
        return tuple(
            shards(q * q_unit + kv * kv_unit, parts)[index]
            for q, kv, (index, parts) in zip(heads.query, heads.kv, heads.context, strict=True)
        )
    _need(op, op.n, tp, "columns")
    pairs = 2 if op.role.endswith("gate_up") and op.n % 2 == 0 else 1
    return tuple(pairs * width for width in shards(op.n // pairs, tp))


def head_share(heads: Heads) -> tuple[tuple[int, int], ...]:
    return tuple(
        (query, heads.num_heads * parts)
        for query, (_, parts) in zip(heads.query, heads.context, strict=True)
    )


def _columns(op: Op, around: Around) -> Part:
    columns = rank_columns(op, around)
    heads = around.heads if op.role in HEAD_ROLES else None
    gathered = ()
    if heads and heads.groups and op.role not in ("absorb_k", "absorb_v"):
        widths = [sum(columns[rank] for rank in group) for group in heads.groups]
        gathered = (Comm("all_gather", heads.groups, tuple(op.m * w for w in widths)),)
    return Part(
        op,
        shapes=tuple((op.m, op.k, n) for n in columns),
        weights=tuple(op.k * n + _bias(op, n) for n in columns),
        outputs=tuple(op.m * n for n in columns),
        share=head_share(heads) if heads else tuple((n, op.n) for n in columns),
        after=gathered,
        layout="split",
        heads=heads,
    )


def _row_half(op: Op, around: Around) -> Part:
    scheme, heads, qk = around.scheme, around.heads, around.qk
    if op.role == "output" and heads and qk:
        unit = op.k // heads.num_heads
        depths = tuple(
            shards(q * unit, parts)[index]
            for q, (index, parts) in zip(heads.query, heads.context, strict=True)
        )
    else:
        _need(op, op.k, scheme.tp, "rows")
        depths = shards(op.k, scheme.tp)
    reduced = (Comm("all_reduce", scheme.everyone, (op.m * op.n,)),) if scheme.tp > 1 else ()
    return Part(
        op,
        shapes=tuple((op.m, depth, op.n) for depth in depths),
        weights=tuple(d * op.n + (_bias(op, op.n) if i == 0 else 0) for i, d in enumerate(depths)),
        outputs=(op.m * op.n,) * scheme.tp,
        share=(WHOLE,) * scheme.tp,
        after=reduced,
    )


def _shared(op: Op, around: Around) -> Part:
    """What all ranks need whole: cut by columns and gathered; tiny ones are computed by all."""
    scheme, tp = around.scheme, around.scheme.tp
    if op.n >= tp > 1:
        columns = shards(op.n, tp)
        return Part(
            op,
            shapes=tuple((op.m, op.k, n) for n in columns),
            weights=tuple(op.k * n + _bias(op, n) for n in columns),
            outputs=(op.m * op.n,) * tp,
            share=(WHOLE,) * tp,
            after=(Comm("all_gather", scheme.everyone, (op.m * op.n,)),),
        )
    return _everywhere(op, around)


def _everywhere(op: Op, around: Around) -> Part:
    """All weights on every rank, for its own rows of the residual stream."""
    scheme = around.scheme
    tp = scheme.tp
    if scheme.rows > 1:
        return _whole_rows_part(op, scheme)
    return Part(
        op,
        shapes=((op.m, op.k, op.n),) * tp,
        weights=(op.k * op.n + _bias(op, op.n),) * tp,
        outputs=(op.m * op.n,) * tp,
        share=(WHOLE,) * tp,
    )


def _whole_rows_part(op: Op, scheme: Scheme) -> Part:
    rows = [m for m in shards(op.m, scheme.rows) for _ in range(scheme.columns)]
    return Part(
        op,
        shapes=tuple((m, op.k, op.n) for m in rows),
        weights=(op.k * op.n + _bias(op, op.n),) * scheme.tp,
        outputs=tuple(m * op.n for m in rows),
        share=tuple((m, max(1, op.m)) for m in rows),
    )


def _lm_head(op: Op, around: Around) -> Part:
    """Assumes a column-cut LM head in every partition: the sampled rows are gathered first."""
    part = _columns(op, around)
    gathered = _gather_rows(around.scheme, op.m * op.k)
    return Part(**{**vars(part), "before": gathered})


def _gather_rows(scheme: Scheme, elements: int) -> tuple[Comm, ...]:
    """Every rank of a grid column gets all rows of its columns; `elements` in all columns."""
    if scheme.rows == 1:
        return ()
    groups = scheme.column_groups
    return (Comm("all_gather", groups, shards(elements, scheme.columns)),)


def _whole_rows(scheme: Scheme, elements: int) -> tuple[Comm, ...]:
    """Every rank gets all rows; each has all columns of its own rows already."""
    if scheme.rows == 1:
        return ()
    groups = scheme.column_groups
    return (Comm("all_gather", groups, (elements,) * len(groups)),)


def _whole_weights(op: Op, around: Around) -> Part:
    """input_only: each rank has all weights and its rows of m."""
    scheme = around.scheme
    rows = shards(op.m, scheme.rows)
    to_heads = op.role in HEAD_ROLES
    return Part(
        op,
        shapes=tuple((m, op.k, op.n) for m in rows),
        weights=(op.k * op.n + _bias(op, op.n),) * scheme.tp,
        outputs=tuple(m * op.n for m in rows),
        share=_grid_share(op, around, rows),
        before=_gather_rows(scheme, op.m * op.k) if op.role == "output" else (),
        after=_gather_rows(scheme, op.m * op.n) if to_heads or op.role == "kv_down" else (),
        layout="split" if to_heads or _is_first_half(op) else "rows",
        heads=around.heads if to_heads else None,
    )


def _is_first_half(op: Op) -> bool:
    return ROLES[op.role] == "column" and op.role != "gemm"


def _grid_share(op: Op, around: Around, rows: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Share of the vector work that follows: by heads after QKV, else own rows (and columns)."""
    scheme, heads = around.scheme, around.heads
    if op.role in HEAD_ROLES and heads:
        return head_share(heads)
    across = scheme.columns if _is_first_half(op) else 1
    return tuple((m, max(1, op.m) * across) for m in rows for _ in range(scheme.columns))


def _grid(op: Op, around: Around) -> Part:
    """k, mn and mnk: k is cut over the grid's columns, m over its rows, weight blocks rotate."""
    scheme = around.scheme
    _need(op, op.k, scheme.columns, "rows")
    _need(op, op.n, scheme.rows, "columns")
    rows, depths = shards(op.m, scheme.rows), shards(op.k, scheme.columns)
    blocks = shards(op.n, scheme.rows)
    cells = [(r, c) for r in range(scheme.rows) for c in range(scheme.columns)]
    scattered = _is_first_half(op) and scheme.rows > 1 and scheme.columns > 1
    to_heads = op.role in HEAD_ROLES
    gather_after = _gather_rows(scheme, op.m * op.n) if to_heads else ()
    if op.role == "kv_down":
        gather_after = _whole_rows(scheme, op.m * op.n)
    return Part(
        op,
        shapes=tuple((rows[r], depths[c], op.n) for r, c in cells),
        blocks=blocks if scheme.rows > 1 else (),
        ring=scheme.column_groups if scheme.rows > 1 else (),
        weights=tuple(
            depths[c] * blocks[r] + (_bias(op, blocks[r]) if c == 0 else 0) for r, c in cells
        ),
        outputs=tuple(rows[r] * op.n for r, _ in cells),
        share=_grid_share(op, around, rows),
        before=_gather_rows(scheme, op.m * op.k) if op.role == "output" else (),
        after=_row_sums(scheme, op, rows, scattered) + gather_after,
        layout="split" if to_heads or _is_first_half(op) else "rows",
        heads=around.heads if to_heads else None,
    )


def _row_sums(scheme: Scheme, op: Op, rows: tuple[int, ...], scattered: bool) -> tuple[Comm, ...]:
    """Partial sums meet along a grid row; a result that may stay scattered is not gathered."""
    if scheme.columns == 1:
        return ()
    kind = "reduce_scatter" if scattered else "all_reduce"
    return (Comm(kind, scheme.row_groups, tuple(m * op.n for m in rows)),)


# ---- attention and vector work ------------------------------------------------------------------


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
    scheme = around.scheme
    if around.layout == "split" and op.kind != "add":
        share = next(part.share for part in around.inputs if part.layout == "split")
        layout = "split"
    else:
        m = max(1, op.m)
        share = tuple((r, m) for r in shards(m, scheme.rows) for _ in range(scheme.columns))
        layout = "rows"
    outputs = tuple(op.output_elements * a // b for a, b in share)
    return Part(op, share=share, outputs=outputs, layout=layout)


def cut_sample(op: Op, around: Around) -> Part:
    """Each rank's best of its own logits; (value, index) of every row goes to rank 0."""
    part = cut_vector(op, around)
    tp = around.scheme.tp
    sent = (Comm("gather", around.scheme.everyone, (2 * op.m,)),) if tp > 1 else ()
    return Part(op, share=part.share, outputs=(op.m,) * tp, after=sent)


def cut_embedding(op: Op, around: Around) -> Part:
    """Assumes a table cut by rows in every partition, so that a tied LM head shares it, and
    tokens spread evenly over the ranks' rows; all ranks gather what the others found."""
    scheme = around.scheme
    _need(op, op.k, scheme.tp, "rows")
    found = shards(op.m, scheme.tp)
    gathered = (Comm("all_gather", scheme.everyone, (op.m * op.n,)),) if scheme.tp > 1 else ()
    return Part(
        op,
        shapes=tuple((rows, op.k, op.n) for rows in found),
        weights=tuple(rows * op.n for rows in shards(op.k, scheme.tp)),
        outputs=(op.m * op.n,) * scheme.tp,
        share=tuple((rows, max(1, op.m)) for rows in found),
        after=gathered,
    )


CUTS = {
    "embedding": cut_embedding,
    "matmul": cut_matmul,
    "qk": cut_attention,
    "softmax": cut_attention,
    "av": cut_attention,
    "experts": cut_moe.cut_experts,
    "moe_combine": cut_moe.cut_combine,
    "norm": cut_vector,
    "rope": cut_vector,
    "activation": cut_vector,
    "add": cut_vector,
    "topk": cut_vector,
    "sample": cut_sample,
}
