"""The expert ops of a mixture of experts → Parts: experts over ep groups, each cut column → row.

A tp group of n ranks is ep groups of n / ep; rank = ep_group * (n / ep) + rank in it.
"""

from npusim.errors import SpecError
from npusim.graph.ir import ROLES, Op
from npusim.passes.cut.around import Around
from npusim.passes.partition import Comm, Part, Scheme, shards


def ep_groups(scheme: Scheme) -> tuple[tuple[int, ...], ...]:
    """Ranks that share a set of experts."""
    size = scheme.tp // scheme.ep
    return tuple(tuple(range(e * size, e * size + size)) for e in range(scheme.ep))


def exchange_groups(scheme: Scheme) -> tuple[tuple[int, ...], ...]:
    """Ranks at the same place of every ep group: tokens go round among them."""
    size = scheme.tp // scheme.ep
    return tuple(tuple(range(i, scheme.tp, size)) for i in range(size))


def local_experts(op: Op, scheme: Scheme) -> list[tuple[int, ...]]:
    """Token counts of the experts of each ep group."""
    if scheme.ep > len(op.expert_tokens):
        raise SpecError(
            f"ep {scheme.ep} exceeds the {len(op.expert_tokens)} experts of {op.name}; lower ep",
            "parallel.ep",
        )
    found, first = [], 0
    for count in shards(len(op.expert_tokens), scheme.ep):
        found.append(op.expert_tokens[first : first + count])
        first += count
    return found


def cut_experts(op: Op, around: Around) -> Part:
    """Assumes Megatron halves for experts in every partition, and tokens spread evenly over the ep
    groups for the exchange."""
    scheme = around.scheme
    size = scheme.tp // scheme.ep
    column = ROLES[op.role] == "column"
    width = op.n if column else op.k
    if size > width:
        raise SpecError(
            f"{size} ranks cannot share the {width} columns of {op.name}; raise ep or lower tp",
            "parallel.tp",
        )
    cuts = shards(width // 2, size) if _gated(op) else shards(width, size)
    cuts = tuple(2 * c for c in cuts) if _gated(op) else cuts
    experts = local_experts(op, scheme)
    ranks = [(e, cuts[i]) for e in range(scheme.ep) for i in range(size)]
    shapes = tuple((0, op.k, c) if column else (0, c, op.n) for _, c in ranks)
    return Part(
        op,
        shapes=shapes,
        experts=tuple(experts[e] for e, _ in ranks),
        weights=tuple(
            len(experts[e]) * s[1] * s[2] for (e, _), s in zip(ranks, shapes, strict=True)
        ),
        outputs=tuple(sum(experts[e]) * s[2] for (e, _), s in zip(ranks, shapes, strict=True)),
        share=tuple((c * sum(experts[e]), width * _assigned(op)) for e, c in ranks),
        before=_dispatch(op, around) if column else (),
        layout="split",
    )


def _gated(op: Op) -> bool:
    return op.role.endswith("gate_up") and op.n % 2 == 0


def _assigned(op: Op) -> int:
    return max(1, sum(op.expert_tokens))


def _exchanged(assignments: int, width: int, scheme: Scheme) -> int:
    """Elements a rank sends to other ep groups: its tokens' assignments that live elsewhere."""
    return assignments * width * (scheme.ep - 1) // (scheme.ep * scheme.ep)


def _dispatch(op: Op, around: Around) -> tuple[Comm, ...]:
    """Tokens to the experts: whole rows first where rows are cut, then an all-to-all over ep."""
    comms: list[Comm] = []
    scheme = around.scheme
    if scheme.rows > 1:
        rows = max(part.op.m for part in around.inputs)
        groups = scheme.column_groups
        comms.append(Comm("all_gather", groups, (rows * op.k,) * len(groups)))
    comms += _all_to_all(op, scheme, op.k)
    return tuple(comms)


def _all_to_all(op: Op, scheme: Scheme, width: int) -> list[Comm]:
    if scheme.ep == 1:
        return []
    groups = exchange_groups(scheme)
    sent = _exchanged(_assigned(op), width, scheme)
    return [Comm("all_to_all", groups, (sent,) * len(groups))] if sent else []


def cut_combine(op: Op, around: Around) -> Part:
    """Weighted sums where the tokens' owners are, partial over an ep group's ranks, then summed."""
    scheme = around.scheme
    down = next((p.op for p in around.inputs if p.op.kind == "experts"), None)
    before = tuple(_all_to_all(down, scheme, op.n)) if down else ()
    owned = op.m * op.n // scheme.ep
    return Part(
        op,
        share=((1, scheme.ep),) * scheme.tp,
        outputs=(op.m * op.n,) * scheme.tp,
        before=before,
        kept=tuple(r * op.n for r in around.token_shards(op.m)) if around.sequence else (),
        after=_sum_and_spread(op, scheme, owned, around.sequence),
    )


def _sum_and_spread(op: Op, scheme: Scheme, owned: int, sequence: bool) -> tuple[Comm, ...]:
    """Assumes, where the residual stream is cut by tokens, that an ep group owns the tokens of its
    ranks."""
    if scheme.tp == 1:
        return ()
    if sequence:
        groups = ep_groups(scheme)
        summed = Comm("reduce_scatter", groups, (owned,) * len(groups))
        return (summed,) if len(groups[0]) > 1 else ()
    if scheme.ep == 1:
        return (Comm("all_reduce", scheme.everyone, (op.m * op.n,)),)
    groups = ep_groups(scheme)
    summed = Comm("all_reduce", groups, (owned,) * len(groups))
    lanes = exchange_groups(scheme)
    spread = Comm("all_gather", lanes, (op.m * op.n,) * len(lanes))
    return (summed, spread) if len(groups[0]) > 1 else (spread,)
