"""Core specs and a Program → scratchpad ports, DMA limits and task streams, in ticks."""

from math import gcd

import numpy as np

from npusim.engine.tables import NONE, Tasks
from npusim.program import COMPUTE, FIRST_DMA_UNIT, NO_UNIT, UNITS_PER_CORE, Program
from npusim.spec.hardware import Core, Hardware


def port_ratio(core: Core, noc_khz: int) -> tuple[int, int]:
    """(num, den): a port moves b bytes in ceil(b · num / den) ticks."""
    num, den = noc_khz, core.scratchpad.bytes_per_cycle * core.khz
    return num // gcd(num, den), den // gcd(num, den)


def build_tasks(program: Program, hw: Hardware) -> Tasks:
    """The Program's tasks with durations in ticks, successors and dense queue numbers."""
    unit_keys = program.core.astype(np.int64) * UNITS_PER_CORE + program.unit
    queued = program.unit != NO_UNIT
    keys, dense = np.unique(unit_keys[queued], return_inverse=True)
    queue = np.full(len(program), NONE, np.int64)
    queue[queued] = dense
    units = keys % UNITS_PER_CORE
    start, successors = invert(program.dep_start, program.deps)
    return Tasks(
        kind=program.kind,
        core=program.core,
        queue=queue,
        ticks=_compute_ticks(program, hw),
        bytes=program.bytes,
        memory=program.memory,
        address=program.address,
        row_bytes=program.row_bytes,
        stride_bytes=program.stride_bytes,
        match=program.match,
        num_waits=np.diff(program.dep_start),
        dependents_start=start,
        dependents=successors,
        queue_start=np.concatenate([[0], np.cumsum(np.bincount(dense, minlength=len(keys)))]),
        queue_tasks=np.flatnonzero(queued)[np.argsort(dense, kind="stable")],
        queue_core=keys // UNITS_PER_CORE,
        queue_engine=np.where(units >= FIRST_DMA_UNIT, units - FIRST_DMA_UNIT, NONE),
        queue_key=keys,
    )


def _compute_ticks(program: Program, hw: Hardware) -> np.ndarray:
    """Cycles of the core's clock as ticks, rounded up once a task, at least one."""
    khz = np.array([core.khz for core in hw.cores()], dtype=np.int64)[program.core]
    ticks = -(-program.cycles * hw.noc.khz // khz)
    return np.where(program.kind == COMPUTE, np.maximum(ticks, 1), 0)


def invert(dep_start: np.ndarray, deps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predecessor lists (CSR) → successor lists (CSR), successors in ascending order."""
    num_tasks = len(dep_start) - 1
    owners = np.repeat(np.arange(num_tasks, dtype=np.int32), np.diff(dep_start))
    start = np.concatenate([[0], np.cumsum(np.bincount(deps, minlength=num_tasks))])
    return start, owners[np.argsort(deps, kind="stable")]
