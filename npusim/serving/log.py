"""Rows of whole numbers as they come → a column of each name."""

from array import array
from collections.abc import Iterable

Log = dict[str, array]


def new_log(names: Iterable[str]) -> Log:
    """Empty columns of 64-bit integers."""
    return {name: array("q") for name in names}


def add_row(log: Log, values: dict[str, int]) -> int:
    """One more row, a value for each column; its index."""
    for name, column in log.items():
        column.append(values[name])
    return len(column) - 1
