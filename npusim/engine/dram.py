"""DRAM channels: which waiting unit is served next and when its data is over (phase F)."""

import numpy as np

from npusim.engine.kernel import kernel
from npusim.engine.layout import (
    B_ACT_OK,
    B_COLUMN_OK,
    B_PRECHARGE_OK,
    B_ROW,
    B_SIZE,
    BIN_SHIFT,
    CHANNEL_OPEN,
    DATA_READY,
    K_ACTS,
    K_BANKS,
    K_BINS,
    K_BURST_BYTES,
    K_BUS_FREE,
    K_BUSY,
    K_DIRECTION,
    K_FIRST,
    K_HITS,
    K_LAST,
    K_LAST_READY,
    K_MB_S,
    K_MISSES,
    K_NEXT_REFRESH,
    K_NUM_ACTS,
    K_NUM_BANKS,
    K_OLDEST,
    K_OPEN,
    K_PASSED,
    K_READ_BYTES,
    K_REQUESTS,
    K_RESPONSE_TICKS,
    K_ROW_BYTES,
    K_SUM_QUEUE,
    K_SUM_REQUEST,
    K_SUM_SERVICE,
    K_TCCD_L,
    K_TCL,
    K_TCWL,
    K_TFAW,
    K_TOUCHED,
    K_TRAS,
    K_TRCD,
    K_TREFI,
    K_TRFC,
    K_TRP,
    K_TRRD,
    K_TRTW,
    K_TWR,
    K_TWTR,
    K_WINDOW,
    K_WRITE_BYTES,
    KEEP_SPANS,
    KHZ,
    N_CHANNELS,
    NIL,
    NOW,
    P_ADDRESS,
    P_BANK,
    P_CHANNEL,
    P_KEY,
    P_KIND,
    P_NEXT,
    P_PAYLOAD,
    P_PREV,
    P_ROW,
    P_SINCE,
    P_TASK,
    P_TICK,
    STORE_DATA,
    W_CHANNELS,
)
from npusim.engine.record import channel_span, reach
from npusim.engine.wheel import ceil_div, cycles_to_ps, ps_to_cycles, schedule

READ, WRITE = 0, 1
HIT_POINTS, DIRECTION_POINTS = 2, 1


@kernel
def touch_channel(A, channel):
    if A[channel + K_TOUCHED] == 0:
        A[channel + K_TOUCHED] = 1
        A[A[W_CHANNELS] + A[N_CHANNELS]] = channel
        A[N_CHANNELS] += 1


@kernel
def join_queue(A, packet):
    """Phase A: a unit reaches its channel's queue, kept in order of (tick, key)."""
    channel, now, key = A[packet + P_CHANNEL], A[NOW], A[packet + P_KEY]
    row = A[packet + P_ADDRESS] // A[channel + K_ROW_BYTES]
    A[packet + P_TICK] = now
    A[channel + K_SUM_REQUEST] += now - A[packet + P_SINCE]
    A[packet + P_ROW] = row // A[channel + K_NUM_BANKS]
    A[packet + P_BANK] = row % A[channel + K_NUM_BANKS]
    before = A[channel + K_LAST]
    while before != NIL and A[before + P_TICK] == now and A[before + P_KEY] > key:
        before = A[before + P_PREV]
    after = A[channel + K_FIRST] if before == NIL else A[before + P_NEXT]
    A[packet + P_PREV] = before
    A[packet + P_NEXT] = after
    _link_up(A, channel, before, packet)
    _link_down(A, channel, after, packet)
    touch_channel(A, channel)


@kernel
def _link_up(A, channel, before, packet):
    if before == NIL:
        A[channel + K_FIRST] = packet
    else:
        A[before + P_NEXT] = packet


@kernel
def _link_down(A, channel, after, packet):
    if after == NIL:
        A[channel + K_LAST] = packet
    else:
        A[after + P_PREV] = packet


@kernel
def _leave_queue(A, channel, packet):
    before, after = A[packet + P_PREV], A[packet + P_NEXT]
    _link_up(A, channel, before, after)
    _link_down(A, channel, after, before)


