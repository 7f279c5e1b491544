"""A DRAM channel's banks, rows and bus: a unit that was decided on → when its data moves.

Times are ps. A row run lies in one bank, or block by block in turn in two banks of two groups.
"""

import numpy as np

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
from npusim.engine.wheel import ceil_div

READ, WRITE = 0, 1
NEVER = 1 << 62


@kernel
def direction_of(A, packet):
    return WRITE if A[packet + at.P_KIND] == at.STORE_DATA else READ


@kernel
def locate(A, channel, packet):
    """Bank and row of a unit's first burst."""
    address = A[packet + at.P_ADDRESS]
    run = address // A[channel + at.K_RUN_BYTES]
    bank = run % A[channel + at.K_NUM_SETS]
    if A[channel + at.K_SPREAD] == 2:
        block = address // A[channel + at.K_BURST_BYTES] // A[channel + at.K_BLOCK_BURSTS]
        bank = 2 * bank + (block & 1)
    A[packet + at.P_BANK] = A[channel + at.K_BANKS] + bank * at.B_SIZE
    A[packet + at.P_ROW] = run // A[channel + at.K_NUM_SETS]


@kernel
def is_hit(A, packet):
    return A[A[packet + at.P_BANK] + at.B_ROW] == A[packet + at.P_ROW]


@kernel
def latency(A, channel, direction):
    return A[channel + at.K_TCWL] if direction == WRITE else A[channel + at.K_TCL]


@kernel
def _bus_ok(A, channel, direction):
    """When data of that direction may start on the bus, after a turn if need be."""
    free = A[channel + at.K_BUS_FREE]
    if A[channel + at.K_DIRECTION] == at.NIL or A[channel + at.K_DIRECTION] == direction:
        return free
    end = A[channel + at.K_DATA_END]
    if direction == READ:
        return max(free, end + A[channel + at.K_TWTR] + A[channel + at.K_TCL])
    last_command = end - A[channel + at.K_BURST_PS] - A[channel + at.K_TCL]
    return max(free, last_command + A[channel + at.K_TRTW] + A[channel + at.K_TCWL])


@kernel
def first_ready(A, channel, packet, now, direction):
    """When a unit's first bank could move data; tRRD, tFAW and refresh are not looked at."""
    bank = A[packet + at.P_BANK]
    if A[bank + at.B_ROW] == A[packet + at.P_ROW]:
        ready = max(now, A[bank + at.B_COLUMN_OK])
    else:
        ready = max(now, A[bank + at.B_FREE]) + A[channel + at.K_TRCD]
        if A[bank + at.B_ROW] != at.NIL:
            ready += A[channel + at.K_TRP]
    ready += latency(A, channel, direction)
    return max(ready, A[A[bank + at.B_GROUP] + at.G_COLUMN_OK])


@kernel
def _refresh(A, channel, now):
    """All-bank refreshes that fell due up to `now`, as one step."""
    interval = A[channel + at.K_TREFI]
    count = 1 + (now - A[channel + at.K_NEXT_REFRESH]) // interval
    begin = A[channel + at.K_NEXT_REFRESH] + (count - 1) * interval
    begin = _close_all(A, channel, begin)
    end = begin + A[channel + at.K_TRFC]
    bank = A[channel + at.K_BANKS]
    for _ in range(A[channel + at.K_NUM_BANKS]):
        A[bank + at.B_ROW] = at.NIL
        A[bank + at.B_FREE] = end
        bank += at.B_SIZE
    A[channel + at.K_NEXT_REFRESH] += count * interval


@kernel
def _close_all(A, channel, due):
    """When all banks are precharged, begun at `due` or when the last of them may be."""
    begin, any_open, bank = due, False, A[channel + at.K_BANKS]
    for _ in range(A[channel + at.K_NUM_BANKS]):
        begin = max(begin, A[bank + at.B_FREE])
        any_open |= A[bank + at.B_ROW] != at.NIL
        bank += at.B_SIZE
    return begin + A[channel + at.K_TRP] if any_open else begin


