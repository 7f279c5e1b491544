"""Pairs of cores that talk at the same time → hops and link loads under XY routing."""

import numpy as np


def hops(src: np.ndarray, dst: np.ndarray, columns: int) -> np.ndarray:
    """Links between routers that each message crosses: Manhattan distance on the mesh."""
    rows = np.abs(src // columns - dst // columns)
    return rows + np.abs(src % columns - dst % columns)


def max_link_load(src: np.ndarray, dst: np.ndarray, columns: int) -> int:
    """Messages over the busiest directed link when all `src` → `dst` (n,) travel at once.

    A message runs along its source's row first, then along its destination's column.
    """
    num_rows = int(max(src.max(), dst.max())) // columns + 1
    from_row, from_column = src // columns, src % columns
    to_row, to_column = dst // columns, dst % columns
    along_rows = _line_loads(from_row, from_column, to_column, num_rows, columns)
    along_columns = _line_loads(to_column, from_row, to_row, columns, num_rows)
    return max(along_rows, along_columns)


def _line_loads(line, start, stop, num_lines: int, length: int) -> int:
    """Most messages over one link when each runs from `start` to `stop` on its `line`."""
    busiest = 0
    for low, high in ((start, stop), (stop, start)):  # one direction, then the other
        moves = low < high
        change = np.zeros((num_lines, length + 1), np.int64)
        np.add.at(change, (line[moves], low[moves]), 1)
        np.add.at(change, (line[moves], high[moves]), -1)
        busiest = max(busiest, int(change.cumsum(axis=1).max()))
    return busiest