@kernel
def _direction(A, packet):
    return WRITE if A[packet + P_KIND] == STORE_DATA else READ


@kernel
def _points(A, channel, packet):
    """FR-FCFS: a row hit counts most, then keeping the direction of the bus."""
    points = 0
    bank = A[channel + K_BANKS] + A[packet + P_BANK] * B_SIZE
    if A[bank + B_ROW] == A[packet + P_ROW]:
        points += HIT_POINTS
    if _direction(A, packet) == A[channel + K_DIRECTION]:
        points += DIRECTION_POINTS
    return points


@kernel
def _pick(A, channel):
    """Most points among the oldest `window`; the oldest once passed over that often."""
    oldest = A[channel + K_FIRST]
    if A[channel + K_OLDEST] != oldest:
        A[channel + K_OLDEST] = oldest
        A[channel + K_PASSED] = 0
    if A[channel + K_PASSED] >= A[channel + K_WINDOW]:
        return oldest
    best, best_points, packet = oldest, -1, oldest
    for _ in range(A[channel + K_WINDOW]):
        points = _points(A, channel, packet)
        if points > best_points:
            best, best_points = packet, points
        packet = A[packet + P_NEXT]
        if best_points == HIT_POINTS + DIRECTION_POINTS or packet == NIL:
            break
    return best


@kernel
def _refresh(A, channel, now):
    """All-bank refreshes that fell due up to `now`, as one step."""
    interval = A[channel + K_TREFI]
    count = 1 + (now - A[channel + K_NEXT_REFRESH]) // interval
    due = A[channel + K_NEXT_REFRESH] + (count - 1) * interval
    end = max(due, A[channel + K_BUS_FREE]) + A[channel + K_TRFC]
    bank = A[channel + K_BANKS]
    for _ in range(A[channel + K_NUM_BANKS]):
        A[bank + B_ROW] = NIL
        A[bank + B_ACT_OK] = end
        bank += B_SIZE
    A[channel + K_BUS_FREE] = max(A[channel + K_BUS_FREE], end)
    A[channel + K_NEXT_REFRESH] += count * interval


@kernel
def _activate(A, channel, bank, row, now):
    """Opens a row; the ACT obeys tRP, tRAS, tWR, tRRD and tFAW."""
    if A[bank + B_ROW] != NIL:
        act = max(now, A[bank + B_PRECHARGE_OK]) + A[channel + K_TRP]
    else:
        act = max(now, A[bank + B_ACT_OK])
    count = A[channel + K_NUM_ACTS]
    if count > 0:
        act = max(act, A[channel + K_ACTS + ((count - 1) & 3)] + A[channel + K_TRRD])
    if count > 3:
        act = max(act, A[channel + K_ACTS + (count & 3)] + A[channel + K_TFAW])
    A[channel + K_ACTS + (count & 3)] = act
    A[channel + K_NUM_ACTS] = count + 1
    A[bank + B_ROW] = row
    A[bank + B_COLUMN_OK] = act + A[channel + K_TRCD]
    A[bank + B_PRECHARGE_OK] = act + A[channel + K_TRAS]


@kernel
def _data_ps(A, channel, accesses):
    """Time that `accesses` bursts of one row take on the bus."""
    size, mb_s = A[channel + K_BURST_BYTES], A[channel + K_MB_S]
    data = ceil_div(accesses * size * 1_000_000, mb_s)
    burst = ceil_div(size * 1_000_000, mb_s)
    if A[channel + K_TCCD_L] > burst:
        data = max(data, (accesses - 1) * A[channel + K_TCCD_L] + burst)
    return data


@kernel
def _turnaround(A, channel, direction):
    if A[channel + K_DIRECTION] == NIL or A[channel + K_DIRECTION] == direction:
        return 0
    if direction == WRITE:
        return A[channel + K_TRTW]
    return A[channel + K_TWTR] + A[channel + K_TCL]


@kernel
def _prepare_ps(A, channel):
    return A[channel + K_TRP] + A[channel + K_TRCD] + A[channel + K_TCL]


