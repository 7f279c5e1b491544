"""The register-level array: right products, wrong ones when the timing is wrong, known periods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npusim.cost.systolic import gemm_cycles
from npusim.validate.compute.array import run_output, run_stationary
from npusim.validate.compute.oracle import DATAFLOWS, Array, multiply, operands

SMALL = st.integers(1, 12)
SIDE = st.integers(1, 6)


@settings(deadline=None, max_examples=60)
@given(SMALL, SMALL, SMALL, SIDE, SIDE, st.sampled_from(sorted(DATAFLOWS)), st.booleans())
def test_the_product_is_numpys_and_the_cost_kernel_has_its_cycles(
    m, k, n, rows, columns, dataflow, overlap
):
    if (rows, columns, dataflow) == (1, 1, "os"):
        return  # the kernel counts cycles there, not an index
    inputs, weights = operands(m, k, n, seed=m + 13 * k + 169 * n)
    found = multiply(inputs, weights, Array(rows, columns, dataflow, overlap))
    np.testing.assert_array_equal(found.product, inputs @ weights)
    assert gemm_cycles(m, k, n, rows, columns, dataflow, overlap) == found.last_cycle


@settings(deadline=None, max_examples=30)
@given(SMALL, SMALL, SMALL, SIDE, st.sampled_from(sorted(DATAFLOWS)), st.sampled_from([2, 3, 5]))
def test_lanes_and_pace_are_rates(m, k, n, columns, dataflow, factor):
    given_operands = operands(m, k, n, seed=m + 13 * k + 169 * n)
    for lanes, pace in ((factor, 1), (1, factor)):
        found = multiply(*given_operands, Array(3, columns, dataflow, True, lanes, pace))
        cycles = gemm_cycles(m, k, n, 3, columns, dataflow, True, lanes / pace)
        assert cycles == found.last_cycle


def one_fold(start, load):
    vectors = np.arange(1, 13).reshape(1, 4, 3, 1)
    operand = np.arange(1, 7).reshape(1, 3, 2, 1)
    sums, last = run_stationary(
        vectors, operand, np.array([load]), np.array([start]), False, start + 20
    )
    return (sums == vectors[0, :, :, 0] @ operand[0, :, :, 0]).all(), last


def test_an_operand_needs_as_many_cycles_as_there_are_rows():
    assert one_fold(start=3, load=0) == (True, 3 + (4 - 1) + (3 - 1) + (2 - 1))
    assert not one_fold(start=2, load=0)[0]


@pytest.mark.parametrize(("period", "right"), [(3, False), (4, True)])
def test_folds_closer_than_their_stream_give_a_wrong_product(period, right):
    lefts = np.arange(1, 25).reshape(2, 4, 3, 1)
    tops = np.arange(1, 9).reshape(1, 4, 2, 1)
    starts = np.arange(3) * period
    sums, _ = run_output(lefts, tops, starts, starts[1:] + 3, True, 40)
    expected = np.einsum("aprl,bpcl->abrc", lefts, tops).reshape(sums.shape)
    assert (sums == expected).all() == right


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("streamed", [2, 5, 9])
def test_the_shortest_period_is_the_longer_of_stream_and_rows(dataflow, streamed):
    sizes = {"ws": (streamed, 15, 8), "is": (8, 15, streamed), "os": (15, streamed, 8)}
    found = multiply(*operands(*sizes[dataflow], seed=3), Array(5, 4, dataflow))
    assert found.period == max(streamed, 5)


def test_edge_folds_take_as_long_as_full_ones():
    full, edge = (multiply(*operands(4, k, 5, seed=1), Array(4, 4)) for k in (8, 5))
    assert full.last_cycle == edge.last_cycle
