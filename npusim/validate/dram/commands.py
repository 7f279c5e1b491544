"""One DRAM channel, command by command: requests cut into pieces → the cycle each is done.

The oracle of the engine's burst kernel, and independent of it. Every cycle of the channel's clock
it issues at most one column command (RD, WR) and one row command (ACT, PRE, REF), or one of them
where they share a bus. A command makes others wait: `ok[command, bank]` is the first cycle at
which the command may go to the bank, and `issue` raises it by JEDEC's constraints.

Scheduling is FR-FCFS with open pages. Of the requests that have not begun the oldest `queue` are
seen. Column commands first, oldest request first, to open rows; then row commands, oldest first. A
row is not closed while somebody still wants it. Requests that go the same way as those before
begin first; once none waits, those of the other way may begin, and no other, so that their rows
are open when the last data of this way has moved and the bus turns. If `queue` requests have
begun before the oldest, none that wants its banks may begin until it has, and none at all if it
goes the other way. A refresh that is due stops all else.

Assumes that the queue counts requests, however many bursts each has, as the engine's window does;
all banks refreshed together; no power-down.
"""

import numpy as np

from npusim.engine.kernel import entry, kernel

ACT, PRE, RD, WR = range(4)
# Words of `timing`, all in cycles but for the counts and the flag.
(
    RCD_RD, RCD_WR, RP, RAS, RRD_S, RRD_L, FAW, CCD_S, CCD_L, RTP, WRITE_RECOVERY, WTR_S, WTR_L,
    RTW, CL, CWL, BL, REFI, RFC, ACT_SLOTS, COLUMN_SLOTS, SHARED_BUS, BANKS, BANKS_PER_GROUP,
    BANKS_PER_PSEUDO_CHANNEL, QUEUE,
) = range(26)  # fmt: skip
# Buses of row and column commands: two, one, or two that one command a cycle goes over.
SEPARATE, SHARED, ONE_A_CYCLE = range(3)
CLOSED = -1
MOST_HELD = 512  # requests that wait or have begun


@kernel
def _at_least(ok, command, bank, cycle):
    if ok[command, bank] < cycle:
        ok[command, bank] = cycle


@kernel
def issue(T, ok, acts, command, bank, now):
    """What a command to `bank` at `now` makes the other commands wait for. `acts`: cycles of the
    last four activations of each pseudo-channel, in turn, and after them how many there were."""
    pseudo = bank // T[BANKS_PER_PSEUDO_CHANNEL]
    first = pseudo * T[BANKS_PER_PSEUDO_CHANNEL]
    for other in range(first, first + T[BANKS_PER_PSEUDO_CHANNEL]):
        same = other // T[BANKS_PER_GROUP] == bank // T[BANKS_PER_GROUP]
        if command == ACT:
            _at_least(ok, ACT, other, now + (T[RRD_L] if same else T[RRD_S]))
        elif command == RD:
            _at_least(ok, RD, other, now + (T[CCD_L] if same else T[CCD_S]))
            _at_least(ok, WR, other, now + T[RTW])
        elif command == WR:
            _at_least(ok, WR, other, now + (T[CCD_L] if same else T[CCD_S]))
            end = now + T[CWL] + T[BL]
            _at_least(ok, RD, other, end + (T[WTR_L] if same else T[WTR_S]))
    if command == ACT:
        _activated(T, ok, acts[pseudo], bank, first, now)
    elif command == RD:
        _at_least(ok, PRE, bank, now + T[RTP])
    elif command == WR:
        _at_least(ok, PRE, bank, now + T[CWL] + T[BL] + T[WRITE_RECOVERY])
    else:
        _at_least(ok, ACT, bank, now + T[RP])


@kernel
def _activated(T, ok, acts, bank, first, now):
    _at_least(ok, ACT, bank, now + T[RAS] + T[RP])
    _at_least(ok, PRE, bank, now + T[RAS])
    _at_least(ok, RD, bank, now + T[RCD_RD])
    _at_least(ok, WR, bank, now + T[RCD_WR])
    acts[acts[4] % 4] = now
    acts[4] += 1
    if acts[4] >= 4:
        for other in range(first, first + T[BANKS_PER_PSEUDO_CHANNEL]):
            _at_least(ok, ACT, other, acts[acts[4] % 4] + T[FAW])