@kernel
def _serve_row(A, channel, row, accesses, direction, now):
    """One row run from `now` on; returns the start of its data on the bus."""
    if A[channel + K_TREFI] > 0 and now >= A[channel + K_NEXT_REFRESH]:
        _refresh(A, channel, now)
    bank = A[channel + K_BANKS] + (row % A[channel + K_NUM_BANKS]) * B_SIZE
    row_in_bank = row // A[channel + K_NUM_BANKS]
    A[channel + K_HITS] += accesses
    if A[bank + B_ROW] != row_in_bank:
        _activate(A, channel, bank, row_in_bank, now)
        A[channel + K_MISSES] += 1
        A[channel + K_HITS] -= 1
    latency = A[channel + K_TCWL] if direction == WRITE else A[channel + K_TCL]
    column = max(now, A[bank + B_COLUMN_OK]) + latency
    start = max(A[channel + K_BUS_FREE] + _turnaround(A, channel, direction), column)
    end = start + _data_ps(A, channel, accesses)
    recovery = A[channel + K_TWR] if direction == WRITE else 0
    A[bank + B_PRECHARGE_OK] = max(A[bank + B_PRECHARGE_OK], end + recovery)
    A[channel + K_BUS_FREE] = end
    A[channel + K_DIRECTION] = direction
    A[channel + K_BUSY] += end - start
    return start


@kernel
def _serve(A, channel, packet, decided):
    """All row runs of a unit, decided on at `decided` ps; returns the start of its first data."""
    direction, prepare = _direction(A, packet), _prepare_ps(A, channel)
    row_bytes, burst = A[channel + K_ROW_BYTES], A[channel + K_BURST_BYTES]
    address = A[packet + P_ADDRESS]
    last = address + A[packet + P_PAYLOAD]
    first, now = np.int64(-1), decided
    while address < last:
        row = address // row_bytes
        stop = min(last, (row + 1) * row_bytes)
        accesses = ceil_div(stop, burst) - address // burst
        start = _serve_row(A, channel, row, accesses, direction, now)
        if first < 0:
            first = start
        now = max(decided, A[channel + K_BUS_FREE] - prepare)
        address = stop
    return first


@kernel
def serve_channel(A, spans, channel):
    """Phase F for one channel: picks a unit when it is open and one waits."""
    if A[channel + K_OPEN] == 0 or A[channel + K_FIRST] == NIL:
        return
    now, khz = A[NOW], A[KHZ]
    packet = _pick(A, channel)
    if packet == A[channel + K_FIRST]:
        A[channel + K_OLDEST] = NIL
    else:
        A[channel + K_PASSED] += 1
    _leave_queue(A, channel, packet)
    start = _serve(A, channel, packet, cycles_to_ps(now, khz))
    end = A[channel + K_BUS_FREE]
    _count(A, channel, packet, now)
    if A[KEEP_SPANS] == 1:
        channel_span(A, spans, channel, A[packet + P_TASK], start, end, A[packet + P_PAYLOAD])
    A[channel + K_OPEN] = 0
    reopen = max(now + 1, ps_to_cycles(end - _prepare_ps(A, channel), khz))
    schedule(A, channel, CHANNEL_OPEN, reopen)
    ready = ps_to_cycles(end, khz) + A[channel + K_RESPONSE_TICKS]
    ready = max(ready, A[channel + K_LAST_READY] + 1)
    A[channel + K_LAST_READY] = ready
    A[channel + K_SUM_SERVICE] += ready - now
    schedule(A, packet, DATA_READY, ready)


@kernel
def _count(A, channel, packet, now):
    reach(A, now)
    A[channel + K_REQUESTS] += 1
    A[channel + K_SUM_QUEUE] += now - A[packet + P_TICK]
    counter = K_WRITE_BYTES if A[packet + P_KIND] == STORE_DATA else K_READ_BYTES
    A[channel + counter] += A[packet + P_PAYLOAD]
    A[channel + K_BINS + (now >> A[BIN_SHIFT])] += A[packet + P_PAYLOAD]
