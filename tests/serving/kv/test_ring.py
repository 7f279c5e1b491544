"""Buffers in a ring: by hand, and against a model that marks every token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.serving.kv.ring import Ring


def span(buffer):
    return buffer and (buffer.start, buffer.end)


def test_buffers_lie_one_behind_the_other_until_the_ring_is_exactly_full():
    ring = Ring(10)
    assert span(ring.reserve(6)) == (0, 6)
    assert ring.reserve(5) is None
    assert span(ring.reserve(4)) == (6, 10)
    assert ring.reserve(1) is None
    assert ring.used_tokens == ring.held_tokens == 10


def test_the_tail_waits_for_the_oldest_buffer():
    ring = Ring(10)
    first, second = ring.reserve(5), ring.reserve(5)
    ring.free(second)
    assert ring.held_tokens == 5 and ring.used_tokens == 10
    assert ring.reserve(1) is None  # 5 tokens are free, behind the tail
    ring.free(first)
    assert ring.used_tokens == 0
    assert span(ring.reserve(10)) == (0, 10)


def test_a_buffer_that_does_not_fit_before_the_end_wraps_and_the_gap_is_lost():
    ring = Ring(10)
    first, second = ring.reserve(4), ring.reserve(4)
    ring.free(first)
    assert ring.reserve(5) is None  # 2 at the end, 4 at the beginning
    third = ring.reserve(3)
    assert span(third) == (0, 3)
    assert ring.reserve(2) is None  # the gap of 2 at the end is lost
    assert ring.used_tokens == 9
    assert span(ring.reserve(1)) == (3, 4)
    ring.free(second)
    assert span(ring.reserve(6)) == (4, 10)


def test_longer_than_the_ring_never_fits():
    assert Ring(10).reserve(11) is None
    assert span(Ring(10).reserve(10)) == (0, 10)


def test_freeing_twice_is_an_error():
    ring = Ring(10)
    buffer = ring.reserve(1)
    ring.free(buffer)
    with pytest.raises(AssertionError, match="freed twice"):
        ring.free(buffer)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=60))
def test_against_marked_tokens(steps):
    """The model: buffers in order of arrival; a new one goes to the first of (behind the youngest,
    the beginning) whose tokens nobody marks and where it does not overtake the oldest."""
    ring, size, live, order = Ring(12), 12, [], []
    for reserve, number in steps:
        if reserve:
            marked = {t for b in order for t in range(b.start, b.end)}
            starts = [order[-1].end, 0] if order else [0]
            if order and order[-1].end <= order[0].start:
                starts = starts[:1]
            fits = [
                s for s in starts if s + number <= size and marked.isdisjoint(range(s, s + number))
            ]
            buffer = ring.reserve(number)
            assert span(buffer) == ((fits[0], fits[0] + number) if fits else None)
            if buffer:
                live.append(buffer)
                order.append(buffer)
        elif live:
            ring.free(live.pop(number % len(live)))
            while order and order[0] not in live:
                order.pop(0)
        ring.check(live)
        assert ring.held_tokens == sum(b.end - b.start for b in live)
        assert ring.held_tokens <= ring.used_tokens <= size
