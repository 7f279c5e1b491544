"""Paged KV by hand: room, watermark, shared prefixes, eviction, swapping, tiers."""

import pytest

from npusim.serving.kv.cache import KV_CACHES, KvSize
from npusim.serving.request import Request
from npusim.spec.serving import Kv


def cache_of(num_blocks, sram_blocks=0, block_tokens=4, swap_blocks=0, **kv):
    size = KvSize(num_blocks, sram_blocks, block_tokens, swap_blocks=swap_blocks)
    kv = {"watermark_fraction": 0.0, "prefix_cache": True} | kv
    return KV_CACHES["paged"](size, Kv(**kv))


def request_of(request_id, prompt_tokens, prefix=(), id_tokens=4, output_tokens=8):
    return Request(request_id, 0, prompt_tokens, output_tokens, tuple(prefix), id_tokens)


def serve(cache, request):
    """Its whole prompt is computed and can be found."""
    assert cache.admit(request, request.known_tokens)
    request.computed_tokens = request.known_tokens
    cache.commit(request)
    cache.check()
    return request


def state(cache):
    cache.check()
    return cache.held_blocks, cache.cached_blocks, cache.free_blocks


def test_room_is_given_block_by_block():
    cache, request = cache_of(3), request_of(1, 5)
    assert cache.admit(request, 5) and state(cache) == (2, 0, 1)
    assert cache.grow(request, 8) and state(cache) == (2, 0, 1)
    assert cache.grow(request, 9) and state(cache) == (3, 0, 0)
    assert cache.grow(request, 12) and state(cache) == (3, 0, 0)
    assert not cache.grow(request, 13) and state(cache) == (3, 0, 0)
    cache.release(request)
    assert state(cache) == (0, 0, 3)


def test_a_request_that_fills_the_cache_fits_and_one_token_more_never_does():
    cache = cache_of(3, watermark_fraction=1.0)
    assert cache.fits_ever(12) and not cache.fits_ever(13)
    assert not cache.admit(request_of(1, 13), 13) and state(cache) == (0, 0, 3)
    assert cache.admit(request_of(2, 12), 12)


def test_the_watermark_holds_for_admission_beside_others_and_not_for_growth():
    cache = cache_of(10, watermark_fraction=0.2)
    first = request_of(1, 4)
    assert cache.admit(first, 4)
    assert not cache.admit(request_of(2, 32), 32)  # 8 of 9 free blocks leave 1 < 2
    assert cache.admit(request_of(3, 28), 28)
    assert cache.grow(first, 12) and state(cache) == (10, 0, 0)


def test_a_refused_request_is_as_it_was():
    cache = cache_of(4)
    cache.release(serve(cache, request_of(1, 8, [1, 2])))
    other = serve(cache, request_of(2, 8, [3, 4]))
    refused = request_of(3, 20, [1, 2])
    assert cache.lookup(refused) == 8
    assert not cache.admit(refused, 20)
    assert (refused.computed_tokens, refused.cached_tokens) == (0, 0)
    assert not cache.holds(refused) and cache.holds(other)
    assert state(cache) == (2, 2, 2) and cache.lookup(refused) == 8


def test_a_prefix_is_shared_with_one_that_runs():
    cache = cache_of(10)
    first = serve(cache, request_of(1, 12, [1, 2, 3]))
    second = request_of(2, 12, [1, 2, 9])
    assert cache.lookup(second) == 8 and second.computed_tokens == 0
    assert cache.admit(second, 12)
    assert second.computed_tokens == second.cached_tokens == 8
    assert state(cache) == (4, 0, 6)
    cache.release(first)
    assert state(cache) == (3, 1, 7)  # blocks of 1 and 2 have an owner still
    cache.release(second)
    assert state(cache) == (0, 3, 10)  # 9 was never committed


