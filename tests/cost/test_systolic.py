import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from systolic_oracle import run_output_stationary, run_stationary

from npusim.cost.systolic import (
    DATAFLOWS,
    gemm_cycles,
    gemm_sram_accesses,
    gemm_sram_bytes,
)

SIZES = st.integers(1, 300)
SIDES = st.integers(1, 40)
SHAPES = [(1, 7, 5), (2, 6, 8), (3, 9, 4), (4, 5, 9), (5, 7, 6), (9, 3, 2), (7, 7, 7)]
ARRAYS = [(3, 4), (4, 3), (2, 2), (5, 1), (1, 3)]


def scalesim_rows():
    lines = Path(__file__).with_name("scalesim_gemm.csv").read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@pytest.mark.parametrize(
    "row", scalesim_rows(), ids=lambda r: f"{r['M']}-{r['array']}{r['dataflow']}"
)
def test_equals_scalesim_without_overlap(row):
    m, k, n, side = (int(row[key]) for key in ("M", "K", "N", "array"))
    assert gemm_cycles(m, k, n, side, side, row["dataflow"], False) == int(row["total_cycles"])


def padded(size, to):
    """An edge fold takes as long as a full one, so the oracle gets full ones."""
    return -(-size // to) * to


def operands(m, k, n):
    rng = np.random.default_rng(m * 100 + k * 10 + n)
    return rng.integers(1, 50, (m, k)), rng.integers(1, 50, (k, n))


def shortest_stationary(inputs, weights, rows, columns):
    """(period, last cycle) of the densest schedule of folds with a right product."""
    folds = -(-weights.shape[0] // rows) * -(-weights.shape[1] // columns)
    for period in itertools.count(1):
        starts = [rows + fold * period for fold in range(folds)]
        for lead in range(3 * rows + 2):
            loads = [max(0, start - lead) for start in starts]
            product, last = run_stationary(inputs, weights, rows, columns, loads, starts)
            if (product == inputs @ weights).all():
                return period, last


def shortest_output_stationary(inputs, weights, rows, columns):
    folds = -(-inputs.shape[0] // rows) * -(-weights.shape[1] // columns)
    for period in itertools.count(1):
        starts = [fold * period for fold in range(folds)]
        if period < inputs.shape[1] and folds > 1:
            continue  # two pairs would meet in one element
        for drain_after in range(3 * rows):
            product, last = run_output_stationary(
                inputs, weights, rows, columns, starts, drain_after
            )
            if product is not None and (product == inputs @ weights).all():
                return period, last


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows, columns", ARRAYS)
def test_ws_overlap_equals_register_simulation(shape, rows, columns):
    m, k, n = shape
    inputs, weights = operands(m, padded(k, rows), padded(n, columns))
    period, last = shortest_stationary(inputs, weights, rows, columns)
    folds = -(-shape[1] // rows) * -(-shape[2] // columns)
    assert gemm_cycles(*shape, rows, columns, "ws", True) == last
    if folds > 1:
        assert period == max(shape[0], rows)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows, columns", ARRAYS[:3])
def test_is_overlap_equals_register_simulation(shape, rows, columns):
    m, k, n = shape
    inputs, weights = operands(padded(m, columns), padded(k, rows), n)
    _, last = shortest_stationary(weights.T, inputs.T, rows, columns)
    assert gemm_cycles(*shape, rows, columns, "is", True) == last


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows, columns", ARRAYS)
def test_os_overlap_equals_register_simulation(shape, rows, columns):
    m, k, n = shape
    inputs, weights = operands(padded(m, rows), k, padded(n, columns))
    period, last = shortest_output_stationary(inputs, weights, rows, columns)
    folds = -(-shape[0] // rows) * -(-shape[2] // columns)
    assert gemm_cycles(*shape, rows, columns, "os", True) == last
    if folds > 1:
        assert period == max(shape[1], rows)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("m, k, n", SHAPES)
def test_without_overlap_is_register_simulation_fold_by_fold(dataflow, m, k, n):
    rows, columns = 3, 4
    high, wide, stream = {"ws": (k, n, m), "is": (k, m, n), "os": (m, n, k)}[dataflow]
    folds = -(-high // rows) * -(-wide // columns)
    if dataflow == "os":
        inputs, weights = operands(rows, stream, columns)
        _, last = run_output_stationary(inputs, weights, rows, columns, [0], rows)
    else:
        inputs, weights = operands(stream, rows, columns)
        _, last = run_stationary(inputs, weights, rows, columns, [0], [rows])
    assert gemm_cycles(m, k, n, rows, columns, dataflow, False) == folds * (last + 1) - 1


@pytest.mark.parametrize("m, period", [(7, 8), (8, 8), (9, 9)])
def test_ws_fold_takes_the_longer_of_stream_and_load(m, period):
    one, two, three = (gemm_cycles(m, 8 * folds, 8, 8, 8, "ws", True) for folds in (1, 2, 3))
    assert two - one == three - two == period


@given(SIZES, SIZES, SIZES, SIDES, SIDES, st.sampled_from(sorted(DATAFLOWS)))
def test_bounds(m, k, n, rows, columns, dataflow):
    alone = gemm_cycles(m, k, n, rows, columns, dataflow, False)
    overlapped = gemm_cycles(m, k, n, rows, columns, dataflow, True)
    assert -(-m * k * n // (rows * columns)) <= overlapped <= alone
    assert overlapped <= gemm_cycles(m + 1, k, n, rows, columns, dataflow, True)


def test_rate_packs_k_or_slows_down():
    assert gemm_cycles(64, 256, 64, 32, 32, rate=2) == gemm_cycles(64, 128, 64, 32, 32)
    assert gemm_cycles(64, 256, 64, 32, 32, rate=0.5) == 2 * gemm_cycles(64, 256, 64, 32, 32)


def test_nothing_takes_no_time():
    assert gemm_cycles(0, 8, 8, 4, 4) == 0


def counted_accesses(m, k, n, rows, columns, dataflow):
    """Walks the folds and counts what each one touches."""
    blocks = {
        "ws": ((k, rows), (n, columns)),
        "is": ((k, rows), (m, columns)),
        "os": ((m, rows), (n, columns)),
    }
    (high, r), (wide, c) = blocks[dataflow]
    counts = dict.fromkeys(("inputs", "weights", "sums_read", "sums_written", "outputs"), 0)
    stays, streams = {"ws": ("weights", "inputs"), "is": ("inputs", "weights")}.get(
        dataflow, (None, None)
    )
    for top, left in itertools.product(range(0, high, r), range(0, wide, c)):
        tall, broad = min(r, high - top), min(c, wide - left)
        if dataflow == "os":
            counts["inputs"] += tall * k
            counts["weights"] += broad * k
            counts["outputs"] += tall * broad
            continue
        length = m if dataflow == "ws" else n
        counts[stays] += tall * broad
        counts[streams] += tall * length
        counts["sums_read"] += broad * length if top else 0
        counts["outputs" if top + r >= high else "sums_written"] += broad * length
    return tuple(counts.values())


@given(SIZES, SIZES, SIZES, SIDES, SIDES, st.sampled_from(sorted(DATAFLOWS)))
def test_accesses_equal_a_walk_over_the_folds(m, k, n, rows, columns, dataflow):
    expected = counted_accesses(m, k, n, rows, columns, dataflow)
    assert tuple(gemm_sram_accesses(m, k, n, rows, columns, dataflow)) == expected


def test_sram_bytes_weigh_each_operand():
    # 3 folds along k, 2 along n: inputs twice, weights and outputs once, 2 rounds of sums
    inputs, weights, outputs = 5 * 12 * 2, 12 * 8, 5 * 8
    size = gemm_sram_bytes(5, 12, 8, 4, 4, "ws", in_bytes=2, w_bytes=0.5, out_bytes=1)
    assert size == inputs * 2 + weights // 2 + outputs
    sums = gemm_sram_bytes(5, 12, 8, 4, 4, "ws", 2, 0.5, 1, sum_bytes=4) - size
    assert sums == 2 * (outputs + outputs) * 4
