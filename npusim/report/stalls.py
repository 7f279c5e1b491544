"""Trace → where every core's time went: compute, memory, NoC, dependencies, idle, exact to the ps.

At any instant a core is in one state, the first that holds: a COMPUTE task runs; a LOAD or STORE
is in flight; a SEND or a RECV's data is in flight; tasks are left; none are left. The same time is
charged to operators: to the task in flight that started first, and a wait for dependencies to the
operator that goes on after it.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from npusim.trace import COMPUTE, LOAD, RECV, SEND, STORE, Iteration, Run, Trace

CAUSES = ("compute", "wait_memory", "wait_noc", "wait_dependency", "idle")
CLASSES = ((COMPUTE,), (LOAD, STORE), (SEND, RECV))
DEPENDENCY, IDLE = 3, 4


@dataclass(frozen=True)
class Stalls:
    """`cores_ps`: int64 (cores, CAUSES), each row sums to the makespan. `ops_ps`: int64 (ops,
    CAUSES[:4]), core time charged to each operator row of the program."""

    cores_ps: np.ndarray
    ops_ps: np.ndarray


def stalls(trace: Trace) -> Stalls:
    """Stall breakdown of one trace in ps; tasks that did not run are left out."""
    program = trace.program
    cores_ps = np.zeros((len(trace.core_names), len(CAUSES)), np.int64)
    ops_ps = np.zeros((len(program.ops), IDLE), np.int64)
    for core, rows in _tasks_by_core(trace):
        cores_ps[core] = _one_core(trace, rows, ops_ps)
    cores_ps[:, IDLE] = trace.makespan_ps - cores_ps[:, :IDLE].sum(axis=1)
    return Stalls(cores_ps, ops_ps)


def stalls_by_trace(run: Run) -> dict[int, Stalls]:
    """Stalls of each trace of a run, once each, by `id(trace)`."""
    traces = {id(i.trace): i.trace for i in run.iterations}
    return {key: stalls(trace) for key, trace in traces.items()}


def run_stalls(run: Run, by_trace: dict[int, Stalls]) -> np.ndarray:
    """int64 (cores, CAUSES) over all iterations; rows sum to the run's makespan.

    Assumes that layers which were reused, not simulated, stall like those that were simulated.
    """
    total = np.zeros((len(run.iterations[0].trace.core_names), len(CAUSES)), np.int64)
    for iteration in run.iterations:
        total += stretch(by_trace[id(iteration.trace)].cores_ps, iteration)
    total[:, IDLE] += run.makespan_ps - total.sum(axis=1)
    return total


def stretch(cores_ps: np.ndarray, iteration: Iteration) -> np.ndarray:
    """Rows that sum to the trace's makespan, in proportion to the iteration's; exact sums."""
    target, base = iteration.makespan_ps, iteration.trace.makespan_ps
    if target == base or base == 0:
        return cores_ps
    edges = np.cumsum(cores_ps.astype(object), axis=1) * target // base
    return np.diff(edges, axis=1, prepend=0).astype(np.int64)


def _tasks_by_core(trace: Trace):
    """(core, rows sorted by start) of the tasks that ran."""
    core = trace.program.core
    ran = np.flatnonzero(trace.end_ps >= 0)
    order = ran[np.lexsort((trace.start_ps[ran], core[ran]))]
    bounds = np.searchsorted(core[order], np.arange(len(trace.core_names) + 1))
    for core_id, (first, last) in enumerate(pairwise(bounds)):
        if last > first:
            yield core_id, order[first:last]


def _one_core(trace: Trace, rows: np.ndarray, ops_ps: np.ndarray) -> list[int]:
    """Time by cause of one core, whose tasks are `rows` by start; adds to `ops_ps`."""
    kind, op = trace.program.kind[rows], trace.program.op[rows]
    start, end = trace.start_ps[rows], trace.end_ps[rows]
    covered = (np.zeros(1, np.int64), np.zeros(1, np.int64))
    taken = np.zeros(len(rows), bool)
    result = []
    for cause, kinds in enumerate(CLASSES):
        chosen = np.isin(kind, kinds)
        taken |= chosen
        first, last = _disjoint(start[chosen], end[chosen])
        own = (last - first) - (_covered_until(covered, last) - _covered_until(covered, first))
        np.add.at(ops_ps[:, cause], op[chosen], own)
        result.append(int(own.sum()))
        covered = _merge(start[taken], end[taken])
    result.append(_dependency_gaps(covered, rows, trace, ops_ps))
    return [*result, 0]


def _disjoint(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals sorted by start, each cut down to what none before it covers."""
    before = np.maximum.accumulate(np.concatenate(([0], end)))[:-1]
    first = np.maximum(start, before)
    return first, np.maximum(end, first)


def _merge(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Union of intervals sorted by start, as separate segments."""
    if len(start) == 0:
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    reach = np.maximum.accumulate(end)
    opens = np.concatenate(([True], start[1:] > reach[:-1]))
    return start[opens], reach[np.append(np.flatnonzero(opens)[1:] - 1, len(reach) - 1)]


def _covered_until(segments: tuple[np.ndarray, np.ndarray], at: np.ndarray) -> np.ndarray:
    """Length of the segments that lies before each time in `at`."""
    first, last = segments
    done = np.concatenate(([0], np.cumsum(last - first)))
    index = np.searchsorted(first, at, side="right")
    inside = np.maximum(last[np.maximum(index - 1, 0)] - at, 0)
    return done[index] - np.where(index > 0, inside, 0)


def _dependency_gaps(
    busy: tuple[np.ndarray, np.ndarray], rows: np.ndarray, trace: Trace, ops_ps: np.ndarray
) -> int:
    """Time with nothing in flight before the core's last task ends, charged to what follows."""
    first, last = busy
    end = trace.end_ps[rows]
    before = np.concatenate(([0], last))
    gaps = np.append(first, max(int(end.max()), int(last[-1]))) - before
    start = trace.start_ps[rows]
    follower = np.searchsorted(start, np.append(first, start[-1]))
    follower[-1] = int(end.argmax())
    np.add.at(ops_ps[:, DEPENDENCY], trace.program.op[rows[follower]], gaps)
    return int(gaps.sum())
