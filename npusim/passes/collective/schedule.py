"""Collective, ranks and chunk sizes → Schedule: who sends which elements to whom in which step.

Closed forms: a rank sends 2(n-1)/n of the vector in an all-reduce by ring, by mesh2d and (n a power
of two) by tree, half of it in a reduce-scatter or all-gather (Thakur, Rabenseifner, Gropp, 2005).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise as pairwise_of

import numpy as np

REDUCE_SCATTER, ALL_GATHER, ALL_REDUCE = "reduce_scatter", "all_gather", "all_reduce"
ALL_TO_ALL, BROADCAST = "all_to_all", "broadcast"


@dataclass(frozen=True, eq=False)
class Step:
    """Messages that may travel at once: columns (m,) of source and destination rank, and the
    elements [first, last) of the vector. A rank sends at most one and receives at most one.
    `reduces`: the receiver adds what it gets to its own elements; else it stores them."""

    src: np.ndarray
    dst: np.ndarray
    first: np.ndarray
    last: np.ndarray
    reduces: bool = False


@dataclass(frozen=True, eq=False)
class Schedule:
    """The steps of one collective, in order.

    * `own` (n, 2): the elements that belong to each rank: what it starts an all_gather with, what
      it ends a reduce_scatter with. mesh2d lays the chunks out in an order of its own; sizes stay.
    * `chained`: a rank sends in a step once what it received in earlier steps is in place.
    * `phased`: even ranks send, then receive; odd ranks receive, then send.
    """

    algorithm: str
    steps: tuple[Step, ...]
    own: np.ndarray
    chained: bool = True
    phased: bool = False


@dataclass(frozen=True)
class Layout:
    """`sizes`: elements of each rank's chunk. `grid`: ranks by row and column where the cores form
    a full rectangle of two or more rows and columns, else empty. `root`: of a broadcast."""

    sizes: tuple[int, ...]
    grid: tuple[tuple[int, ...], ...] = ()
    root: int = 0

    @property
    def num_ranks(self) -> int:
        return len(self.sizes)


Cost = Callable[[Schedule], float]


def even_sizes(num_elements: int, num_ranks: int) -> tuple[int, ...]:
    """Chunk sizes that differ by at most one element; the longer ones come last."""
    edges = [num_elements * i // num_ranks for i in range(num_ranks + 1)]
    return tuple(b - a for a, b in pairwise_of(edges))


def ring(op: str, layout: Layout, cost: Cost | None = None) -> Schedule:
    """Rank i sends to rank i + 1: n - 1 steps to reduce-scatter, n - 1 to all-gather. A broadcast
    is a chain from the root, pipelined in n pieces."""
    bounds = _bounds(layout.sizes)
    if op == BROADCAST:
        return Schedule("ring", tuple(_chain(layout)), _own(bounds))
    ranks = np.arange(layout.num_ranks)[None]
    steps: list[Step] = []
    if op in (REDUCE_SCATTER, ALL_REDUCE):
        steps += _rings(ranks, bounds[None], reduces=True)
    if op in (ALL_GATHER, ALL_REDUCE):
        steps += _rings(ranks, bounds[None], reduces=False)
    return Schedule("ring", tuple(steps), _own(bounds))


def ring_phased(op: str, layout: Layout, cost: Cost | None = None) -> Schedule:
    """The ring in two phases a step, as on cores that either send or receive: even ranks send then
    receive, odd ranks receive then send, so that a rendezvous cannot deadlock."""
    return replace(ring(op, layout), algorithm="ring_phased", phased=True)


def tree(op: str, layout: Layout, cost: Cost | None = None) -> Schedule:
    """Recursive halving, then doubling, over the largest power of two of ranks; each rank beyond it
    folds into a neighbour before and is served by it after. A broadcast is a binomial tree."""
    bounds = _bounds(layout.sizes)
    n = layout.num_ranks
    if op == BROADCAST:
        ranks = (np.arange(n) + layout.root) % n
        return Schedule("tree", tuple(_binomial(ranks[None], bounds[-1])), _own(bounds))
    power = 1 << (n.bit_length() - 1)
    folded = np.arange(n - power) * 2  # each folds into the rank after it
    kept = np.setdiff1d(np.arange(n), folded)
    starts = np.append(
        np.where(np.isin(kept - 1, folded), bounds[kept - 1], bounds[kept]), bounds[n]
    )
    steps = [_fold(op, folded, bounds)]
    if op in (REDUCE_SCATTER, ALL_REDUCE):
        steps += _halving(kept, starts)
    if op in (ALL_GATHER, ALL_REDUCE):
        steps += _doubling(kept, starts)
    steps.append(_unfold(op, folded, bounds))
    return Schedule("tree", tuple(s for s in steps if len(s.src)), _own(bounds))


def mesh2d(op: str, layout: Layout, cost: Cost | None = None) -> Schedule:
    """Rings along the rows of the group's rectangle, then along its columns (and back):
    2(R + C - 2) steps to all-reduce. Falls back to `ring` when the cores form no rectangle."""
    if not layout.grid:
        return ring(op, layout)
    if op == BROADCAST:
        return _mesh2d_broadcast(layout)
    grid = np.array(layout.grid)
    grid = grid[_folded_line(grid.shape[0])][:, _folded_line(grid.shape[1])]
    num_rows, num_columns = grid.shape
    order = grid.T.ravel()  # a column's chunks stand together, so that a row phase moves one piece
    bounds = _bounds(np.array(layout.sizes)[order])
    row_bounds = np.tile(bounds[::num_rows], (num_rows, 1))
    column_bounds = np.stack(
        [bounds[j * num_rows : (j + 1) * num_rows + 1] for j in range(num_columns)]
    )
    steps: list[Step] = []
    if op in (REDUCE_SCATTER, ALL_REDUCE):
        steps += _rings(grid, row_bounds, reduces=True)
        steps += _rings(grid.T, column_bounds, reduces=True)
    if op in (ALL_GATHER, ALL_REDUCE):
        steps += _rings(grid.T, column_bounds, reduces=False)
        steps += _rings(grid, row_bounds, reduces=False)
    own = np.empty((layout.num_ranks, 2), np.int64)
    own[order] = _own(bounds)
    return Schedule("mesh2d", tuple(steps), own)


def auto(op: str, layout: Layout, cost: Cost | None = None) -> Schedule:
    """The cheapest of ring, tree and mesh2d by `cost`; the first of equals."""
    assert cost is not None
    return min((build(op, layout) for build in (ring, tree, mesh2d)), key=cost)


def pairwise(sizes: np.ndarray) -> Schedule:
    """All-to-all of sizes[src, dst] elements: in step s rank i sends to rank i + s, waiting only
    for its own start. Elements are numbered through each rank's send buffer."""
    n = len(sizes)
    edges = np.zeros((n, n + 1), np.int64)
    np.cumsum(sizes, axis=1, out=edges[:, 1:])
    src = np.arange(n)
    steps = []
    for distance in range(1, n):
        dst = (src + distance) % n
        steps.append(Step(src, dst, edges[src, dst], edges[src, dst + 1]))
    own = np.stack([edges[:, 0], edges[:, -1]], axis=1)
    return Schedule("pairwise", tuple(steps), own, chained=False)


