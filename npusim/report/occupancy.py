"""Trace → bytes held in each core's scratchpad over time, from what was loaded and received."""

from collections.abc import Iterator

import numpy as np

from npusim.trace import LOAD, RECV, Trace

POINTS = 1_000
RESIDENT_KEYS = ("resident_weight_bytes", "sram_kv_bytes")  # of Program.placed


def occupancy(trace: Trace) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each core by id: times in ps and the bytes held from then on (the most within each of
    POINTS equal intervals of the makespan).

    Assumes that what a LOAD or RECV brings is held from its start to the end of the last task
    that depends on it, on top of what the plan keeps there all the time. Outputs of compute tasks
    are not in the program, so not counted.
    """
    program = trace.program
    kept = np.isin(program.kind, (LOAD, RECV)) & (trace.end_ps >= 0)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(program.core[rows], kind="stable")]
    bounds = np.searchsorted(program.core[rows], np.arange(len(trace.core_names) + 1))
    last_use = _last_use(trace)
    base = _resident(trace)
    for core in range(len(trace.core_names)):
        mine = rows[bounds[core] : bounds[core + 1]]
        held = program.bytes[mine]
        times, level = _levels(trace.start_ps[mine], last_use[mine], held, trace.makespan_ps)
        yield times, level + base[core]


def _resident(trace: Trace) -> np.ndarray:
    """Bytes of each core that the plan keeps in the scratchpad throughout (RESIDENT_KEYS)."""
    base = np.zeros(len(trace.core_names), np.int64)
    for row in trace.program.placed:
        base[row["core"]] += sum(row.get(key, 0) for key in RESIDENT_KEYS)
    return base


def _last_use(trace: Trace) -> np.ndarray:
    """End of each task's last dependent, or its own."""
    program = trace.program
    last = trace.end_ps.copy()
    user_end = np.repeat(trace.end_ps, np.diff(program.dep_start))
    np.maximum.at(last, program.deps, user_end)
    return last


def _levels(
    start: np.ndarray, end: np.ndarray, held: np.ndarray, makespan_ps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Times at which the level changes and the level: one point an interval at most."""
    if len(start) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    time = np.concatenate((start, end))
    order = np.argsort(time, kind="stable")
    level = np.cumsum(np.concatenate((held, -held))[order])
    time, settled = time[order], np.append(np.diff(time[order]) > 0, True)
    return _thinned(time[settled], level[settled], makespan_ps // POINTS + 1)


def _thinned(time: np.ndarray, level: np.ndarray, step_ps: int) -> tuple[np.ndarray, np.ndarray]:
    """The highest level of each interval of `step_ps`, where it differs from the one before."""
    cells = np.arange(POINTS + 1)
    most = np.zeros(len(cells), np.int64)
    np.maximum.at(most, time // step_ps, level)
    last_before = np.searchsorted(time, cells * step_ps, side="right") - 1
    at_begin = np.where(last_before >= 0, level[last_before], 0)
    most = np.maximum(most, at_begin)
    changes = np.flatnonzero(np.diff(most, prepend=-1))
    return changes * step_ps, most[changes]
