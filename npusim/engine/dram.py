"""DRAM channels: which waiting unit is served next and when its data is over (phase F)."""

from npusim.engine import layout as at
from npusim.engine.dram_rows import (
    NEVER,
    direction_of,
    first_ready,
    is_hit,
    latency,
    locate,
    serve,
)
from npusim.engine.kernel import kernel
from npusim.engine.record import channel_span, reach
from npusim.engine.wheel import MASK, cancel, cycles_to_ps, ps_to_cycles, schedule

# Added to the rank of a unit whose bank is not free yet, and of one that needs the bus turned.
BLOCKED, TURNED = 1 << 59, 1 << 60
CLOSED, OPEN, WAITING = range(3)  # K_OPEN; WAITING: for a bank, or for a unit that can go at once


@kernel
def touch_channel(A, channel):
    """Lets a channel decide in phase F of this tick, if it is open and has a unit waiting."""
    can_pick = A[channel + at.K_OPEN] != CLOSED and A[channel + at.K_FIRST] != at.NIL
    if can_pick and A[channel + at.K_TOUCHED] == 0:
        A[channel + at.K_TOUCHED] = 1
        A[A[at.W_CHANNELS] + A[at.N_CHANNELS]] = channel
        A[at.N_CHANNELS] += 1


@kernel
def join_queue(A, packet):
    """Phase A: a unit reaches its channel's queue, kept in order of (tick, key)."""
    channel, now, key = A[packet + at.P_CHANNEL], A[at.NOW], A[packet + at.P_KEY]
    A[packet + at.P_TICK] = now
    A[channel + at.K_SUM_REQUEST] += now - A[packet + at.P_SINCE]
    locate(A, channel, packet)
    before = A[channel + at.K_LAST]
    while before != at.NIL and A[before + at.P_TICK] == now and A[before + at.P_KEY] > key:
        before = A[before + at.P_PREV]
    after = A[channel + at.K_FIRST] if before == at.NIL else A[before + at.P_NEXT]
    A[packet + at.P_PREV] = before
    A[packet + at.P_NEXT] = after
    _link_up(A, channel, before, packet)
    _link_down(A, channel, after, packet)
    touch_channel(A, channel)


@kernel
def _link_up(A, channel, before, packet):
    if before == at.NIL:
        A[channel + at.K_FIRST] = packet
    else:
        A[before + at.P_NEXT] = packet


@kernel
def _link_down(A, channel, after, packet):
    if after == at.NIL:
        A[channel + at.K_LAST] = packet
    else:
        A[after + at.P_PREV] = packet


@kernel
def _leave_queue(A, channel, packet):
    before, after = A[packet + at.P_PREV], A[packet + at.P_NEXT]
    _link_up(A, channel, before, after)
    _link_down(A, channel, after, before)


@kernel
def _wants_bank_of(A, channel, packet, other):
    """Whether two units begin in the same set of banks."""
    size = A[channel + at.K_SPREAD] * at.B_SIZE
    banks = A[channel + at.K_BANKS]
    return (A[packet + at.P_BANK] - banks) // size == (A[other + at.P_BANK] - banks) // size


@kernel
def _rank(A, channel, packet, now):
    """Less is better: no turn of the bus, then a bank that is free, then early data."""
    direction = direction_of(A, packet)
    rank = max(A[channel + at.K_BUS_FREE], first_ready(A, channel, packet, now, direction))
    if not is_hit(A, packet) and A[A[packet + at.P_BANK] + at.B_FREE] > now:
        rank += BLOCKED
    if direction != A[channel + at.K_DIRECTION]:
        rank += TURNED
    return rank


@kernel
def _pick(A, channel, room, now):
    """The best unit among the oldest `room`. Once the oldest has been passed over `window` times it
    is taken; only while its bank is not free, one that neither wants it nor turns the bus."""
    oldest = A[channel + at.K_FIRST]
    if A[channel + at.K_OLDEST] != oldest:
        A[channel + at.K_OLDEST] = oldest
        A[channel + at.K_PASSED] = 0
    overdue = A[channel + at.K_PASSED] >= A[channel + at.K_WINDOW]
    best, best_rank, packet = oldest, NEVER, oldest
    at_once = A[channel + at.K_BUS_FREE]
    for _ in range(room):
        rank = _rank(A, channel, packet, now)
        if overdue and packet == oldest:
            if rank < BLOCKED or rank >= TURNED:
                return oldest
        elif overdue and (rank >= TURNED or _wants_bank_of(A, channel, packet, oldest)):
            rank = NEVER
        if rank < best_rank:
            best, best_rank = packet, rank
        packet = A[packet + at.P_NEXT]
        if best_rank == at_once or packet == at.NIL:
            break
    return best if overdue and best == oldest else _first_to_hit(A, channel, room, best)