def _bounds(sizes) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))])


def _own(bounds: np.ndarray) -> np.ndarray:
    return np.stack([bounds[:-1], bounds[1:]], axis=1)


def _rings(ranks: np.ndarray, bounds: np.ndarray, *, reduces: bool) -> Iterator[Step]:
    """Rings side by side, `ranks` (rings, n) in ring order, `bounds` (rings, n + 1) of chunks.
    Reducing, position i ends with chunk i; gathering, it starts with chunk i."""
    n = ranks.shape[1]
    src, dst = ranks.ravel(), np.roll(ranks, -1, axis=1).ravel()
    for step in range(n - 1):
        chunk = (np.arange(n) - step - reduces) % n
        yield Step(src, dst, bounds[:, chunk].ravel(), bounds[:, chunk + 1].ravel(), reduces)


def _halving(ranks: np.ndarray, starts: np.ndarray) -> Iterator[Step]:
    """Partners at half, a quarter, … of the ranks swap halves; rank i ends with chunk i."""
    index = np.arange(len(ranks))
    distance = len(ranks) // 2
    while distance:
        partner = index ^ distance
        low = partner // distance * distance
        yield Step(ranks, ranks[partner], starts[low], starts[low + distance], True)
        distance //= 2


def _doubling(ranks: np.ndarray, starts: np.ndarray) -> Iterator[Step]:
    index = np.arange(len(ranks))
    distance = 1
    while distance < len(ranks):
        low = index // distance * distance
        yield Step(ranks, ranks[index ^ distance], starts[low], starts[low + distance])
        distance *= 2


def _fold(op: str, folded: np.ndarray, bounds: np.ndarray) -> Step:
    """Ranks beyond the power of two hand what they have to the rank after them."""
    if op == ALL_GATHER:
        return Step(folded, folded + 1, bounds[folded], bounds[folded + 1])
    return Step(folded, folded + 1, 0 * folded, 0 * folded + bounds[-1], True)


def _unfold(op: str, folded: np.ndarray, bounds: np.ndarray) -> Step:
    if op == REDUCE_SCATTER:
        return Step(folded + 1, folded, bounds[folded], bounds[folded + 1])
    return Step(folded + 1, folded, 0 * folded, 0 * folded + bounds[-1])


def _binomial(ranks: np.ndarray, num_elements: int) -> Iterator[Step]:
    """Trees side by side, `ranks` (trees, n) with the roots first; whole vectors travel."""
    n = ranks.shape[1]
    distance = 1 << (n - 1).bit_length() >> 1
    while distance:
        senders = np.arange(0, n - distance, 2 * distance)
        src, dst = ranks[:, senders].ravel(), ranks[:, senders + distance].ravel()
        yield Step(src, dst, 0 * src, 0 * src + num_elements)
        distance //= 2


def _chain(layout: Layout) -> Iterator[Step]:
    n = layout.num_ranks
    ranks = (np.arange(n) + layout.root) % n
    edges = _bounds(even_sizes(sum(layout.sizes), n))
    for step in range(2 * n - 2):
        place = np.arange(max(0, step - n + 1), min(step, n - 2) + 1)
        piece = step - place
        yield Step(ranks[place], ranks[place + 1], edges[piece], edges[piece + 1])


def _mesh2d_broadcast(layout: Layout) -> Schedule:
    """A binomial tree along the root's row, then one down every column."""
    grid = np.array(layout.grid)
    row, column = (int(i[0]) for i in np.nonzero(grid == layout.root))
    grid = np.roll(grid, (-row, -column), axis=(0, 1))
    bounds = _bounds(layout.sizes)
    steps = [*_binomial(grid[:1], bounds[-1]), *_binomial(grid.T, bounds[-1])]
    return Schedule("mesh2d", tuple(steps), _own(bounds))


def _folded_line(length: int) -> list[int]:
    """A cycle over a line of cores in which no step is longer than two hops."""
    return [*range(0, length, 2), *reversed(range(1, length, 2))]
