"""The study's layout by hand: scratchpad blocks first, then the request's buffer in a ring."""

import pytest

from npusim.serving.kv.cache import KV_CACHES, KvSize
from npusim.serving.request import Request
from npusim.spec.serving import Kv


def cache_of(num_blocks, memory_tokens, watermark_fraction=0.0):
    kv = Kv(layout="sram_ring", watermark_fraction=watermark_fraction)
    return KV_CACHES["sram_ring"](KvSize(num_blocks, num_blocks, 4, memory_tokens), kv)


def request_of(request_id, prompt_tokens, output_tokens=1):
    return Request(request_id, 0, prompt_tokens, output_tokens)


def resident(cache, *requests):
    cache.check()
    return cache.resident_fraction(requests)


def test_tokens_go_to_the_scratchpad_and_then_to_the_buffer():
    cache, request = cache_of(2, 100), request_of(1, 6, output_tokens=15)
    assert cache.admit(request, 6)
    request.computed_tokens = 6
    assert resident(cache, request) == 1.0 and cache.held_blocks == 2
    assert cache.grow(request, 8) and cache.grow(request, 9) and cache.grow(request, 20)
    request.computed_tokens = 20
    assert resident(cache, request) == 8 / 20


def test_requests_interleave_in_the_scratchpad():
    cache, first, second = cache_of(3, 100), request_of(1, 4, 9), request_of(2, 4, 9)
    for request in (first, second):
        assert cache.admit(request, 4)
    assert cache.grow(second, 5) and cache.grow(first, 5) and cache.grow(second, 9)
    first.computed_tokens, second.computed_tokens = 5, 9
    assert resident(cache, first) == 4 / 5
    assert resident(cache, second) == 8 / 9
    assert resident(cache, first, second) == 12 / 14


def test_who_has_begun_its_buffer_stays_there():
    cache, first, second = cache_of(1, 100), request_of(1, 4), request_of(2, 4, 9)
    assert cache.admit(first, 4) and cache.admit(second, 4)
    cache.release(first)
    assert cache.grow(second, 8)
    second.computed_tokens = 8
    assert resident(cache, second) == 0.0 and cache.held_blocks == 0


def test_the_buffer_of_the_longest_length_is_reserved_at_admission():
    cache = cache_of(100, 20)
    assert cache.admit(request_of(1, 4, output_tokens=9), 4)  # 12 tokens at its longest
    assert not cache.admit(request_of(2, 4, output_tokens=6), 4)  # 9 > 8
    assert cache.admit(request_of(3, 4, output_tokens=5), 4)
    assert cache.occupancy == (2 * 4 + 20) / (100 * 4 + 20)


def test_the_oldest_request_holds_the_ring_up():
    cache = cache_of(0, 20)
    old, young = request_of(1, 10), request_of(2, 10)
    assert cache.admit(old, 10) and cache.admit(young, 10)
    cache.release(young)
    assert not cache.admit(request_of(3, 5), 5)
    cache.release(old)
    cache.check()
    assert cache.admit(request_of(3, 20), 20)


def test_a_request_as_long_as_the_ring_fits_and_one_token_more_never_does():
    cache = cache_of(3, 20)
    assert cache.fits_ever(20) and not cache.fits_ever(21)
    assert not cache.admit(request_of(1, 21), 21) and cache.held_blocks == 0


def test_the_prompt_of_a_request_longer_than_the_ring_fits_where_it_only_prefills():
    cache, request = cache_of(0, 20), request_of(1, 12, output_tokens=100)
    assert cache.admit(request, 12) and cache.occupancy == 1.0


def test_free_blocks_are_those_of_the_scratchpad_and_of_the_ring():
    cache = cache_of(2, 21)
    assert cache.free_blocks == cache.num_blocks == 2 + 5 and cache.used_blocks == 0
    assert cache.admit(request_of(1, 5, output_tokens=6), 5)
    assert cache.free_blocks == 0 + 2 and cache.used_blocks == 2 + 3


def test_without_memory_there_are_only_the_blocks():
    cache, request = cache_of(3, 0), request_of(1, 8, output_tokens=9)
    assert cache.fits_ever(12) and not cache.fits_ever(13)
    assert cache.admit(request, 8) and not cache.admit(request_of(2, 5), 5)
    assert cache.grow(request, 12) and not cache.grow(request, 13)
    cache.check()
    cache.release(request)
    assert cache.free_blocks == 3 and cache.occupancy == 0.0


def test_without_memory_admission_leaves_the_watermark():
    cache = cache_of(10, 0, watermark_fraction=0.2)
    assert cache.admit(request_of(1, 4), 4)
    assert not cache.admit(request_of(2, 32), 32)
    assert cache.admit(request_of(3, 28), 28)


def test_nothing_is_cached_or_swapped():
    cache, request = cache_of(3, 20), Request(1, 0, 8, 1, (1, 2), 4)
    assert cache.admit(request, 8)
    request.computed_tokens = 8
    cache.commit(request)
    assert cache.swap_out(request) is None and cache.holds(request)
    cache.release(request)
    assert cache.lookup(request) == 0 and cache.cached_blocks == 0


def test_longer_than_its_buffer_is_an_error():
    cache, request = cache_of(1, 20), request_of(1, 6)
    assert cache.admit(request, 6)
    with pytest.raises(AssertionError, match="longer than its buffer"):
        cache.grow(request, 7)


def test_every_request_gets_a_buffer_of_ring_tokens_and_a_longer_one_its_own():
    """A ring of 100 tokens has room for two buffers of 40; a request of 50 gets 50."""
    kv = Kv(layout="sram_ring", watermark_fraction=0.0, ring_tokens=40)
    cache = KV_CACHES["sram_ring"](KvSize(0, 0, 4, 100), kv)
    short, long = Request(0, 0, 5, 5), Request(1, 0, 45, 6)
    assert cache.admit(short, 5) and cache.admit(long, 45)
    assert not cache.can_admit(Request(2, 0, 5, 5), 5)  # 90 are taken
    cache.release(short)
    assert cache.can_admit(Request(2, 0, 5, 5), 5)  # where the first one was
    cache.check()
