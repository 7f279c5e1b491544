"""Ops of one stage and a tensor-parallel scheme → Parts: what each rank computes, holds and sends.

Ranks of a group form a grid of `rows` x `columns` (rank = row * columns + column). A scheme says
how a GEMM [m, k] @ [k, n] is cut over that grid:

| partition  | grid   | a rank computes                         | then                            |
|------------|--------|-----------------------------------------|---------------------------------|
| input_only | tp x 1 | its rows of m with all weights          | nothing                         |
| mn         | tp x 1 | its rows, weights rotate block by block | nothing                         |
| k          | 1 x tp | all rows, its slice of k                | all-reduce of [m, n]            |
| mnk        | R x C  | its rows, its slice of k, rotating      | all-reduce over the C of a row  |
| megatron   | 1 x tp | column halves by n, row halves by k     | all-reduce after the row half   |

`megatron` is sequence-parallel (Korthikanti et al., arXiv 2205.05198) when an iteration has at
least tp tokens: the sum after a row half is only scattered, each rank keeps its tokens of the
residual stream, adds and norms those, and norms are gathered for the next column half. That sends
as much as the all-reduce and computes no token twice.

Formulas: elements sent per GEMM as in arXiv 2510.05632, table 2, with the last row
2(C-1)/C * MN/R + (R-1)/R * KN/C, which has the first two as its limits.
"""

import math
from dataclasses import dataclass

from npusim.errors import SpecError, pick
from npusim.graph.ir import Op
from npusim.passes.cut.heads import Heads
from npusim.spec.scenario import Parallel


def shards(total: int, parts: int) -> tuple[int, ...]:
    """`total` cut into `parts` whole numbers that differ by at most one, larger ones first."""
    size, more = divmod(total, parts)
    return tuple(size + (i < more) for i in range(parts))


@dataclass(frozen=True)
class Scheme:
    """How the GEMMs of a group of `rows * columns` ranks are cut. `paired`: Megatron halves.
    `rotating`: weight blocks move round the ranks of a grid column."""

    name: str
    rows: int
    columns: int
    paired: bool = False
    rotating: bool = False
    ep: int = 1

    @property
    def tp(self) -> int:
        return self.rows * self.columns

    @property
    def row_groups(self) -> tuple[tuple[int, ...], ...]:
        """Ranks that share rows of m and split k."""
        c = self.columns
        return tuple(tuple(range(r * c, r * c + c)) for r in range(self.rows))

    @property
    def column_groups(self) -> tuple[tuple[int, ...], ...]:
        """Ranks that share a slice of k and split the rows of m."""
        return tuple(tuple(range(c, self.tp, self.columns)) for c in range(self.columns))

    @property
    def everyone(self) -> tuple[tuple[int, ...], ...]:
        return (tuple(range(self.tp)),)


@dataclass(frozen=True)
class Comm:
    """One collective, done by several groups of ranks side by side; `elements`: the full vector
    of each group (all_to_all: what each rank sends in all), which is cut between ranks in whole
    units of `unit` elements."""

    kind: str
    groups: tuple[tuple[int, ...], ...]
    elements: tuple[int, ...]
    unit: int = 1


@dataclass(frozen=True)
class Part:
    """One op cut over the ranks.

    * `shapes`: (m, k, n) of each rank's GEMM; with `blocks` one GEMM for each width in it, since
      the weights [k, block] rotate over `ring` groups. `experts`: token counts of a rank's experts.
    * `weights`: weight elements each rank holds. `outputs`: output elements each rank
      makes; `kept`: what it has of them after the collectives, where that is another number.
    * `share`: (numerator, denominator) of the op's vector work each rank does.
    * `layout` of the output: `rows` (the residual stream's), `split` (heads, ffn columns), or
      `whole` (every rank has all of it, though the residual stream is cut by tokens).
    """

    op: Op
    shapes: tuple[tuple[int, int, int], ...] = ()
    blocks: tuple[int, ...] = ()
    ring: tuple[tuple[int, ...], ...] = ()
    experts: tuple[tuple[int, ...], ...] = ()
    weights: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    share: tuple[tuple[int, int], ...] = ()
    before: tuple[Comm, ...] = ()
    after: tuple[Comm, ...] = ()
    layout: str = "rows"
    heads: Heads | None = None


def input_only(parallel: Parallel) -> Scheme:
    return Scheme("input_only", parallel.tp, 1, ep=parallel.ep)


def mn(parallel: Parallel) -> Scheme:
    return Scheme("mn", parallel.tp, 1, rotating=True, ep=parallel.ep)


def k(parallel: Parallel) -> Scheme:
    return Scheme("k", 1, parallel.tp, rotating=True, ep=parallel.ep)


def mnk(parallel: Parallel) -> Scheme:
    """The grid of `parallel.grid`, or the squarest one."""
    rows, columns = parallel.grid or squarest(parallel.tp)
    if rows * columns != parallel.tp:
        raise SpecError(
            f"grid [{rows}, {columns}] has {rows * columns} ranks, tp is {parallel.tp}; "
            f"did you mean {list(squarest(parallel.tp))}?",
            "parallel.grid",
        )
    return Scheme("mnk", rows, columns, rotating=True, ep=parallel.ep)


def megatron(parallel: Parallel) -> Scheme:
    return Scheme("megatron", 1, parallel.tp, paired=True, ep=parallel.ep)


def squarest(tp: int) -> tuple[int, int]:
    """The factors of `tp` nearest to each other, the smaller one first."""
    rows = next(r for r in range(math.isqrt(tp), 0, -1) if tp % r == 0)
    return rows, tp // rows


def scheme_of(parallel: Parallel, name: str | None = None) -> Scheme:
    """The Scheme of `parallel.partition` (or of `name`).

    Raises SpecError for an unknown partition, a grid that does not match tp, or an ep that does
    not divide tp.
    """
    make = pick(PARTITIONS, name or parallel.partition, "partition", "parallel.partition")
    if parallel.tp % parallel.ep:
        raise SpecError(
            f"ep {parallel.ep} must divide tp {parallel.tp}: experts spread inside a tp group",
            "parallel.ep",
        )
    return make(parallel)


# `auto` is resolved to one of these by passes.choose before a scheme is made
PARTITIONS = {"input_only": input_only, "mn": mn, "k": k, "mnk": mnk, "megatron": megatron}