def test_at_least_one_token_is_computed():
    cache = cache_of(10)
    cache.release(serve(cache, request_of(1, 8, [1, 2])))
    assert cache.lookup(request_of(2, 8, [1, 2])) == 4
    assert cache.lookup(request_of(3, 9, [1, 2])) == 8


def test_only_computed_blocks_are_found():
    cache = cache_of(10)
    first = request_of(1, 12, [1, 2, 3])
    assert cache.admit(first, 12)
    for computed_tokens, found in ((0, 0), (3, 0), (4, 4), (7, 4), (8, 8)):
        first.computed_tokens = computed_tokens
        cache.commit(first)
        assert cache.lookup(request_of(2, 12, [1, 2, 3])) == found


def test_without_prefix_cache_nothing_is_found_or_kept():
    cache = cache_of(10, prefix_cache=False)
    cache.release(serve(cache, request_of(1, 12, [1, 2, 3])))
    assert cache.lookup(request_of(2, 12, [1, 2, 3])) == 0
    assert state(cache) == (0, 0, 10)


def test_generated_tokens_are_not_found_by_others():
    cache = cache_of(10)
    first = request_of(1, 6, [1, 2])
    first.generated_tokens = 8
    cache.release(serve(cache, first))
    assert state(cache) == (0, 1, 10)


@pytest.mark.parametrize(
    ("block_tokens", "id_tokens", "found"),
    [
        (4, 8, 16),  # ids 1, 2 in 4 blocks
        (16, 8, 16),  # in one block
        (12, 8, 12),  # in one, the second is half of id 3
        (8, 12, 24),
        (16, 12, 16),
    ],
)
def test_blocks_and_ids_of_other_sizes(block_tokens, id_tokens, found):
    cache = cache_of(100, block_tokens=block_tokens)
    serve(cache, request_of(1, 3 * id_tokens, [1, 2, 3], id_tokens))
    assert cache.lookup(request_of(2, 3 * id_tokens, [1, 2, 9], id_tokens)) == found


def test_cached_blocks_go_when_room_is_needed_the_longest_idle_first():
    cache = cache_of(6)
    first, second = (request_of(n, 8, [n, n + 10]) for n in (1, 2))
    serve(cache, first), serve(cache, second)
    cache.release(second), cache.release(first)
    assert state(cache) == (0, 4, 6)
    third = request_of(3, 12)
    assert cache.admit(third, 12) and state(cache) == (3, 3, 3)
    assert cache.lookup(request_of(4, 12, [2, 12])) == 4  # its last block went first
    assert cache.lookup(request_of(5, 12, [1, 11])) == 8
    assert cache.grow(third, 16)
    assert cache.lookup(request_of(4, 12, [2, 12])) == 0
    assert cache.lookup(request_of(5, 12, [1, 11])) == 8
    assert cache.grow(third, 24) and state(cache) == (6, 0, 0)
    assert not cache.grow(third, 25)


def test_the_cached_blocks_of_a_request_are_not_evicted_for_its_own_rest():
    cache = cache_of(3)
    cache.release(serve(cache, request_of(1, 8, [1, 2])))
    again = request_of(2, 12, [1, 2])
    assert cache.admit(again, 12)
    assert again.cached_tokens == 8 and state(cache) == (3, 0, 0)
    other = request_of(3, 16, [1, 2])
    cache.release(again)
    assert not cache.admit(other, 16) and state(cache) == (0, 2, 3)


def test_equal_prompts_computed_side_by_side_are_cached_once():
    cache = cache_of(10)
    first, second = request_of(1, 8, [1, 2]), request_of(2, 8, [1, 2])
    for request in (first, second):
        assert cache.admit(request, 8)
        request.computed_tokens = 8
    cache.commit(first), cache.commit(second)
    assert state(cache) == (4, 0, 6)
    cache.release(second)
    assert state(cache) == (2, 0, 8)
    cache.release(first)
    assert state(cache) == (0, 2, 10)