@kernel
def _activate(A, channel, bank, row, now):
    """Opens a row; the ACT obeys tRP, tRAS, tRTP, tWR (all in B_FREE), tRRD and tFAW."""
    act, count = max(now, A[bank + at.B_FREE]), A[channel + at.K_NUM_ACTS]
    group = A[bank + at.B_GROUP]
    if A[bank + at.B_ROW] != at.NIL:
        act += A[channel + at.K_TRP]
    act = max(act, A[channel + at.K_ACTS + ((count - 1) & 3)] + A[channel + at.K_TRRD])
    act = max(act, A[channel + at.K_ACTS + (count & 3)] + A[channel + at.K_TFAW])
    act = max(act, A[group + at.G_ACT] + A[channel + at.K_TRRD_L])
    A[channel + at.K_ACTS + (count & 3)] = act
    A[channel + at.K_NUM_ACTS] = count + 1
    A[group + at.G_ACT] = act
    A[bank + at.B_ROW] = row
    A[bank + at.B_COLUMN_OK] = act + A[channel + at.K_TRCD]
    A[bank + at.B_FREE] = act + A[channel + at.K_TRAS]


@kernel
def _open(A, channel, bank, row, direction, now):
    """Opens the row unless it is; returns when the bank's first data could be on the bus."""
    if A[bank + at.B_ROW] != row:
        _activate(A, channel, bank, row, now)
    column = A[bank + at.B_COLUMN_OK]
    if direction == WRITE:
        column += A[channel + at.K_TRCD_WR] - A[channel + at.K_TRCD]
    ready = max(now, column) + latency(A, channel, direction)
    group = A[bank + at.B_GROUP]
    if direction == READ:
        written = A[group + at.G_WRITTEN] + A[channel + at.K_TWTR_L] + A[channel + at.K_TCL]
        ready = max(ready, written)
    return max(ready, A[group + at.G_COLUMN_OK])


@kernel
def _move(A, channel, bank, accesses, start):
    """Bursts of one bank from `start` on, tCCD_L apart if that is more than what the bus needs;
    returns their end by this limit alone."""
    group, cadence = A[bank + at.B_GROUP], A[channel + at.K_TCCD_L]
    end = start + (accesses - 1) * cadence + A[channel + at.K_BURST_PS]
    A[group + at.G_COLUMN_OK] = start + accesses * cadence
    return end


@kernel
def _moved(A, channel, bank, end, direction):
    """What the end of its data means for a bank."""
    if direction == WRITE:
        A[A[bank + at.B_GROUP] + at.G_WRITTEN] = end
        free = end + A[channel + at.K_TWR]
    else:
        last_command = end - A[channel + at.K_BURST_PS] - A[channel + at.K_TCL]
        free = last_command + A[channel + at.K_TRTP]
    A[bank + at.B_FREE] = max(A[bank + at.B_FREE], free)


@kernel
def _bus_ps(A, channel, accesses, misses):
    """Time that `accesses` bursts take on the data bus, or their commands on theirs."""
    data = ceil_div(accesses * A[channel + at.K_BURST_BYTES] * 1_000_000, A[channel + at.K_MB_S])
    return max(data, (accesses + 2 * misses) * A[channel + at.K_TCMD])


@kernel
def _of_first_bank(A, channel, first, last):
    """Of the bursts [first, last) of a row run, those in the first of its banks."""
    if A[channel + at.K_SPREAD] == 1:
        return last - first
    block = A[channel + at.K_BLOCK_BURSTS]
    before, up_to = first % (2 * block), last % (2 * block)
    blocks = last // (2 * block) - first // (2 * block)
    return blocks * block + min(up_to, block) - min(before, block)


@kernel
def _open_run(A, channel, bank, row, of_first, of_second, direction, now):
    """Opens the rows that a run's bursts need; returns when each bank's data could move, and how
    many rows had to be opened."""
    ready = second_ready = NEVER
    opened = 0
    if of_first > 0:
        opened += A[bank + at.B_ROW] != row
        ready = _open(A, channel, bank, row, direction, now)
    if of_second > 0:
        opened += A[bank + at.B_SIZE + at.B_ROW] != row
        second_ready = _open(A, channel, bank + at.B_SIZE, row, direction, now)
    return ready, second_ready, opened


