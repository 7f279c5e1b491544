"""Requests that a DRAM channel holds → the next column command and the next row command.

FR-FCFS with open pages. Of the requests that have not begun the oldest `queue` are seen. Column
commands go first, oldest request first, to open rows; then row commands, oldest first. A row is not
closed while somebody still wants it. Requests that go the same way as those before begin first;
once none waits, those of the other way may begin, and no other, so that their rows are open when
the last data of this way has moved and the bus turns. If `queue` requests have begun before the
oldest, none that wants its banks may begin until it has, and none at all if it goes the other way.

Assumes that the queue counts requests, however many bursts each has, as the engine's window does.
"""

from typing import NamedTuple

import numpy as np

from npusim.engine.kernel import kernel
from npusim.validate.dram.commands import ACT, CLOSED, PRE, QUEUE, RD, WR, Banks

# Words of `state`. WAY: of requests that begin, MODE: of data; 0 reads, 1 writes. OLDEST of those
# that wait, ONLY if it is overdue, PASSED: how many began before it.
(
    NOW, NUM_HELD, WAITING, TAKEN, PASSED, OLDEST, ONLY, WAY, MODE, NEXT_REFRESH, REFRESHING,
    ROW_FREE, COLUMN_FREE, OPENED,
) = range(14)  # fmt: skip
STATE_WORDS = 14
NONE = -1


class Channel(NamedTuple):
    """Request r is pieces first_piece[r] to first_piece[r + 1], each some `bursts`, used up, of a
    `row` of a `bank`. `held`: those taken and not served, oldest first; `begun`: by request."""

    banks: Banks
    arrival: np.ndarray
    is_write: np.ndarray
    first_piece: np.ndarray
    bank: np.ndarray
    row: np.ndarray
    bursts: np.ndarray
    done: np.ndarray
    held: np.ndarray
    begun: np.ndarray
    state: np.ndarray


@kernel
def look(c):
    """Which request is overdue, and which way data moves and requests begin."""
    s, first = c.state, NONE
    for i in range(s[NUM_HELD]):
        if not c.begun[c.held[i]]:
            first = c.held[i]
            break
    if first != s[OLDEST]:
        s[OLDEST], s[PASSED] = first, 0
    s[ONLY] = s[OLDEST] if s[PASSED] >= c.banks.timing[QUEUE] else NONE
    _turn(c)


@kernel
def _turn(c):
    """The way of requests that begin and the way of data, turned if need be."""
    s, left, waits, others = c.state, False, False, False
    only, way = s[ONLY], s[WAY]
    for i in range(s[NUM_HELD]):
        r = c.held[i]
        if c.begun[r]:
            left |= c.is_write[r] == s[MODE]
        elif only < 0 or r == only or c.is_write[only] == way:
            waits |= c.is_write[r] == way
            others |= c.is_write[r] != way
    if way == s[MODE] and others and not waits:
        s[WAY] = 1 - way
    if s[WAY] != s[MODE] and not left:
        s[MODE] = s[WAY]


@kernel
def _is_in_play(c, r):
    """Requests that have begun, and that may: those that go WAY; but while one is overdue (ONLY),
    none that wants its banks, and none at all if it goes the other way."""
    if c.begun[r]:
        return True
    only, way = c.state[ONLY], c.state[WAY]
    if c.is_write[r] != way or only < 0 or r == only:
        return c.is_write[r] == way
    if c.is_write[only] != way:
        return False
    for p in range(c.first_piece[r], c.first_piece[r + 1]):
        for q in range(c.first_piece[only], c.first_piece[only + 1]):
            if c.bank[p] == c.bank[q]:
                return False
    return True


@kernel
def pick_column(c):
    """(place among the held, piece) of the oldest request with an open row and its turn; −1."""
    s, b = c.state, c.banks
    command = WR if s[MODE] else RD
    for i in range(s[NUM_HELD]):
        r = c.held[i]
        if c.is_write[r] != s[MODE] or not _is_in_play(c, r):
            continue
        for p in range(c.first_piece[r], c.first_piece[r + 1]):
            bank = c.bank[p]
            if c.bursts[p] > 0 and b.open_row[bank] == c.row[p] and s[NOW] >= b.ok[command, bank]:
                return i, p
    return NONE, np.int64(NONE)


@kernel
def pick_row(c):
    """(request, piece, command) of the oldest request that needs a row and can have an ACT or PRE
    for it now; those that go the way of the data first; −1."""
    s = c.state
    for wanted in (s[MODE], 1 - s[MODE]):
        for i in range(s[NUM_HELD]):
            r = c.held[i]
            if c.is_write[r] != wanted or not _is_in_play(c, r):
                continue
            for p in range(c.first_piece[r], c.first_piece[r + 1]):
                command = _row_command(c, p, wanted == s[MODE])
                if command != NONE:
                    return r, p, command
    return np.int64(NONE), np.int64(NONE), NONE


@kernel
def _row_command(c, piece, has_turn):
    """ACT or PRE that may go now for a piece, else NONE."""
    b, bank = c.banks, c.bank[piece]
    if c.bursts[piece] == 0 or b.open_row[bank] == c.row[piece]:
        return NONE
    if b.open_row[bank] == CLOSED:
        return ACT if c.state[NOW] >= b.ok[ACT, bank] else NONE
    if c.state[NOW] >= b.ok[PRE, bank] and not _is_wanted(c, bank, has_turn):
        return PRE
    return NONE


@kernel
def _is_wanted(c, bank, has_turn):
    """Whether a request that has begun or may wants the row that is open in a bank. Where the one
    that asks goes the way of the data (`has_turn`), those that go the other way give way."""
    for i in range(c.state[NUM_HELD]):
        r = c.held[i]
        gives_way = has_turn and c.is_write[r] != c.state[MODE]
        if gives_way or not _is_in_play(c, r):
            continue
        for p in range(c.first_piece[r], c.first_piece[r + 1]):
            if c.bursts[p] > 0 and c.bank[p] == bank and c.row[p] == c.banks.open_row[bank]:
                return True
    return False
