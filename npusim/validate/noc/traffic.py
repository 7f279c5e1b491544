"""A mesh and a pattern's name → the transfers of one run: who sends or loads what, and when.

Open loop: every core sends packets at random times at a share of the network's capacity. Closed
bursts: all that a step of a workload moves, as fast as the network takes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

NONE = -1


@dataclass(frozen=True)
class Transfer:
    """`src` sends `num_bytes` to `dst`; or (`load`) `dst` loads them from edge memory, where they
    stand at `address`. It starts at `start` or, if given, when all of transfer `after` is there."""

    dst: int
    num_bytes: int
    src: int = NONE
    start: int = 0
    after: int = NONE
    kind: Literal["send", "load"] = "send"
    address: int = 0


@dataclass(frozen=True)
class Grid:
    """Rows and columns of cores."""

    rows: int
    columns: int

    @property
    def num_cores(self) -> int:
        return self.rows * self.columns

    def core(self, row: int, column: int) -> int:
        return row % self.rows * self.columns + column % self.columns

    def at(self, core: int) -> tuple[int, int]:
        return divmod(core, self.columns)


def uniform(grid: Grid, core: int, rng: np.random.Generator) -> int:
    """Any other core."""
    return (core + int(rng.integers(1, grid.num_cores))) % grid.num_cores


def bit_complement(grid: Grid, core: int, rng: np.random.Generator) -> int:
    """The core opposite through the middle of the mesh."""
    return grid.num_cores - 1 - core


def transposed(grid: Grid, core: int, rng: np.random.Generator) -> int:
    """Row and column exchanged; those on the diagonal are their own."""
    row, column = grid.at(core)
    return grid.core(column, row)


def neighbour(grid: Grid, core: int, rng: np.random.Generator) -> int:
    """The next core of the row, cyclic."""
    row, column = grid.at(core)
    return grid.core(row, column + 1)


DESTINATIONS: dict[str, Callable[[Grid, int, np.random.Generator], int]] = {
    "uniform": uniform,
    "bit complement": bit_complement,
    "transpose": transposed,
    "neighbour": neighbour,
}


def capacity(grid: Grid, pattern: str) -> float:
    """Flits a core may send a cycle before the busiest link, under XY routing, is full."""
    rng = np.random.default_rng(0)
    load: dict[tuple, float] = {}
    for core in range(grid.num_cores):
        for dst in range(grid.num_cores) if pattern == "uniform" else [None]:
            goal = DESTINATIONS[pattern](grid, core, rng) if dst is None else dst
            share = 1.0 if dst is None else 1 / (grid.num_cores - 1)
            for step in _way(grid, core, goal) if goal != core else ():
                load[step] = load.get(step, 0.0) + share
    return 1 / max(load.values())


def _way(grid: Grid, src: int, dst: int):
    """Links of the XY way, injection and ejection included."""
    (row, column), (to_row, to_column) = grid.at(src), grid.at(dst)
    yield "in", src
    while column != to_column:
        ahead = column + (1 if to_column > column else -1)
        yield row, column, row, ahead
        column = ahead
    while row != to_row:
        ahead = row + (1 if to_row > row else -1)
        yield row, column, ahead, column
        row = ahead
    yield "out", dst


def open_loop(
    grid: Grid, pattern: str, load: float, num_bytes: int, flits: int, packets: int, seed: int
) -> list[Transfer]:
    """`packets` packets a core with geometric gaps, at `load` of the pattern's capacity."""
    rng = np.random.default_rng(seed)
    chance = load * capacity(grid, pattern) / flits
    transfers = []
    for core in range(grid.num_cores):
        starts = np.cumsum(rng.geometric(chance, size=packets))
        for start in starts:
            dst = DESTINATIONS[pattern](grid, core, rng)
            if dst != core:
                transfers.append(Transfer(dst, num_bytes, core, int(start)))
    return sorted(transfers, key=lambda transfer: transfer.start)


def tile_loads(grid: Grid, num_bytes: int) -> list[Transfer]:
    """Every core loads four tiles of its own from the memory at the west and east edges."""
    return [
        Transfer(core, num_bytes, kind="load", address=(tile * grid.num_cores + core) * num_bytes)
        for tile in range(4)
        for core in range(grid.num_cores)
    ]


def all_to_all(grid: Grid, num_bytes: int) -> list[Transfer]:
    """Every core sends to every other, beginning with its successor."""
    n = grid.num_cores
    return [
        Transfer((core + step) % n, num_bytes, core) for step in range(1, n) for core in range(n)
    ]


def row_column_gather(grid: Grid, num_bytes: int) -> list[Transfer]:
    """Every core sends its share to all of its row and to all of its column."""
    transfers = []
    for step in range(1, max(grid.rows, grid.columns)):
        for core in range(grid.num_cores):
            row, column = grid.at(core)
            if step < grid.columns:
                transfers.append(Transfer(grid.core(row, column + step), num_bytes, core))
            if step < grid.rows:
                transfers.append(Transfer(grid.core(row + step, column), num_bytes, core))
    return transfers


def incast(grid: Grid, num_bytes: int) -> list[Transfer]:
    """All cores send to one in the middle."""
    goal = grid.core(grid.rows // 2, grid.columns // 2)
    return [Transfer(goal, num_bytes, core) for core in range(grid.num_cores) if core != goal]


def broadcast(grid: Grid, num_bytes: int) -> list[Transfer]:
    """A tree from core 0: in every round all that have the data send it on, halving the way."""
    have: dict[int, int] = {0: NONE}
    sent: list[Transfer] = []
    stride = 1
    while stride * 2 < grid.num_cores:
        stride *= 2
    while stride:
        for core, after in list(have.items()):
            if core + stride < grid.num_cores and core + stride not in have:
                have[core + stride] = len(sent)
                sent.append(Transfer(core + stride, num_bytes, core, after=after))
        stride //= 2
    return sent


def transpose(grid: Grid, num_bytes: int) -> list[Transfer]:
    """Core (r, c) sends to core (c, r)."""
    rng = np.random.default_rng(0)
    pairs = [(core, transposed(grid, core, rng)) for core in range(grid.num_cores)]
    return [Transfer(dst, num_bytes, src) for src, dst in pairs if src != dst]


def ring(grid: Grid, num_bytes: int) -> list[Transfer]:
    """Six steps of a ring all-reduce along a snake through the rows: each passes on what it got."""
    order = [
        grid.core(row, column if row % 2 == 0 else grid.columns - 1 - column)
        for row in range(grid.rows)
        for column in range(grid.columns)
    ]
    n, transfers = len(order), []
    for step in range(6):
        for place in range(n):
            after = (step - 1) * n + (place - 1) % n if step else NONE
            transfers.append(Transfer(order[(place + 1) % n], num_bytes, order[place], after=after))
    return transfers


BURSTS: dict[str, Callable[[Grid, int], list[Transfer]]] = {
    "tile loads": tile_loads,
    "all-to-all": all_to_all,
    "row and column gather": row_column_gather,
    "incast": incast,
    "broadcast": broadcast,
    "transpose": transpose,
    "ring": ring,
}
