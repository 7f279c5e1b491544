"""Keys of blocks against the tokens they stand for; owners, idleness and eviction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.serving.kv.prefix import PrefixCache, block_keys, shareable_blocks
from npusim.serving.request import Request


def request_of(prefix, id_tokens, prompt_tokens=None):
    prompt_tokens = len(prefix) * id_tokens if prompt_tokens is None else prompt_tokens
    return Request(0, 0, prompt_tokens, 1, tuple(prefix), id_tokens)


@pytest.mark.parametrize(
    ("num_ids", "id_tokens", "prompt_tokens", "block_tokens", "blocks"),
    [
        (2, 8, 16, 4, 4),  # ids larger than blocks
        (2, 8, 100, 16, 1),  # blocks larger than ids
        (3, 8, 100, 16, 1),  # the second block is half covered
        (2, 24, 100, 16, 3),  # neither divides the other
        (2, 8, 15, 4, 3),  # the last id covers a part of the prompt's last block
        (2, 8, 16, 17, 0),
        (0, 0, 100, 16, 0),
    ],
)
def test_only_blocks_wholly_covered_are_shareable(
    num_ids, id_tokens, prompt_tokens, block_tokens, blocks
):
    request = request_of(range(num_ids), id_tokens, prompt_tokens)
    assert shareable_blocks(request, block_tokens) == blocks
    assert len(set(block_keys(request, block_tokens))) == blocks


ids = st.lists(st.integers(0, 1), max_size=6)


@given(ids, ids, st.integers(1, 9), st.integers(1, 9))
def test_keys_are_equal_where_all_ids_up_to_the_block_are(one, other, id_tokens, block_tokens):
    """The oracle writes the tokens out: (id, offset in it), and ids are only equal as wholes."""
    keys = [block_keys(request_of(ids, id_tokens), block_tokens) for ids in (one, other)]
    for index, (key, other_key) in enumerate(zip(*keys, strict=False)):
        last = ((index + 1) * block_tokens - 1) // id_tokens
        assert (key == other_key) == (one[: last + 1] == other[: last + 1])


def test_ids_of_other_sizes_are_other_contents():
    assert set(block_keys(request_of([1, 2], 4), 4)).isdisjoint(
        block_keys(request_of([1, 2], 8), 4)
    )


def test_the_longest_known_start_is_found():
    cache = PrefixCache()
    for key, block in ((10, 0), (11, 1), (13, 3)):
        cache.publish(key, block)
    assert cache.find([10, 11, 12, 13]) == [0, 1]
    assert cache.find([12]) == []
    assert cache.find([13]) == [3]


def test_a_block_is_idle_when_its_last_owner_went_and_not_before():
    cache = PrefixCache()
    cache.publish(10, 0)
    cache.take([0])
    assert cache.drop([0]) == [] and cache.num_idle == 0
    assert cache.drop([0]) == [] and cache.num_idle == 1
    cache.take([0])
    assert cache.num_idle == 0


def test_the_longest_idle_goes_first_and_of_a_request_its_last_block():
    cache = PrefixCache()
    for block in range(4):
        cache.publish(100 + block, block)
    cache.drop([2, 3])
    cache.drop([0, 1])
    cache.take([2])
    cache.drop([2])  # idle anew: now the latest
    assert cache.evict(2) == [3, 1]
    assert cache.evict(2) == [0, 2]
    assert cache.find([100]) == []


def test_equal_contents_are_known_once_and_the_second_block_stays_private():
    cache = PrefixCache()
    cache.publish(10, 0)
    cache.publish(10, 1)
    assert cache.drop([1]) == [1]
    assert cache.find([10]) == [0]


def test_the_check_sees_a_wrong_count():
    cache = PrefixCache()
    cache.publish(10, 0)
    cache.check({0: 1})
    with pytest.raises(AssertionError, match="block 0 has 2 owners, counted 1"):
        cache.check({0: 2})
    with pytest.raises(AssertionError, match="block 1 has 2 owners, counted 1"):
        cache.check({0: 1, 1: 2})