def test_a_preempted_request_finds_its_own_blocks_and_keeps_what_it_first_found():
    cache = cache_of(10)
    request = request_of(1, 12, [1, 2, 3])
    serve(cache, request)
    cache.release(request)
    request.num_preemptions, request.generated_tokens, request.computed_tokens = 1, 3, 0
    assert cache.admit(request, request.known_tokens)
    assert (request.computed_tokens, request.cached_tokens) == (12, 0)


def test_a_request_that_comes_with_its_kv_keeps_its_computed_tokens():
    cache = cache_of(10)
    request = request_of(1, 8, [1, 2])
    request.computed_tokens, request.generated_tokens = 8, 1
    assert cache.admit(request, 9)
    assert (request.computed_tokens, request.cached_tokens) == (8, 0)


def test_swapping_moves_filled_blocks_out_and_in():
    cache = cache_of(4, swap_blocks=3)
    request, other = request_of(1, 8), request_of(2, 12)
    assert cache.admit(request, 8)
    request.computed_tokens, request.generated_tokens = 9, 2
    assert cache.grow(request, 9)
    assert cache.swap_out(request) == 3 and state(cache) == (0, 0, 4)
    assert cache.admit(other, 12)
    assert cache.swap_in(request) is None and not cache.holds(request)
    other.computed_tokens = 1
    assert cache.swap_out(other) is None and cache.holds(other)  # the space is full
    cache.release(other)
    assert cache.swap_in(request) == 3 and request.computed_tokens == 9
    assert state(cache) == (3, 0, 1) and cache.grow(request, 12)
    assert cache.admit(other, 4) and cache.swap_out(other) == 1


def test_blocks_that_are_cached_still_are_not_moved_in():
    cache = cache_of(4, swap_blocks=4)
    request = serve(cache, request_of(1, 12, [1, 2, 3]))
    request.generated_tokens = 1
    assert cache.swap_out(request) == 3 and state(cache) == (0, 3, 4)
    filler = request_of(2, 8)
    assert cache.admit(filler, 8) and state(cache) == (2, 2, 2)  # the third block went
    cache.release(filler)
    assert cache.swap_in(request) == 1 and state(cache) == (4, 0, 0)


def test_scratchpad_blocks_are_taken_first_and_counted():
    cache = cache_of(6, sram_blocks=2)
    first, second = request_of(1, 12), request_of(2, 8)
    assert cache.admit(first, 12) and cache.admit(second, 8)
    first.computed_tokens, second.computed_tokens = 12, 8
    assert cache.resident_fraction([first]) == 2 / 3
    assert cache.resident_fraction([first, second]) == 2 / 5
    assert cache.resident_fraction([second]) == cache.resident_fraction([]) == 0.0
    cache.release(first)
    assert cache.resident_fraction([second]) == 0.0  # blocks do not migrate
    assert cache.grow(second, 9)
    second.computed_tokens = 9
    assert cache.resident_fraction([second]) == 1 / 3


def test_room_that_is_not_filled_yet_does_not_count_as_memory():
    cache, request = cache_of(6, sram_blocks=2), request_of(1, 4, output_tokens=20)
    assert cache.admit(request, 20)
    request.computed_tokens = 8
    assert cache.resident_fraction([request]) == 1.0


@pytest.mark.parametrize(("sram_blocks", "fraction"), [(0, 0.0), (6, 1.0)])
def test_one_tier_is_all_or_nothing(sram_blocks, fraction):
    cache, request = cache_of(6, sram_blocks), request_of(1, 4)
    assert cache.admit(request, 4)
    assert cache.resident_fraction([request]) == cache.resident_fraction([]) == fraction


def test_admitting_twice_is_an_error():
    cache, request = cache_of(6), request_of(1, 4)
    assert cache.admit(request, 4)
    with pytest.raises(AssertionError, match="request 1 is admitted"):
        cache.admit(request, 4)
