"""Run → sums over its iterations: work by operator, columns by core, channel and link.

An iteration that shares another's trace counts again with it. Where layers were reused, the work of
operators inside layers is multiplied by (simulated + reused) / simulated layers; channel, link
and port columns hold what was simulated.
"""

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from npusim.cost.roofline import peak_gflop_s
from npusim.report.stalls import Stalls
from npusim.trace import COMPUTE, LOAD, NONE, SEND, STORE, VECTOR_UNIT, Iteration, OpRow, Run, Trace

if TYPE_CHECKING:
    from npusim.spec.load import Setup

LAYER_PREFIX = re.compile(r"^(?:layers?|l|block)?[._]?\d+[._/:]", re.IGNORECASE)


@dataclass
class OperatorUse:
    """Work of one operator, summed over its layers, over cores and over iterations. `*_ps` are core
    time, as stalls.py charges it; `span_ps` is first start to last end, summed over layers;
    `array_ps` and `vector_ps` are the time that these units are busy, summed over all of them."""

    operator: str
    kind: str
    phase: str
    num_tasks: int = 0
    flops: int = 0
    load_bytes: int = 0
    store_bytes: int = 0
    message_bytes: int = 0
    compute_ps: int = 0
    wait_memory_ps: int = 0
    wait_noc_ps: int = 0
    wait_dependency_ps: int = 0
    span_ps: int = 0
    array_ps: int = 0
    vector_ps: int = 0


WORK_COLUMNS = tuple(f.name for f in fields(OperatorUse))[3:]  # behind operator, kind, phase


def short_name(op: OpRow) -> str:
    """An operator's name without its layer: `layer3.gate_up` → `gate_up`."""
    return op.name if op.layer == NONE else LAYER_PREFIX.sub("", op.name)


def operators(run: Run, by_trace: dict[int, Stalls]) -> list[OperatorUse]:
    """Work by operator, in order of first appearance; `by_trace` from stalls_by_trace()."""
    known: dict[int, np.ndarray] = {}
    found: dict[tuple[str, str, str], OperatorUse] = {}
    for iteration in run.iterations:
        trace = iteration.trace
        if id(trace) not in known:
            known[id(trace)] = _work(trace, by_trace[id(trace)])
        work = _with_reused_layers(known[id(trace)], iteration)
        for op, values in zip(trace.program.ops, work.tolist(), strict=True):
            key = (short_name(op), op.kind, op.phase)
            use = found.setdefault(key, OperatorUse(*key))
            for name, value in zip(WORK_COLUMNS, values, strict=True):
                setattr(use, name, getattr(use, name) + value)
    return list(found.values())


def _work(trace: Trace, stalled: Stalls) -> np.ndarray:
    """int64 (ops, WORK_COLUMNS) of one trace."""
    program = trace.program
    kind, num_bytes, num_ops = program.kind, program.bytes, len(program.ops)
    computes = (kind == COMPUTE) & (trace.end_ps >= 0)
    arrays = computes & (program.unit != VECTOR_UNIT)
    length_ps = trace.end_ps - trace.start_ps

    def by_op(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        total = np.zeros(num_ops, np.int64)
        np.add.at(total, program.op[chosen], values[chosen])
        return total

    columns = [
        np.bincount(program.op, minlength=num_ops),
        by_op(program.flops, program.flops > 0),
        by_op(num_bytes, kind == LOAD),
        by_op(num_bytes, kind == STORE),
        by_op(num_bytes, kind == SEND),
        *stalled.ops_ps.T,
        _spans_ps(trace),
        by_op(length_ps, arrays),
        by_op(length_ps, computes & ~arrays),
    ]
    return np.stack(columns, axis=1)


def _spans_ps(trace: Trace) -> np.ndarray:
    """First start to last end of the tasks of each op."""
    op, ran = trace.program.op, trace.end_ps >= 0
    first = np.full(len(trace.program.ops), np.iinfo(np.int64).max)
    last = np.zeros(len(first), np.int64)
    np.minimum.at(first, op[ran], trace.start_ps[ran])
    np.maximum.at(last, op[ran], trace.end_ps[ran])
    return np.maximum(last - first, 0)


def _with_reused_layers(work: np.ndarray, iteration: Iteration) -> np.ndarray:
    if not iteration.reuse:
        return work
    simulated, reused = (iteration.reuse[k] for k in ("simulated_layers", "reused_layers"))
    in_layer = np.array([op.layer != NONE for op in iteration.trace.program.ops])
    scaled = work.copy()
    scaled[in_layer] = work[in_layer] * (simulated + reused) // max(simulated, 1)
    return scaled


def summed(run: Run, table: str, skip: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Columns of `channels`, `links` or `cores` added up over iterations; those in `skip` are
    descriptions and taken from the first iteration."""
    first = getattr(run.iterations[0].trace, table)
    total = {name: np.array(column) for name, column in first.items()}
    for iteration in run.iterations[1:]:
        for name, column in getattr(iteration.trace, table).items():
            if name not in skip:
                total[name] = total[name] + column
    return total


def peak_flops_s(setup: "Setup") -> float:
    """FLOP/s of all arrays of the chip at the rate of the weights' data type, two a MAC."""
    dtype = setup.scenario.dtype.weights
    cores = [(core.arrays, core.clock_mhz) for core in setup.hardware.cores()]
    return 1e9 * sum(
        peak_gflop_s(a.rows, a.columns, mhz, a.count, a.rate.get(dtype, 1.0)) for a, mhz in cores
    )


def peak_memory_gb_s(setup: "Setup") -> float:
    """Bandwidth of all memory instances of the chip."""
    return float(sum(i.memory.gb_s for i in setup.hardware.memory_instances()))