@kernel
def _first_to_hit(A, channel, room, packet):
    """The unit itself, or the oldest of those that want the row that it would close."""
    bank, other, direction = A[packet + at.P_BANK], A[channel + at.K_FIRST], direction_of(A, packet)
    if A[bank + at.B_ROW] == A[packet + at.P_ROW] or A[bank + at.B_ROW] == at.NIL:
        return packet
    for _ in range(room):
        if other == at.NIL:
            break
        same_way = direction_of(A, other) == direction
        if A[other + at.P_BANK] == bank and A[other + at.P_ROW] == A[bank + at.B_ROW] and same_way:
            return other
        other = A[other + at.P_NEXT]
    return packet


@kernel
def _room(A, channel, now):
    """Units that may be looked at: `window` less those that were picked ahead of their time."""
    ring, window = A[channel + at.K_AHEAD], A[channel + at.K_WINDOW]
    while A[channel + at.K_NUM_AHEAD] > 0 and A[ring + A[channel + at.K_FIRST_AHEAD]] <= now:
        A[channel + at.K_NUM_AHEAD] -= 1
        A[channel + at.K_FIRST_AHEAD] += 1
        if A[channel + at.K_FIRST_AHEAD] == window:
            A[channel + at.K_FIRST_AHEAD] = 0
    return window - A[channel + at.K_NUM_AHEAD]


@kernel
def _hold_place(A, channel, begin):
    """A unit that was picked ahead of its first column command keeps its place until then."""
    last = A[channel + at.K_FIRST_AHEAD] + A[channel + at.K_NUM_AHEAD]
    if last >= A[channel + at.K_WINDOW]:
        last -= A[channel + at.K_WINDOW]
    A[A[channel + at.K_AHEAD] + last] = begin
    A[channel + at.K_NUM_AHEAD] += 1


@kernel
def _wait(A, channel, until):
    """The channel looks again at `until` ps, or when a unit arrives."""
    A[channel + at.K_OPEN] = WAITING
    tick = min(ps_to_cycles(until, A[at.KHZ]), A[at.NOW] + MASK)
    schedule(A, channel, at.CHANNEL_OPEN, tick)


@kernel
def serve_channel(A, spans, channel):
    """Phase F for one channel: picks a unit when it is open and one waits."""
    if A[channel + at.K_OPEN] == CLOSED or A[channel + at.K_FIRST] == at.NIL:
        return
    if A[channel + at.K_OPEN] == WAITING:
        cancel(A, channel)
    now, khz = A[at.NOW], A[at.KHZ]
    decided = cycles_to_ps(now, khz)
    room = _room(A, channel, decided)
    if room == 0:
        _wait(A, channel, A[A[channel + at.K_AHEAD] + A[channel + at.K_FIRST_AHEAD]])
        return
    packet = _pick(A, channel, room, decided)
    hit, bank = is_hit(A, packet), A[packet + at.P_BANK]
    if not hit and A[bank + at.B_FREE] > decided:
        _wait(A, channel, A[bank + at.B_FREE])
        return
    A[channel + at.K_OPEN] = CLOSED
    if packet == A[channel + at.K_FIRST]:
        A[channel + at.K_OLDEST] = at.NIL
    else:
        A[channel + at.K_PASSED] += 1
    _leave_queue(A, channel, packet)
    start, end = serve(A, channel, packet, decided)
    begin = start - latency(A, channel, direction_of(A, packet))
    if hit and begin > decided:
        _hold_place(A, channel, begin)
    _count(A, channel, packet, now)
    if A[at.KEEP_SPANS] == 1:
        channel_span(A, spans, channel, A[packet + at.P_TASK], start, end, A[packet + at.P_PAYLOAD])
    reopen = ps_to_cycles(A[channel + at.K_BUS_FREE] - A[channel + at.K_LEAD], khz)
    schedule(A, channel, at.CHANNEL_OPEN, max(now + 1, reopen))
    ready = ps_to_cycles(end, khz) + A[channel + at.K_RESPONSE_TICKS]
    ready = max(ready, A[channel + at.K_LAST_READY] + 1)
    A[channel + at.K_LAST_READY] = ready
    A[channel + at.K_SUM_SERVICE] += ready - now
    schedule(A, packet, at.DATA_READY, ready)


@kernel
def _count(A, channel, packet, now):
    reach(A, now)
    A[channel + at.K_REQUESTS] += 1
    A[channel + at.K_SUM_QUEUE] += now - A[packet + at.P_TICK]
    counter = at.K_WRITE_BYTES if A[packet + at.P_KIND] == at.STORE_DATA else at.K_READ_BYTES
    A[channel + counter] += A[packet + at.P_PAYLOAD]
    A[A[channel + at.K_BINS] + (now >> A[at.BIN_SHIFT])] += A[packet + at.P_PAYLOAD]
