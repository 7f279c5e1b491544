"""Bytes by tick → bins of equal length; busy intervals → spans."""

from collections.abc import Callable

import numpy as np

from npusim.engine.tables import NUM_BINS

SPAN_GAP_TICKS = 64


class Bytes:
    """Bytes that each of `num_rows` channels or links has moved, by tick."""

    def __init__(self, num_rows: int):
        self._num_rows = num_rows
        self._moved: list[tuple[int, int, int]] = []
        self.last_tick = 0

    def add(self, row: int, tick: int, num_bytes: int) -> None:
        self._moved.append((row, tick, num_bytes))
        self.last_tick = max(self.last_tick, tick)

    def bins(self, bin_ticks: int) -> np.ndarray:
        """int64 (rows, NUM_BINS)."""
        table = np.zeros((self._num_rows, NUM_BINS), np.int64)
        for row, tick, num_bytes in self._moved:
            table[row, tick // bin_ticks] += num_bytes
        return table


def bin_length(last_tick: int) -> int:
    """The smallest power of two of which NUM_BINS reach beyond `last_tick`."""
    length = 1
    while last_tick >= NUM_BINS * length:
        length *= 2
    return length


class Track:
    """Busy intervals of one channel or link, in order; neighbours of one task are joined when the
    gap between them is at most `max_gap`."""

    def __init__(self, track: int, max_gap: int):
        self._track, self._max_gap = track, max_gap
        self._spans: list[tuple[int, int, int, int]] = []

    def add(self, task: int, start: int, end: int, num_bytes: int) -> None:
        if self._spans:
            last_task, last_start, last_end, last_bytes = self._spans[-1]
            if last_task == task and start - last_end <= self._max_gap:
                self._spans[-1] = (task, last_start, end, last_bytes + num_bytes)
                return
        self._spans.append((task, start, end, num_bytes))

    def spans(self, to_ps: Callable[[int], int]) -> list[tuple[int, int, int, int, int]]:
        """Rows (track, task, start_ps, end_ps, bytes); times are put through `to_ps`."""
        return [(self._track, t, to_ps(s), to_ps(e), b) for t, s, e, b in self._spans]
