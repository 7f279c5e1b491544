"""Pairs of cores that talk at the same time → hops and link loads on the NoC.

Routes are dimension ordered: along the source's row first, then along the destination's column.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """How the routers of a NoC are linked. `one_way`: a torus whose requests run only east and
    south, responses and messages only west and north."""

    rows: int
    columns: int
    topology: str = "mesh"  # or torus, crossbar
    one_way: bool = False

    @property
    def nearest(self) -> int:
        """Hops between neighbours."""
        return 0 if self.topology == "crossbar" else 1


def line_steps(start, stop, size: int, grid: Grid, request: bool = False) -> np.ndarray:
    """Links from `start` to `stop` along a row or column of `size` routers, negative towards 0; on
    a torus the shorter way round, upwards where both are equal."""
    if grid.topology != "torus":
        return np.asarray(stop - start)
    up = (stop - start) % size
    if grid.one_way:
        return up if request else -((start - stop) % size)
    return np.where(2 * up <= size, up, up - size)


def hops(src: np.ndarray, dst: np.ndarray, grid: Grid) -> np.ndarray:
    """Links between routers that each message (n,) crosses; none on a crossbar."""
    if grid.topology == "crossbar":
        return np.zeros_like(src)
    rows = line_steps(src // grid.columns, dst // grid.columns, grid.rows, grid)
    columns = line_steps(src % grid.columns, dst % grid.columns, grid.columns, grid)
    return np.abs(rows) + np.abs(columns)


def max_link_load(src: np.ndarray, dst: np.ndarray, grid: Grid) -> int:
    """Messages over the busiest directed link when all `src` → `dst` (n,) travel at once: of the
    links between routers; on a crossbar of those in and out of it."""
    if grid.topology == "crossbar":
        return int(max(np.bincount(src).max(), np.bincount(dst).max()))
    from_row, from_column = np.divmod(src, grid.columns)
    to_row, to_column = np.divmod(dst, grid.columns)
    across = line_steps(from_column, to_column, grid.columns, grid)
    down = line_steps(from_row, to_row, grid.rows, grid)
    return max(
        _line_loads(from_row, from_column, across, grid.rows, grid.columns),
        _line_loads(to_column, from_row, down, grid.columns, grid.rows),
    )


def _line_loads(line, start, steps, num_lines: int, size: int) -> int:
    """Most messages over one link when each goes `steps` links from `start` on its `line`."""
    busiest = 0
    for first, count in ((start, steps), (size - 1 - start, -steps)):  # one direction, the other
        moves = count > 0
        change = np.zeros((num_lines, 2 * size), np.int64)  # the second half: once round
        np.add.at(change, (line[moves], first[moves]), 1)
        np.add.at(change, (line[moves], (first + count)[moves]), -1)
        loads = change.cumsum(axis=1)
        busiest = max(busiest, int((loads[:, :size] + loads[:, size:]).max()))
    return busiest
