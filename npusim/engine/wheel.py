"""A timing wheel: events by tick → the next tick with events; within a tick order is free."""

import numpy as np

from npusim.engine import layout as at
from npusim.engine.kernel import kernel

MASK = at.WHEEL_SLOTS - 1
WORDS = at.WHEEL_SLOTS // 64
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
BIT_INDEX = np.zeros(64, np.int64)
for _bit in range(64):
    BIT_INDEX[((1 << _bit) * int(DE_BRUIJN) & 0xFFFFFFFFFFFFFFFF) >> 58] = _bit


@kernel
def schedule(A, entity, event, tick):
    """Makes an event due at `tick` > now. One beyond the wheel waits in its last slot."""
    A[entity + at.EVENT] = event
    A[entity + at.DUE] = tick
    now = A[at.NOW]
    if tick - now >= at.WHEEL_SLOTS:
        tick = now + at.WHEEL_SLOTS - 1
    slot = tick & MASK
    A[entity + at.NEXT_EVENT] = A[at.SLOTS + slot]
    A[at.SLOTS + slot] = entity
    A[at.OCCUPIED + (slot >> 6)] |= np.int64(1) << (slot & 63)


@kernel
def cancel(A, entity):
    """Takes back an event that is due within the wheel's span."""
    slot = A[entity + at.DUE] & MASK
    before, other = at.NIL, A[at.SLOTS + slot]
    while other != entity:
        before, other = other, A[other + at.NEXT_EVENT]
    following = A[entity + at.NEXT_EVENT]
    if before != at.NIL:
        A[before + at.NEXT_EVENT] = following
        return
    A[at.SLOTS + slot] = following
    if following == at.NIL:
        A[at.OCCUPIED + (slot >> 6)] &= ~(np.int64(1) << (slot & 63))


@kernel
def take_slot(A, tick):
    """Empties the slot of `tick`; returns the first of its entities (chained by NEXT_EVENT)."""
    slot = tick & MASK
    first = A[at.SLOTS + slot]
    A[at.SLOTS + slot] = at.NIL
    A[at.OCCUPIED + (slot >> 6)] &= ~(np.int64(1) << (slot & 63))
    return first


@kernel
def _lowest_bit(word):
    return BIT_INDEX[np.int64((np.uint64(word & -word) * DE_BRUIJN) >> np.uint64(58))]


@kernel
def next_tick(A):
    """First tick after now whose slot holds an event (perhaps only a parked one); −1 when none."""
    now = A[at.NOW]
    start = (now + 1) & MASK
    index = start >> 6
    word = A[at.OCCUPIED + index] & (np.int64(-1) << (start & 63))
    for _ in range(WORDS):
        if word != 0:
            break
        index = (index + 1) % WORDS
        word = A[at.OCCUPIED + index]
    if word == 0:
        return np.int64(-1)
    return now + 1 + (((index << 6) + _lowest_bit(word) - start) & MASK)


@kernel
def cycles_to_ps(ticks, khz):
    """Ticks as ps, rounded up, without overflow for hours of simulated time."""
    return (ticks // khz) * 1_000_000_000 + -(-((ticks % khz) * 1_000_000_000) // khz)


@kernel
def ps_to_cycles(ps, khz):
    """Ticks that cover `ps`, rounded up, without overflow."""
    return (ps // 1_000_000_000) * khz + -(-((ps % 1_000_000_000) * khz) // 1_000_000_000)


@kernel
def ceil_div(a, b):
    """a / b rounded up, both positive; unsigned, which spares the sign's branches."""
    return np.int64(np.uint64(a + b - 1) // np.uint64(b))
