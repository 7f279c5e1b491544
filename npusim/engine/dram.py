"""DRAM channels: which waiting unit is served next and when its data is over (phase F)."""

import numpy as np

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
from npusim.engine.record import channel_span, reach
from npusim.engine.wheel import ceil_div, cycles_to_ps, ps_to_cycles, schedule

READ, WRITE = 0, 1
NEVER = 1 << 62


@kernel
def touch_channel(A, channel):
    """Lets a channel decide in phase F of this tick, if it is open and has a unit waiting."""
    can_pick = A[channel + at.K_OPEN] == 1 and A[channel + at.K_FIRST] != at.NIL
    if can_pick and A[channel + at.K_TOUCHED] == 0:
        A[channel + at.K_TOUCHED] = 1
        A[A[at.W_CHANNELS] + A[at.N_CHANNELS]] = channel
        A[at.N_CHANNELS] += 1


@kernel
def join_queue(A, packet):
    """Phase A: a unit reaches its channel's queue, kept in order of (tick, key)."""
    channel, now, key = A[packet + at.P_CHANNEL], A[at.NOW], A[packet + at.P_KEY]
    row = A[packet + at.P_ADDRESS] // A[channel + at.K_ROW_BYTES]
    A[packet + at.P_TICK] = now
    A[channel + at.K_SUM_REQUEST] += now - A[packet + at.P_SINCE]
    A[packet + at.P_ROW] = row // A[channel + at.K_NUM_BANKS]
    A[packet + at.P_BANK] = row % A[channel + at.K_NUM_BANKS]
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
def _direction(A, packet):
    return WRITE if A[packet + at.P_KIND] == at.STORE_DATA else READ


@kernel
def _is_hit(A, channel, packet):
    bank = A[channel + at.K_BANKS] + A[packet + at.P_BANK] * at.B_SIZE
    return A[bank + at.B_ROW] == A[packet + at.P_ROW]


@kernel
def _first_start(A, channel, packet, now):
    """When the first data of a unit could start; tRRD, tFAW and refresh are not looked at."""
    bank = A[channel + at.K_BANKS] + A[packet + at.P_BANK] * at.B_SIZE
    if A[bank + at.B_ROW] == A[packet + at.P_ROW]:
        column = max(now, A[bank + at.B_COLUMN_OK])
    elif A[bank + at.B_ROW] == at.NIL:
        column = max(now, A[bank + at.B_ACT_OK]) + A[channel + at.K_TRCD]
    else:
        precharge = max(now, A[bank + at.B_PRECHARGE_OK])
        column = precharge + A[channel + at.K_TRP] + A[channel + at.K_TRCD]
    direction = _direction(A, packet)
    latency = A[channel + at.K_TCWL] if direction == WRITE else A[channel + at.K_TCL]
    bus = A[channel + at.K_BUS_FREE] + _turnaround(A, channel, direction)
    return max(bus, column + latency)


@kernel
def _pick(A, channel, now):
    """The unit among the oldest `window` whose data could start first, at a tie a row hit; the
    oldest once passed over that often."""
    oldest = A[channel + at.K_FIRST]
    if A[channel + at.K_OLDEST] != oldest:
        A[channel + at.K_OLDEST] = oldest
        A[channel + at.K_PASSED] = 0
    if A[channel + at.K_PASSED] >= A[channel + at.K_WINDOW]:
        return oldest
    best, best_rank, packet = oldest, NEVER, oldest
    at_once = 2 * A[channel + at.K_BUS_FREE]  # a hit that the bus need not wait for
    for _ in range(A[channel + at.K_WINDOW]):
        rank = 2 * _first_start(A, channel, packet, now) + (0 if _is_hit(A, channel, packet) else 1)
        if rank < best_rank:
            best, best_rank = packet, rank
        packet = A[packet + at.P_NEXT]
        if best_rank == at_once or packet == at.NIL:
            break
    return best


@kernel
def _refresh(A, channel, now):
    """All-bank refreshes that fell due up to `now`, as one step."""
    interval = A[channel + at.K_TREFI]
    count = 1 + (now - A[channel + at.K_NEXT_REFRESH]) // interval
    due = A[channel + at.K_NEXT_REFRESH] + (count - 1) * interval
    end = max(due, A[channel + at.K_BUS_FREE]) + A[channel + at.K_TRFC]
    bank = A[channel + at.K_BANKS]
    for _ in range(A[channel + at.K_NUM_BANKS]):
        A[bank + at.B_ROW] = at.NIL
        A[bank + at.B_ACT_OK] = end
        bank += at.B_SIZE
    A[channel + at.K_BUS_FREE] = max(A[channel + at.K_BUS_FREE], end)
    A[channel + at.K_NEXT_REFRESH] += count * interval


