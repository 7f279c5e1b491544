"""Intervals of one track, by start → a lane for each, so that none overlap within a lane."""

import heapq

import numpy as np


def lanes(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """int64 lane of each interval; the lowest that is free at its start. `start` is ascending."""
    lane = np.zeros(len(start), np.int64)
    reach = np.maximum.accumulate(end)
    opens = np.concatenate(([True], start[1:] >= reach[:-1]))
    alone = opens & np.append(opens[1:], True)
    crowded = np.flatnonzero(~alone)
    lane[crowded] = _first_fit(start[crowded].tolist(), end[crowded].tolist())
    return lane


def _first_fit(starts: list[int], ends: list[int]) -> list[int]:
    free: list[int] = []
    running: list[tuple[int, int]] = []
    result, opened = [], 0
    for start, end in zip(starts, ends, strict=True):
        while running and running[0][0] <= start:
            heapq.heappush(free, heapq.heappop(running)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, opened = opened, opened + 1
        heapq.heappush(running, (end, lane))
        result.append(lane)
    return result
