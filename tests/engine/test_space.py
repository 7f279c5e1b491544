"""The fast engine's array: blocks are taken, given back, taken again; what they hold survives."""

import random
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from npusim.engine import space
from npusim.engine.space import LINE_WORDS, Space


def small(num_words: int) -> Space:
    with mock.patch.object(space, "SPARE_WORDS", 0):
        return Space(num_words)


@given(st.randoms(use_true_random=False))
def test_blocks_keep_what_is_written_to_them(rng: random.Random):
    """Each block is filled with its own number; a block that overlapped would show another's."""
    room, held = small(10), {}
    room.words[:10] = -1
    for number in range(rng.randrange(60)):
        if held and rng.random() < 0.4:
            room.give_back(held.pop(rng.choice(sorted(held))))
        else:
            held[number] = room.take(rng.randrange(40), rng.choice([1, 3, 8]))
            held[number].view(room.words)[:] = number
        for owner, block in held.items():
            assert block.first % LINE_WORDS == 0 and (block.view(room.words) == owner).all()
    assert (room.words[:10] == -1).all() and room.words.ctypes.data % 64 == 0


@given(st.lists(st.integers(0, 100), min_size=1), st.randoms(use_true_random=False))
def test_gaps_become_one_again(sizes, rng):
    room = small(0)
    blocks = [room.take(size) for size in sizes]
    total = len(room.words)
    rng.shuffle(blocks)
    for block in blocks:
        room.give_back(block)
    assert room.take(total).first == 0 and len(room.words) == total


def test_a_block_that_fits_in_a_gap_takes_it():
    room = small(8)
    first, second = room.take(16), room.take(8)
    room.give_back(first)
    assert [room.take(2, 4).first, room.take(8).first] == [first.first, first.first + 8]
    assert second.first == 24


def test_rows_have_offsets():
    room = small(0)
    room.take(3)
    block = room.take(3, 5)
    assert block.offsets().tolist() == [8, 13, 18]
    assert np.shares_memory(block.view(room.words), room.words)
