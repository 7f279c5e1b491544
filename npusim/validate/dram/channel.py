"""One DRAM channel, command by command: requests cut into pieces → the cycle each is done.

The oracle of the engine's burst kernel, and independent of it. Every cycle of the channel's clock
it issues at most one column command (RD, WR) and one row command (ACT, PRE, REF), or one of them
where they share a bus. Which may go is said in commands.py, which does in scheduler.py. A refresh
that is due stops all else.
"""

import numpy as np

from npusim.engine.kernel import entry, kernel
from npusim.validate.dram.commands import (
    ACT,
    ACT_SLOTS,
    BL,
    CL,
    CLOSED,
    COLUMN_SLOTS,
    CWL,
    QUEUE,
    RD,
    REFI,
    SEPARATE,
    SHARED,
    SHARED_BUS,
    WR,
    closed_banks,
    issue,
    refresh,
)
from npusim.validate.dram.scheduler import (
    COLUMN_FREE,
    MODE,
    NEXT_REFRESH,
    NONE,
    NOW,
    NUM_HELD,
    OLDEST,
    OPENED,
    PASSED,
    REFRESHING,
    ROW_FREE,
    STATE_WORDS,
    TAKEN,
    WAITING,
    Channel,
    look,
    pick_column,
    pick_row,
)

MOST_HELD = 512  # requests that wait or have begun
NEVER = 1 << 60


def simulate(timing, arrival, is_write, first_piece, bank, row, bursts, done) -> int:
    """Serves all requests; request r is pieces first_piece[r] to first_piece[r + 1], each some
    `bursts` of a `row` of a `bank`. Fills `done` with the cycle at which the last data of each
    request has moved; returns how many rows were opened. `bursts` is used up."""
    state = np.zeros(STATE_WORDS, np.int64)
    state[OLDEST] = NONE
    state[NEXT_REFRESH] = timing[REFI] if timing[REFI] > 0 else NEVER
    held, begun = np.zeros(MOST_HELD, np.int64), np.zeros(len(arrival), np.bool_)
    channel = Channel(
        closed_banks(timing), arrival, is_write, first_piece, bank, row, bursts, done, held, begun,
        state,
    )  # fmt: skip
    _run(channel)
    return int(state[OPENED])


@entry
def _run(c):
    s = c.state
    while s[TAKEN] < len(c.arrival) or s[NUM_HELD] > 0:
        if s[NUM_HELD] == 0 and s[REFRESHING] == 0:
            s[NOW] = max(s[NOW], min(c.arrival[s[TAKEN]], s[NEXT_REFRESH]))
        _take_requests(c)
        if s[NOW] >= s[NEXT_REFRESH]:
            _refresh(c)
        else:
            look(c)
            column = _column_command(c) if s[NOW] >= s[COLUMN_FREE] else NONE
            if s[NOW] >= s[ROW_FREE]:
                _row_command(c)
            if column >= 0 and _is_served(c, c.held[column]):
                s[NUM_HELD] -= 1
                for i in range(column, s[NUM_HELD]):
                    c.held[i] = c.held[i + 1]
        s[NOW] += 1


@kernel
def _take_requests(c):
    s = c.state
    while (
        s[WAITING] < c.banks.timing[QUEUE]
        and s[NUM_HELD] < MOST_HELD
        and s[TAKEN] < len(c.arrival)
        and c.arrival[s[TAKEN]] <= s[NOW]
    ):
        c.held[s[NUM_HELD]] = s[TAKEN]
        s[NUM_HELD] += 1
        s[TAKEN] += 1
        s[WAITING] += 1


@kernel
def _refresh(c):
    c.state[REFRESHING] = 1
    if refresh(c.banks, c.state[NOW]):
        c.state[NEXT_REFRESH] += c.banks.timing[REFI]
        c.state[REFRESHING] = 0


@kernel
def _column_command(c):
    """Sends an RD or WR if one may go; the place of its request among the held, or −1."""
    s, T = c.state, c.banks.timing
    column, piece = pick_column(c)
    if column < 0:
        return NONE
    r = c.held[column]
    issue(c.banks, WR if s[MODE] else RD, c.bank[piece], s[NOW])
    c.bursts[piece] -= 1
    s[COLUMN_FREE] = s[NOW] + T[COLUMN_SLOTS]
    c.done[r] = max(c.done[r], s[NOW] + (T[CWL] if s[MODE] else T[CL]) + T[BL])
    _begin(c, r)
    if T[SHARED_BUS] != SEPARATE:
        s[ROW_FREE] = max(s[ROW_FREE], s[COLUMN_FREE])
    return column


@kernel
def _row_command(c):
    """Sends an ACT or PRE if one may go."""
    s, T = c.state, c.banks.timing
    r, piece, command = pick_row(c)
    if r < 0:
        return
    issue(c.banks, command, c.bank[piece], s[NOW])
    c.banks.open_row[c.bank[piece]] = c.row[piece] if command == ACT else CLOSED
    s[OPENED] += command == ACT
    s[ROW_FREE] = s[NOW] + (T[ACT_SLOTS] if command == ACT else 1)
    _begin(c, r)
    if T[SHARED_BUS] != SEPARATE:
        s[COLUMN_FREE] = s[ROW_FREE] if T[SHARED_BUS] == SHARED else s[NOW] + 1


@kernel
def _begin(c, r):
    if not c.begun[r]:
        c.begun[r] = True
        c.state[WAITING] -= 1
        c.state[PASSED] += r != c.state[OLDEST]


@kernel
def _is_served(c, r):
    left = 0
    for p in range(c.first_piece[r], c.first_piece[r + 1]):
        left += c.bursts[p]
    return left == 0
