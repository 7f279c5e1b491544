"""A timing wheel: events by tick → the next tick with events; within a tick order is free."""

import numpy as np

from npusim.engine.kernel import kernel
from npusim.engine.state import WHEEL_SLOTS

MASK = WHEEL_SLOTS - 1
WORDS = WHEEL_SLOTS // 64
ONE, ALL = np.uint64(1), np.uint64(0xFFFFFFFFFFFFFFFF)
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
SHIFT = np.uint64(58)
BIT_INDEX = np.zeros(64, np.int64)
for _bit in range(64):
    BIT_INDEX[((1 << _bit) * int(DE_BRUIJN) & int(ALL)) >> 58] = _bit


@kernel
def schedule(m, event, tick):
    """Makes `event` due at `tick` > now. An event beyond the wheel waits in its last slot."""
    m.ev_tick[event] = tick
    now = m.g[0].now
    slot = (tick if tick - now < WHEEL_SLOTS else now + WHEEL_SLOTS - 1) & MASK
    m.ev_next[event] = m.slots[slot]
    m.slots[slot] = event
    m.occupied[slot >> 6] |= ONE << np.uint64(slot & 63)
    m.g[0].pending += 1


@kernel
def take_slot(m, tick):
    """Empties the slot of `tick`; returns the first of its events (chained by ev_next), or −1."""
    slot = tick & MASK
    first = m.slots[slot]
    m.slots[slot] = -1
    m.occupied[slot >> 6] &= ~(ONE << np.uint64(slot & 63))
    return first


@kernel
def _lowest_bit(word):
    return BIT_INDEX[np.int64(((word & (~word + ONE)) * DE_BRUIJN) >> SHIFT)]


@kernel
def next_tick(m):
    """First tick after now whose slot holds an event (perhaps only a parked one); −1 when none."""
    g = m.g[0]
    if g.pending == 0:
        return np.int64(-1)
    start = (g.now + 1) & MASK
    word_index = start >> 6
    word = m.occupied[word_index] & (ALL << np.uint64(start & 63))
    for _ in range(WORDS + 1):
        if word != 0:
            slot = (word_index << 6) + _lowest_bit(word)
            return g.now + 1 + ((slot - start) & MASK)
        word_index = (word_index + 1) % WORDS
        word = m.occupied[word_index]
    return np.int64(-1)


@kernel
def cycles_to_ps(ticks, khz):
    """Ticks as ps, rounded up, without overflow for hours of simulated time."""
    return (ticks // khz) * 1_000_000_000 + -(-(ticks % khz) * 1_000_000_000 // khz)


@kernel
def ps_to_cycles(ps, khz):
    """Ticks that cover `ps`, rounded up, without overflow."""
    return (ps // 1_000_000_000) * khz + -(-(ps % 1_000_000_000) * khz // 1_000_000_000)


@kernel
def ceil_div(a, b):
    return -(-a // b)