@kernel
def _activate(A, channel, bank, row, now):
    """Opens a row; the ACT obeys tRP, tRAS, tWR, tRRD and tFAW."""
    if A[bank + at.B_ROW] != at.NIL:
        act = max(now, A[bank + at.B_PRECHARGE_OK]) + A[channel + at.K_TRP]
    else:
        act = max(now, A[bank + at.B_ACT_OK])
    count = A[channel + at.K_NUM_ACTS]
    if count > 0:
        act = max(act, A[channel + at.K_ACTS + ((count - 1) & 3)] + A[channel + at.K_TRRD])
    if count > 3:
        act = max(act, A[channel + at.K_ACTS + (count & 3)] + A[channel + at.K_TFAW])
    A[channel + at.K_ACTS + (count & 3)] = act
    A[channel + at.K_NUM_ACTS] = count + 1
    A[bank + at.B_ROW] = row
    A[bank + at.B_COLUMN_OK] = act + A[channel + at.K_TRCD]
    A[bank + at.B_PRECHARGE_OK] = act + A[channel + at.K_TRAS]


@kernel
def _data_ps(A, channel, accesses):
    """Time that `accesses` bursts of one row take on the bus."""
    size, mb_s = A[channel + at.K_BURST_BYTES], A[channel + at.K_MB_S]
    data = ceil_div(accesses * size * 1_000_000, mb_s)
    burst = ceil_div(size * 1_000_000, mb_s)
    if A[channel + at.K_TCCD_L] > burst:
        data = max(data, (accesses - 1) * A[channel + at.K_TCCD_L] + burst)
    return data


@kernel
def _turnaround(A, channel, direction):
    if A[channel + at.K_DIRECTION] == at.NIL or A[channel + at.K_DIRECTION] == direction:
        return 0
    if direction == WRITE:
        return A[channel + at.K_TRTW]
    return A[channel + at.K_TWTR] + A[channel + at.K_TCL]


@kernel
def _prepare_ps(A, channel):
    return A[channel + at.K_TRP] + A[channel + at.K_TRCD] + A[channel + at.K_TCL]


@kernel
def _serve_row(A, channel, row, accesses, direction, now):
    """One row run from `now` on; returns the start of its data on the bus."""
    if A[channel + at.K_TREFI] > 0 and now >= A[channel + at.K_NEXT_REFRESH]:
        _refresh(A, channel, now)
    bank = A[channel + at.K_BANKS] + (row % A[channel + at.K_NUM_BANKS]) * at.B_SIZE
    row_in_bank = row // A[channel + at.K_NUM_BANKS]
    A[channel + at.K_HITS] += accesses
    if A[bank + at.B_ROW] != row_in_bank:
        _activate(A, channel, bank, row_in_bank, now)
        A[channel + at.K_MISSES] += 1
        A[channel + at.K_HITS] -= 1
    latency = A[channel + at.K_TCWL] if direction == WRITE else A[channel + at.K_TCL]
    column = max(now, A[bank + at.B_COLUMN_OK]) + latency
    start = max(A[channel + at.K_BUS_FREE] + _turnaround(A, channel, direction), column)
    end = start + _data_ps(A, channel, accesses)
    recovery = A[channel + at.K_TWR] if direction == WRITE else 0
    A[bank + at.B_PRECHARGE_OK] = max(A[bank + at.B_PRECHARGE_OK], end + recovery)
    A[channel + at.K_BUS_FREE] = end
    A[channel + at.K_DIRECTION] = direction
    A[channel + at.K_BUSY] += end - start
    return start


@kernel
def _serve(A, channel, packet, decided):
    """All row runs of a unit, decided on at `decided` ps; returns the start of its first data."""
    direction, prepare = _direction(A, packet), _prepare_ps(A, channel)
    row_bytes, burst = A[channel + at.K_ROW_BYTES], A[channel + at.K_BURST_BYTES]
    address = A[packet + at.P_ADDRESS]
    last = address + A[packet + at.P_PAYLOAD]
    first, now = np.int64(-1), decided
    while address < last:
        row = address // row_bytes
        stop = min(last, (row + 1) * row_bytes)
        accesses = ceil_div(stop, burst) - address // burst
        start = _serve_row(A, channel, row, accesses, direction, now)
        if first < 0:
            first = start
        now = max(decided, A[channel + at.K_BUS_FREE] - prepare)
        address = stop
    return first


@kernel
def serve_channel(A, spans, channel):
    """Phase F for one channel: picks a unit when it is open and one waits."""
    if A[channel + at.K_OPEN] == 0 or A[channel + at.K_FIRST] == at.NIL:
        return
    now, khz = A[at.NOW], A[at.KHZ]
    decided = cycles_to_ps(now, khz)
    packet = _pick(A, channel, decided)
    if packet == A[channel + at.K_FIRST]:
        A[channel + at.K_OLDEST] = at.NIL
    else:
        A[channel + at.K_PASSED] += 1
    _leave_queue(A, channel, packet)
    start = _serve(A, channel, packet, decided)
    end = A[channel + at.K_BUS_FREE]
    _count(A, channel, packet, now)
    if A[at.KEEP_SPANS] == 1:
        channel_span(A, spans, channel, A[packet + at.P_TASK], start, end, A[packet + at.P_PAYLOAD])
    A[channel + at.K_OPEN] = 0
    reopen = max(now + 1, ps_to_cycles(end - _prepare_ps(A, channel), khz))
    schedule(A, channel, at.CHANNEL_OPEN, reopen)
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
