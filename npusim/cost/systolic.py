"""A GEMM and an R x C systolic array → cycles and scratchpad traffic, by dataflow.

A GEMM [m, k] @ [k, n] is cut into folds that each fill the array once with the operand that stays:

| dataflow | stays         | rows x columns | streams  | folds                 |
|----------|---------------|----------------|----------|-----------------------|
| ws       | weights       | k x n          | m inputs | ceil(k/R) * ceil(n/C) |
| is       | inputs        | k x m          | n weights| ceil(k/R) * ceil(m/C) |
| os       | output sums   | m x n          | k pairs  | ceil(m/R) * ceil(n/C) |

**Folds one after another** (`fold_overlap` false). ws, is: R cycles to shift the operand in, then
S streamed vectors, the last of which leaves after crossing R + C - 2 more elements: S + 2R + C - 2
a fold. os: nothing to shift in, S + R + C - 2. These are SCALE-Sim's forms (arXiv 1811.02883);
its version 3.0.0 prints the index of the last cycle, one less than their sum, and so do we.

**With fold overlap** each element has a second register for the operand that stays. The next
operand shifts in (os: the last sums shift out) while the current fold streams. The register of row
r is free once the wave front of the current fold has passed it, r cycles after the fold began; the
shift-in follows that wave front, takes R cycles, and is ready for row 0 exactly R cycles after the
fold began. The next fold begins as soon as the stream has ended and its operand is there,
max(S, R) cycles after the current one. (os: a row's shift-out ends with the sum that comes from
the top row, so its register is free again for the next wave front after R cycles.) Fill and drain
are paid once:

    (folds - 1) * max(S, R) + (cycles of one fold)

Assumes that operands arrive from the scratchpad at the rate of the stream (its port is the
machine's to model), that an edge fold takes as long as a full one, and, as SCALE-Sim does, that os
drains its last sums outside the array's time.
"""

from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from npusim.units import ceil_div


class Folds(NamedTuple):
    """How a dataflow cuts a GEMM: number of folds, vectors streamed a fold, cycles to fill and
    drain a fold."""

    folds: int
    stream: int
    fill: int


def weight_stationary(m: int, k: int, n: int, rows: int, columns: int) -> Folds:
    return Folds(ceil_div(k, rows) * ceil_div(n, columns), m, 2 * rows + columns - 2)


def input_stationary(m: int, k: int, n: int, rows: int, columns: int) -> Folds:
    return Folds(ceil_div(k, rows) * ceil_div(m, columns), n, 2 * rows + columns - 2)


def output_stationary(m: int, k: int, n: int, rows: int, columns: int) -> Folds:
    return Folds(ceil_div(m, rows) * ceil_div(n, columns), k, rows + columns - 2)


@lru_cache(maxsize=1 << 16)
def gemm_cycles(
    m: int,
    k: int,
    n: int,
    rows: int,
    columns: int,
    dataflow: str = "ws",
    fold_overlap: bool = True,
    rate: float = 1.0,
    followed: bool = False,
) -> int:
    """Cycles of [m, k] @ [k, n] on one array of `rows` x `columns`; 0 when a size is 0.

    `followed`: with fold overlap, cycles until the array takes the next GEMM's first fold, without
    the fill and drain that this one then shares with it.

    `rate`: multiply-adds an element does in a cycle. Above 1 it works on `rate` neighbours of k at
    a time; below 1 every step of the array takes 1 / rate cycles.
    """
    if not m * k * n:
        return 0
    if rate > 1:
        k = ceil(k / rate)
    folds, stream, fill = DATAFLOWS[dataflow](m, k, n, rows, columns)
    period = max(stream, rows) if fold_overlap else stream + fill
    steps = (folds - 1) * period + stream + fill
    if followed and fold_overlap:
        return ceil(folds * period / min(rate, 1))
    cycles = ceil(steps / min(rate, 1)) - 1
    return max(cycles, folds * stream)  # an array of one element has no index to lose


class SramAccesses(NamedTuple):
    """Elements that a GEMM moves between array and scratchpad."""

    inputs: int
    weights: int
    sums_read: int
    sums_written: int
    outputs: int


@lru_cache(maxsize=1 << 16)
def gemm_sram_accesses(
    m: int, k: int, n: int, rows: int, columns: int, dataflow: str = "ws"
) -> SramAccesses:
    """Elements read and written: the operand that stays once, the streamed one again for every
    fold that needs it; partial sums of all but the last fold along k are written and read back.
    """
    if dataflow == "os":
        inputs, weights = m * k * ceil_div(n, columns), k * n * ceil_div(m, rows)
        return SramAccesses(inputs, weights, 0, 0, m * n)
    partial = (ceil_div(k, rows) - 1) * m * n if k else 0
    if dataflow == "ws":
        return SramAccesses(m * k * ceil_div(n, columns), k * n, partial, partial, m * n)
    return SramAccesses(m * k, k * n * ceil_div(m, columns), partial, partial, m * n)


def gemm_sram_bytes(
    m: int,
    k: int,
    n: int,
    rows: int,
    columns: int,
    dataflow: str = "ws",
    in_bytes: float = 2,
    w_bytes: float = 2,
    out_bytes: float = 2,
    sum_bytes: float = 0,
) -> int:
    """Bytes of `gemm_sram_accesses`, rounded up; element sizes may be fractions (0.5 for int4).

    Assumes that the array's columns end in accumulators of their own (as in the TPU, arXiv
    1704.04760), so that partial sums do not pass the scratchpad; without them pass `sum_bytes` 4.
    """
    inputs, weights, read, written, outputs = gemm_sram_accesses(m, k, n, rows, columns, dataflow)
    sums = (read + written) * sum_bytes
    return int(-(-(inputs * in_bytes + weights * w_bytes + sums + outputs * out_bytes) // 1))


DATAFLOWS: dict[str, Callable[[int, int, int, int, int], Folds]] = {
    "ws": weight_stationary,
    "os": output_stationary,
    "is": input_stationary,
}
