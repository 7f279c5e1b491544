import pytest

from npusim.cost.vector import elementwise_cycles, sfu_cycles, vector_cycles


@pytest.mark.parametrize("ops, cycles", [(0, 0), (1, 1), (127, 1), (128, 1), (129, 2)])
def test_last_vector_cycle_may_be_partly_filled(ops, cycles):
    assert vector_cycles(ops, lanes=32, alus=4) == cycles
    assert sfu_cycles(ops, lanes=128) == cycles


def test_the_slower_unit_sets_the_time():
    assert elementwise_cycles(1000, 10, lanes=10, alus=1, sfu_lanes=1) == 100
    assert elementwise_cycles(1000, 101, lanes=10, alus=1, sfu_lanes=1) == 101