@kernel
def _until_refresh(A, channel, start, direction):
    """Time from the first column command of data at `start` to the next refresh."""
    if A[channel + at.K_TREFI] == 0:
        return NEVER
    return A[channel + at.K_NEXT_REFRESH] - (start - latency(A, channel, direction))


@kernel
def _serve_run(A, channel, address, stop, direction, now):
    """Bursts of one row run from `now` on, up to the next refresh; returns the start and end of
    their data, and the address where they stop."""
    size, burst_ps = A[channel + at.K_BURST_BYTES], A[channel + at.K_BURST_PS]
    run = address // A[channel + at.K_RUN_BYTES]
    row, chosen = run // A[channel + at.K_NUM_SETS], run % A[channel + at.K_NUM_SETS]
    bank = A[channel + at.K_BANKS] + chosen * A[channel + at.K_SPREAD] * at.B_SIZE
    first, last = address // size, ceil_div(stop, size)
    of_first = _of_first_bank(A, channel, first, last)
    of_second = last - first - of_first
    ready = second_ready = start = now
    left, opened = NEVER, 0
    for _ in range(2):  # again if a refresh comes before the first burst
        if A[channel + at.K_TREFI] > 0 and now >= A[channel + at.K_NEXT_REFRESH]:
            _refresh(A, channel, now)
        ready, second_ready, opened = _open_run(
            A, channel, bank, row, of_first, of_second, direction, now
        )
        start = max(_bus_ok(A, channel, direction), min(ready, second_ready))
        left = _until_refresh(A, channel, start, direction)
        if left > 0:
            break
        now = max(now, A[channel + at.K_NEXT_REFRESH])
    if 0 < left <= (last - first - 1) * burst_ps:
        last = first + ceil_div(left, burst_ps)
        stop = last * size
        of_first = _of_first_bank(A, channel, first, last)
        of_second = last - first - of_first
    free = start + _bus_ps(A, channel, last - first, opened)
    end = free
    if of_first > 0:
        end = max(end, _move(A, channel, bank, of_first, max(start, ready)))
    if of_second > 0:
        end = max(end, _move(A, channel, bank + at.B_SIZE, of_second, max(start, second_ready)))
    if of_first > 0:
        _moved(A, channel, bank, end, direction)
    if of_second > 0:
        _moved(A, channel, bank + at.B_SIZE, end, direction)
    _count_run(A, channel, last - first, opened, free - start)
    A[channel + at.K_BUS_FREE] = free
    A[channel + at.K_DATA_END] = max(A[channel + at.K_DATA_END], end)
    A[channel + at.K_DIRECTION] = direction
    return start, end, stop


@kernel
def _count_run(A, channel, bursts, opened, busy_ps):
    """Adds a run of `bursts`, of which the first of each row `opened` was a miss, to the totals."""
    misses = min(opened, bursts)
    A[channel + at.K_MISSES] += misses
    A[channel + at.K_HITS] += bursts - misses
    A[channel + at.K_BUSY] += busy_ps


@kernel
def serve(A, channel, packet, decided):
    """All row runs of a unit, decided on at `decided` ps; returns start and end of its data."""
    direction, lead = direction_of(A, packet), A[channel + at.K_LEAD]
    run_bytes, address = A[channel + at.K_RUN_BYTES], A[packet + at.P_ADDRESS]
    last = address + A[packet + at.P_PAYLOAD]
    first, now, unit_end = np.int64(-1), decided, decided
    while address < last:
        stop = min(last, (address // run_bytes + 1) * run_bytes)
        start, end, stop = _serve_run(A, channel, address, stop, direction, now)
        if first < 0:
            first = start
        unit_end = max(unit_end, end)
        now = max(decided, A[channel + at.K_BUS_FREE] - lead)
        if stop % run_bytes != 0 and stop < last:
            now = A[channel + at.K_NEXT_REFRESH]
        address = stop
    return first, unit_end
