"""Schedule → Table: its SEND, RECV and COMPUTE tasks by rank, ready to be put on any cores."""

from dataclasses import dataclass
from itertools import count

import numpy as np

from npusim.passes.collective.schedule import Schedule, Step
from npusim.program import COMPUTE, RECV, SEND, SYNC


@dataclass(frozen=True, eq=False)
class Table:
    """The tasks of a collective by rank, ids counted from its first: one SYNC a rank, which waits
    for what the caller says, then rows that wait for exactly one task, `dep`."""

    schedule: Schedule
    kind: np.ndarray
    rank: np.ndarray
    peer: np.ndarray  # rank
    match: np.ndarray
    dep: np.ndarray
    first: np.ndarray  # elements
    last: np.ndarray
    final: list[list[int]]


def build_table(schedule: Schedule, num_ranks: int) -> Table:
    """The tasks of a schedule over `num_ranks` ranks."""
    rows = _Rows(num_ranks, schedule.chained, schedule.phased)
    for step in schedule.steps:
        rows.step(step)
    kind, rank, peer, match, dep, first, last = rows.columns()
    final = [sorted({int(n), int(s)} - {-1}) for n, s in zip(rows.now, rows.sent, strict=True)]
    return Table(schedule, kind, rank, peer, match, dep, first, last, final)


class _Rows:
    """Rows being made; `now[r]`: the task after which rank r has all it was given so far."""

    def __init__(self, num_ranks: int, chained: bool, phased: bool):
        self._chained, self._phased = chained, phased
        self._blocks: list[np.ndarray] = []
        self._num_rows = 0
        nobody = np.full(num_ranks, -1)
        self.now = self._add(SYNC, np.arange(num_ranks), nobody, nobody, nobody)
        self._start = self.now.copy()
        self.sent = nobody.copy()

    def columns(self) -> np.ndarray:
        return np.concatenate(self._blocks, axis=1)

    def step(self, step: Step) -> None:
        """Appends the messages of a step that carry something, and their reductions."""
        full = step.first < step.last
        columns = np.stack([step.src, step.dst, step.first, step.last])[:, full]
        phase = _phases(columns[0], columns[1]) if self._phased else np.zeros(full.sum(), int)
        for index in range(phase.max(initial=-1) + 1):
            self._messages(*columns[:, phase == index])
        _, dst, first, last = columns
        if step.reduces:
            self.now[dst] = self._add(COMPUTE, dst, self.now[dst], first, last)

    def _messages(self, src, dst, first, last) -> None:
        waits = self.now if self._chained else self._start
        recv = self._num_rows + len(src) + np.arange(len(src))
        sends = self._add(SEND, src, waits[src], first, last, dst, recv)
        self.sent[src] = sends
        if self._phased:
            self.now[src] = sends
        self.now[dst] = self._add(RECV, dst, self.now[dst], first, last, src, sends)

    def _add(self, kind, rank, dep, first, last, peer=-1, match=-1) -> np.ndarray:
        block = np.empty((7, len(rank)), np.int64)
        for row, column in zip(block, (kind, rank, peer, match, dep, first, last), strict=True):
            row[:] = column
        self._blocks.append(block)
        ids = np.arange(self._num_rows, self._num_rows + len(rank))
        self._num_rows += len(rank)
        return ids


def _phases(src: np.ndarray, dst: np.ndarray) -> np.ndarray:
    """Phase of each message of a step. In a ring even ranks send first, odd ranks receive first
    (the last of an odd number closes the ring in phase 0); else in the first phase in which neither
    end does anything."""
    if ((src - dst) % 2 == 0).sum() <= 1:
        return src % 2
    phases: list[int] = []
    busy: set[tuple[int, int]] = set()
    for ends in zip(src.tolist(), dst.tolist(), strict=True):
        phase = next(p for p in count() if not {(p, rank) for rank in ends} & busy)
        busy |= {(phase, rank) for rank in ends}
        phases.append(phase)
    return np.array(phases)
