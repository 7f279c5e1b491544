"""Tasks of a pattern of layers in a ProgramBuilder → the same tasks for later, equal layers."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from npusim.program import OpRow, ProgramBuilder

MAX_PERIOD = 8


@dataclass(frozen=True)
class Run:
    """`count` times a pattern of `period` layers from position `start` on."""

    start: int
    period: int
    count: int


def find_runs(signatures: Sequence[Hashable]) -> list[Run]:
    """The sequence as runs from left to right, each the one that covers most (or a single item)."""
    runs: list[Run] = []
    place = 0
    while place < len(signatures):
        options = [_run_at(signatures, place, period) for period in range(1, MAX_PERIOD + 1)]
        best = max(options, key=lambda run: (run.period * (run.count - 1), -run.period))
        best = best if best.count > 2 else Run(place, 1, 1)
        runs.append(best)
        place += best.period * best.count
    return runs


def _run_at(items: Sequence[Hashable], start: int, period: int) -> Run:
    end = start + period
    while end < len(items) and items[end] == items[end - period]:
        end += 1
    return Run(start, period, max(1, (end - start) // period))


@dataclass(frozen=True)
class Template:
    """Rows [first, last) and op rows [first_op, last_op) of one pattern."""

    first: int
    last: int
    first_op: int
    last_op: int

    @property
    def num_tasks(self) -> int:
        return self.last - self.first


def repeat_rows(
    builder: ProgramBuilder,
    template: Template,
    times: int,
    rename: Callable[[OpRow, int], OpRow],
    touched: np.ndarray,
    address_steps: Callable[[int], np.ndarray],
) -> None:
    """Appends the template's rows `times` more times.

    `rename(op_row, repetition)` names the op rows of repetition 1, 2, …; rows `touched` (n,) get
    `address_steps(repetition)` (n,) added to their address.
    """
    columns, dep_start, deps = builder.table(template.first, template.last)
    ops = builder.ops[template.first_op : template.last_op]
    local = touched - template.first
    matched = columns["match"] >= 0
    for repetition in range(1, times + 1):
        moved = dict(columns)
        shift = repetition * template.num_tasks
        moved["match"] = np.where(matched, columns["match"] + shift, columns["match"])
        moved["op"] = columns["op"] + (len(builder.ops) - template.first_op)
        moved["address"] = columns["address"].copy()
        moved["address"][local] += address_steps(repetition)
        builder.extend(moved, dep_start, deps + shift)
        builder.ops += [rename(op, repetition) for op in ops]
