import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.cost.systolic import (
    DATAFLOWS,
    gemm_cycles,
    gemm_sram_accesses,
    gemm_sram_bytes,
)

SIZES = st.integers(1, 300)
SIDES = st.integers(1, 40)


@given(SIZES, SIZES, SIZES, SIDES, SIDES)
def test_without_overlap_is_scalesims_closed_form(m, k, n, rows, columns):
    def folds(high, wide):
        return -(-high // rows) * -(-wide // columns)

    forms = {
        "ws": folds(k, n) * (m + 2 * rows + columns - 2) - 1,
        "is": folds(k, m) * (n + 2 * rows + columns - 2) - 1,
        "os": folds(m, n) * (k + rows + columns - 2) - 1,
    }
    if rows == columns == 1:  # one element works folds x k cycles, none of them to fill or drain
        forms["os"] += 1
    for dataflow, cycles in forms.items():
        assert gemm_cycles(m, k, n, rows, columns, dataflow, False) == cycles


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
    steps = gemm_cycles(64, 256, 64, 32, 32) + 1  # the figure is the index of the last cycle
    assert gemm_cycles(64, 256, 64, 32, 32, rate=0.5) == 2 * steps - 1
    assert gemm_cycles(64, 256, 64, 32, 32, rate=1 / 3) == 3 * steps - 1
    period = gemm_cycles(64, 256, 64, 32, 32, followed=True)
    assert gemm_cycles(64, 256, 64, 32, 32, rate=0.5, followed=True) == 2 * period


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
