"""Free ids: scratchpad first, the latest given back first, none twice."""

import pytest

from npusim.serving.kv.blocks import BlockPool


def test_scratchpad_blocks_are_taken_first():
    pool = BlockPool(num_blocks=5, sram_blocks=2)
    assert pool.take(1) == ([0], 1)
    assert pool.take(3) == ([1, 2, 3], 1)
    assert pool.num_free == 1
    pool.give([1])
    assert pool.take(2) == ([1, 4], 1)
    assert pool.num_free == 0


def test_the_block_given_back_last_is_taken_first():
    pool = BlockPool(num_blocks=8, sram_blocks=0)
    pool.take(4)
    pool.give([2, 0])
    pool.give([3])
    assert pool.take(4) == ([3, 0, 2, 4], 0)


def test_a_freed_scratchpad_block_goes_before_a_freed_memory_block():
    pool = BlockPool(num_blocks=4, sram_blocks=2)
    pool.take(4)
    pool.give([0, 3])
    assert pool.take(2) == ([0, 3], 1)


def test_taking_all_blocks_works_and_one_more_does_not():
    pool = BlockPool(num_blocks=3, sram_blocks=3)
    assert pool.take(3) == ([0, 1, 2], 3)
    with pytest.raises(AssertionError, match="1 blocks of 0 free ones"):
        pool.take(1)


def test_a_huge_pool_costs_nothing():
    pool = BlockPool(num_blocks=1 << 40, sram_blocks=1)
    assert pool.take(2) == ([0, 1], 1)
    assert pool.num_free == (1 << 40) - 2


def test_blocks_of_the_scratchpads_are_counted():
    assert BlockPool(num_blocks=9, sram_blocks=4).num_sram([0, 3, 4, 8]) == 2
    assert BlockPool(num_blocks=9, sram_blocks=0).num_sram([0, 3, 4, 8]) == 0


def test_more_scratchpad_blocks_than_blocks_are_refused():
    with pytest.raises(ValueError, match="sram_blocks 5 is not in 0 … num_blocks 4"):
        BlockPool(num_blocks=4, sram_blocks=5)


def test_the_check_sees_a_leak_a_double_and_a_free_block_in_use():
    pool = BlockPool(num_blocks=4, sram_blocks=1)
    pool.take(3)
    pool.check({0, 1, 2})
    with pytest.raises(AssertionError, match="1 blocks are neither free nor taken"):
        pool.check({0, 1})
    pool.give([2])
    with pytest.raises(AssertionError, match=r"free and taken: \[2\]"):
        pool.check({0, 1, 2})
    pool.give([2])
    with pytest.raises(AssertionError, match="a block is free twice"):
        pool.check({0, 1})
