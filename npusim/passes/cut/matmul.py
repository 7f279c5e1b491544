"""A matmul and its surroundings → its Part: by its role, and by the scheme's way to cut a GEMM."""

from npusim.graph.ir import ROLES, Op
from npusim.passes.cut.around import WHOLE, Around, head_share, need
from npusim.passes.partition import Comm, Part, Scheme, shards

HEAD_ROLES = ("qkv", "q", "q_up", "kv_up", "absorb_k", "absorb_v")


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
    need(op, op.n, tp, "columns")
    pairs = 2 if op.role.endswith("gate_up") and op.n % 2 == 0 else 1
    return tuple(pairs * width for width in shards(op.n // pairs, tp))


def _columns(op: Op, around: Around) -> Part:
    columns = rank_columns(op, around)
    heads = around.heads if op.role in HEAD_ROLES else None
    gathered: tuple[Comm, ...] = ()
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
        need(op, op.k, scheme.tp, "rows")
        depths = shards(op.k, scheme.tp)
    kind, kept = "all_reduce", tuple[int, ...]()
    if around.sequence:
        kind, kept = "reduce_scatter", tuple(rows * op.n for rows in around.token_shards(op.m))
    reduced = Comm(kind, scheme.everyone, (op.m * op.n,), unit=op.n)
    return Part(
        op,
        shapes=tuple((op.m, depth, op.n) for depth in depths),
        weights=tuple(d * op.n + (_bias(op, op.n) if i == 0 else 0) for i, d in enumerate(depths)),
        outputs=(op.m * op.n,) * scheme.tp,
        kept=kept,
        share=(WHOLE,) * scheme.tp,
        after=(reduced,) if scheme.tp > 1 else (),
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
            layout="whole" if around.sequence else "rows",
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
        layout="whole" if around.sequence else "rows",
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
    gathered = _whole_rows(around.scheme, op.m * op.k)
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
    need(op, op.k, scheme.columns, "rows")
    need(op, op.n, scheme.rows, "columns")
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
        kept=tuple(shards(rows[r] * op.n, scheme.columns)[c] for r, c in cells)
        if scattered
        else (),
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


def _bias(op: Op, columns: int) -> int:
    return columns if op.bias else 0
