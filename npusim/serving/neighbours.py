"""Settled instances → who of them uses the same memories of a chip."""

from collections.abc import Sequence
from dataclasses import dataclass

from npusim.serving.settle import Settled


@dataclass(frozen=True)
class Neighbours:
    """Indices of the other instances that use some memory of an instance, and those memories."""

    others: tuple[int, ...]
    memory_ids: tuple[int, ...]


ALONE = Neighbours((), ())


def neighbours_of(settled: Sequence[Settled]) -> list[Neighbours]:
    """Of every instance, in order."""
    found = []
    for index, one in enumerate(settled):
        shared: set[int] = set()
        others = []
        for other_index, other in enumerate(settled):
            common = set(one.memory_ids) & set(other.memory_ids)
            if other_index != index and common and other.row.chip == one.row.chip:
                others.append(other_index)
                shared |= common
        found.append(Neighbours(tuple(others), tuple(sorted(shared))))
    return found
