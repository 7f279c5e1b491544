"""A GEMM and an array → the cycles of its shortest schedule that gives the right product.

The schedule of the folds is found by trying: the shortest period from fold to fold, and when the
operand that stays shifts in (or sums shift out), with which the array of `array.py` gives the
product that numpy gives.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from npusim.units import ceil_div
from npusim.validate.compute.array import run_output, run_stationary


@dataclass(frozen=True)
class Array:
    """`fold_overlap`: a second register in each element, so that folds follow closely; else a fold
    begins when the array is idle. `lanes`: multiply-adds of an element in a cycle, on neighbours of
    k. `pace`: cycles that an element takes for one; all registers wait."""

    rows: int
    columns: int
    dataflow: str = "ws"
    fold_overlap: bool = True
    lanes: int = 1
    pace: int = 1


@dataclass(frozen=True)
class Result:
    """`last_cycle` is the index of the last cycle in which an element works, the figure that
    SCALE-Sim prints; `period` the steps from fold to fold."""

    product: np.ndarray
    last_cycle: int
    period: int


def multiply(inputs: np.ndarray, weights: np.ndarray, array: Array) -> Result:
    """inputs (m, k) @ weights (k, n), as fast as the array can do it.

    Assumes that an edge fold passes through the array as a full one does, filled up with zeros.
    """
    product, last_step, period = DATAFLOWS[array.dataflow](inputs, weights, array)
    assert (product == inputs @ weights).all()
    return Result(product, (last_step + 1) * array.pace - 1, period)


def operands(m: int, k: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random inputs (m, k) and weights (k, n), none of them 0, so that none gets lost unseen."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 1000, (m, k)), rng.integers(1, 1000, (k, n))


Found = tuple[np.ndarray, int, int]  # product, last step, period


def _weight_stationary(inputs: np.ndarray, weights: np.ndarray, array: Array) -> Found:
    return _stationary(inputs, weights, array)


def _input_stationary(inputs: np.ndarray, weights: np.ndarray, array: Array) -> Found:
    """The transposed product: inputs stay, columns of the weights stream."""
    product, last, period = _stationary(weights.T, inputs.T, array)
    return product.T, last, period


def _stationary(streamed: np.ndarray, staying: np.ndarray, array: Array) -> Found:
    """streamed (s, k) @ staying (k, x), k along the rows and x along the columns."""
    length, width = len(streamed), staying.shape[1]
    vectors = _by_lanes(_blocks(streamed, length, array.rows * array.lanes), array)[0]
    tiles = _by_lanes(_blocks(staying.T, array.columns, array.rows * array.lanes), array)
    tiles = np.ascontiguousarray(tiles.transpose(1, 0, 3, 2, 4))  # (blocks, wide, R, C, lanes)
    blocks, wide = tiles.shape[:2]

    def attempt(num: int, lead: int, period: int, first_lead: int) -> tuple[np.ndarray | None, int]:
        """The first `num` folds; sums are None when they are wrong."""
        starts = first_lead + np.arange(num) * period
        used = tiles if num > 1 else tiles[:1, :1]
        sums, last = run_stationary(
            vectors[: len(used)],
            used.reshape(-1, *used.shape[2:]),
            np.maximum(starts - lead, 0),
            starts,
            array.fold_overlap,
            int(starts[-1]) + length + array.rows + array.columns,
        )
        expected = np.einsum("bsrl,bwrcl->swc", vectors[: len(used)], used)
        return (sums if (sums == expected.reshape(length, -1)).all() else None), int(last)

    first_lead = next(n for n in itertools.count() if attempt(1, n, 0, n)[0] is not None)
    alone = attempt(1, first_lead, 0, first_lead)[1] + 1
    leads = range(first_lead, 3 * array.rows + 2)
    for period in range(length, alone) if array.fold_overlap else ():
        for lead in leads:
            sums, last = attempt(blocks * wide, lead, period, first_lead)
            if sums is not None:
                return sums[:, :width], last, period
    sums, last = attempt(blocks * wide, first_lead, alone, first_lead)
    assert sums is not None
    return sums[:, :width], last, alone


def _output_stationary(inputs: np.ndarray, weights: np.ndarray, array: Array) -> Found:
    """m along the rows, n along the columns; sums stay. With fold overlap the array must be free to
    go on with another GEMM's fold at the same period. Assumes, as SCALE-Sim does, that the last
    sums (without fold overlap every fold's) leave outside of the GEMM's time."""
    (m, k), n = inputs.shape, weights.shape[1]
    depth = ceil_div(k, array.lanes) * array.lanes
    lefts = _pairs(inputs, array.rows, depth, array.lanes)
    tops = _pairs(weights.T, array.columns, depth, array.lanes)
    folds, length = len(lefts) * len(tops), depth // array.lanes
    shape = len(lefts) * array.rows, len(tops) * array.columns

    def attempt(num: int, period: int, delay: int) -> tuple[np.ndarray | None, int]:
        """The first `num` folds, whose sums begin to shift out `delay` after the next one starts;
        the product is None when it is wrong."""
        starts = np.arange(num + array.fold_overlap) * period
        drains = np.arange(1, num + 1) * period + delay
        end = int(starts[-1]) + length + 4 * array.rows + array.columns + delay
        few = slice(None if num > 1 else 1)
        sums, last = run_output(lefts[few], tops[few], starts, drains, array.fold_overlap, end)
        expected = np.einsum("aprl,bpcl->abrc", lefts[few], tops[few]).reshape(sums.shape)
        return (sums if (sums == expected).all() else None), int(last)

    alone = length + array.rows + array.columns  # longer than a fold
    alone = attempt(1, alone, array.rows)[1] + 1
    for period in range(length, alone + 1) if array.fold_overlap else ():
        for delay in range(3 * array.rows):
            sums, last = attempt(folds, period, delay)
            if sums is not None:
                return _put_together(sums, shape)[:m, :n], last, period
    sums, last = attempt(folds, alone, array.rows)
    assert sums is not None
    return _put_together(sums, shape)[:m, :n], last, alone


def _blocks(matrix: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(high, wide, rows, columns) blocks of a matrix, filled up with zeros."""
    high, wide = ceil_div(matrix.shape[0], rows), ceil_div(matrix.shape[1], columns)
    whole = np.zeros((high * rows, wide * columns), np.int64)
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    return whole.reshape(high, rows, wide, columns).transpose(0, 2, 1, 3)


def _by_lanes(blocks: np.ndarray, array: Array) -> np.ndarray:
    """The last axis of blocks, k, as (rows of the array, lanes)."""
    return np.ascontiguousarray(blocks).reshape(*blocks.shape[:3], array.rows, array.lanes)


def _pairs(matrix: np.ndarray, side: int, depth: int, lanes: int) -> np.ndarray:
    """(blocks, pairs, side, lanes) of a matrix (x, k): what enters at one side of the array."""
    blocks = _blocks(matrix, side, depth)[:, 0]
    return np.ascontiguousarray(blocks.reshape(len(blocks), side, -1, lanes).transpose(0, 2, 1, 3))


def _put_together(sums: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Folds (n, R, C) → the matrix (rows, columns) whose blocks they are."""
    _, rows, columns = sums.shape
    high, wide = shape[0] // rows, shape[1] // columns
    return sums.reshape(high, wide, rows, columns).transpose(0, 2, 1, 3).reshape(shape)


DATAFLOWS: dict[str, Callable[[np.ndarray, np.ndarray, Array], Found]] = {
    "ws": _weight_stationary,
    "os": _output_stationary,
    "is": _input_stationary,
}