@entry
def earliest(T, commands, banks, cycles, command, bank):
    """First cycle at which `command` may go to `bank` after the given commands."""
    ok = np.zeros((4, T[BANKS]), np.int64)
    acts = np.zeros((T[BANKS] // T[BANKS_PER_PSEUDO_CHANNEL], 5), np.int64)
    for i in range(len(commands)):
        issue(T, ok, acts, commands[i], banks[i], cycles[i])
    return ok[command, bank]


@entry
def simulate(T, arrival, is_write, first_piece, bank, row, bursts, done):
    """Serves all requests; request r is pieces first_piece[r] to first_piece[r + 1], each some
    `bursts` of a `row` of a `bank`. Fills `done` with the cycle at which the last data of each
    request has moved; returns how many rows were opened. `bursts` is used up."""
    ok = np.zeros((4, T[BANKS]), np.int64)
    acts = np.zeros((T[BANKS] // T[BANKS_PER_PSEUDO_CHANNEL], 5), np.int64)
    open_row = np.full(T[BANKS], CLOSED)
    held = np.zeros(MOST_HELD, np.int64)
    begun = np.zeros(len(arrival), np.bool_)
    num_held = waiting = taken = passed = opened = 0
    oldest, way, mode = np.int64(-1), np.int64(0), np.int64(0)
    next_refresh = T[REFI] if T[REFI] > 0 else np.int64(1) << 60
    row_free = column_free = now = np.int64(0)
    refreshing = False
    while taken < len(arrival) or num_held > 0:
        if num_held == 0 and not refreshing:
            now = max(now, min(arrival[taken], next_refresh))
        while (
            waiting < T[QUEUE]
            and num_held < MOST_HELD
            and taken < len(arrival)
            and arrival[taken] <= now
        ):
            held[num_held] = taken
            num_held += 1
            taken += 1
            waiting += 1
        if now >= next_refresh:
            refreshing = True
            if _refresh(T, ok, open_row, now):
                next_refresh += T[REFI]
                refreshing = False
            now += 1
            continue
        first = _first_waiting(held, num_held, begun)
        if first != oldest:
            oldest, passed = first, 0
        only = oldest if passed >= T[QUEUE] else np.int64(-1)
        way, mode = _turn(held, num_held, is_write, begun, only, way, mode)
        column = row_command = -1
        if now >= column_free:
            column, piece = _pick_column(
                T, ok, open_row, held, num_held, is_write, begun, only, way, mode, first_piece,
                bank, row, bursts, now)  # fmt: skip
            if column >= 0:
                r = held[column]
                issue(T, ok, acts, WR if mode else RD, bank[piece], now)
                bursts[piece] -= 1
                column_free = now + T[COLUMN_SLOTS]
                end = now + (T[CWL] if mode else T[CL]) + T[BL]
                done[r] = max(done[r], end)
                if not begun[r]:
                    begun[r] = True
                    waiting -= 1
                    passed += r != oldest
                if T[SHARED_BUS] != SEPARATE:
                    row_free = max(row_free, column_free)
        if now >= row_free:
            row_command, piece, command = _pick_row(
                ok, open_row, held, num_held, is_write, begun, only, way, mode, first_piece,
                bank, row, bursts, now)  # fmt: skip
            if row_command >= 0:
                r = held[row_command]
                issue(T, ok, acts, command, bank[piece], now)
                open_row[bank[piece]] = row[piece] if command == ACT else CLOSED
                opened += command == ACT
                row_free = now + (T[ACT_SLOTS] if command == ACT else 1)
                if not begun[r]:
                    begun[r] = True
                    waiting -= 1
                    passed += r != oldest
                if T[SHARED_BUS] != SEPARATE:
                    column_free = row_free if T[SHARED_BUS] == SHARED else now + 1
        if column >= 0 and _is_served(held[column], first_piece, bursts):
            num_held -= 1
            for i in range(column, num_held):
                held[i] = held[i + 1]
        now += 1
    return opened


@kernel
def _refresh(T, ok, open_row, now):
    """Closes all rows as soon as all may be, then refreshes; whether REF goes at `now`."""
    any_open, latest_pre, latest_act = False, np.int64(0), np.int64(0)
    for b in range(T[BANKS]):
        if open_row[b] != CLOSED:
            any_open = True
            latest_pre = max(latest_pre, ok[PRE, b])
        latest_act = max(latest_act, ok[ACT, b])
    if any_open:
        if now >= latest_pre:
            for b in range(T[BANKS]):
                if open_row[b] != CLOSED:
                    _at_least(ok, ACT, b, now + T[RP])
                open_row[b] = CLOSED
        return False
    if now < latest_act:
        return False
    for b in range(T[BANKS]):
        ok[ACT, b] = now + T[RFC]
    return True


@kernel
def _first_waiting(held, num_held, begun):
    for i in range(num_held):
        if not begun[held[i]]:
            return held[i]
    return np.int64(-1)


@kernel
def _may_begin(r, is_write, only, way, first_piece, bank):
    """Requests begin that go `way`; but while one is overdue (`only`), none that wants its banks,
    and none at all if it goes the other way."""
    if is_write[r] != way or only < 0 or r == only:
        return is_write[r] == way
    if is_write[only] != way:
        return False
    for p in range(first_piece[r], first_piece[r + 1]):
        for q in range(first_piece[only], first_piece[only + 1]):
            if bank[p] == bank[q]:
                return False
    return True


@kernel
def _turn(held, num_held, is_write, begun, only, way, mode):
    """The way of requests that begin and the way of data, after turning them if need be."""
    left = waits = others = False
    for i in range(num_held):
        r = held[i]
        if begun[r]:
            left |= is_write[r] == mode
        elif only < 0 or r == only or is_write[only] == way:
            waits |= is_write[r] == way
            others |= is_write[r] != way
    if way == mode and others and not waits:
        way = 1 - way
    if way != mode and not left:
        mode = way
    return way, mode


@kernel
def _pick_column(T, ok, open_row, held, num_held, is_write, begun, only, way, mode, first_piece,
                 bank, row, bursts, now):  # fmt: skip
    """(place among the held, piece) of the oldest request with an open row and its turn; −1."""
    command = WR if mode else RD
    for i in range(num_held):
        r = held[i]
        if is_write[r] != mode or not (
            begun[r] or _may_begin(r, is_write, only, way, first_piece, bank)
        ):
            continue
        for p in range(first_piece[r], first_piece[r + 1]):
            if bursts[p] > 0 and open_row[bank[p]] == row[p] and now >= ok[command, bank[p]]:
                return i, p
    return -1, np.int64(-1)


@kernel
def _pick_row(ok, open_row, held, num_held, is_write, begun, only, way, mode, first_piece, bank,
              row, bursts, now):  # fmt: skip
    """(place among the held, piece, command) of the oldest request that needs a row and can have
    an ACT or PRE for it now; those that go the way of the data first; −1."""
    for wanted in (mode, 1 - mode):
        for i in range(num_held):
            r = held[i]
            if is_write[r] != wanted or not (
                begun[r] or _may_begin(r, is_write, only, way, first_piece, bank)
            ):
                continue
            for p in range(first_piece[r], first_piece[r + 1]):
                b = bank[p]
                if bursts[p] == 0 or open_row[b] == row[p]:
                    continue
                if open_row[b] == CLOSED:
                    if now >= ok[ACT, b]:
                        return i, p, ACT
                elif now >= ok[PRE, b] and not _is_wanted(
                    b, open_row[b], held, num_held, is_write, begun, only, way, mode,
                    wanted == mode, first_piece, bank, row, bursts,
                ):  # fmt: skip
                    return i, p, PRE
    return -1, np.int64(-1), ACT


@kernel
def _is_wanted(b, open_row, held, num_held, is_write, begun, only, way, mode, has_turn,
               first_piece, bank, row, bursts):  # fmt: skip
    """Whether a request that has begun or may wants the row that is open in bank `b`. Where the
    one that asks goes the way of the data (`has_turn`), those that go the other way give way."""
    for i in range(num_held):
        r = held[i]
        gives_way = has_turn and is_write[r] != mode
        if gives_way or not (begun[r] or _may_begin(r, is_write, only, way, first_piece, bank)):
            continue
        for p in range(first_piece[r], first_piece[r + 1]):
            if bursts[p] > 0 and bank[p] == b and row[p] == open_row:
                return True
    return False


@kernel
def _is_served(r, first_piece, bursts):
    left = 0
    for p in range(first_piece[r], first_piece[r + 1]):
        left += bursts[p]
    return left == 0
