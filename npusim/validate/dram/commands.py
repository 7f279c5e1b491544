"""Commands to the banks of a DRAM channel → the first cycle at which each may be followed by which.

Part of the command-level channel (channel.py), the oracle of the engine's burst kernel. A command
makes others wait: `ok[command, bank]` is the first cycle at which the command may go to the bank,
and `issue` raises it by JEDEC's constraints.

Assumes all banks refreshed together; no power-down.
"""

from typing import NamedTuple

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


class Banks(NamedTuple):
    """`acts`: cycles of the last four activations of each pseudo-channel, in turn, and after them
    how many there were. `open_row`: of each bank, or CLOSED."""

    timing: np.ndarray
    ok: np.ndarray
    acts: np.ndarray
    open_row: np.ndarray


def closed_banks(timing: np.ndarray) -> Banks:
    """Nothing open and nothing to wait for."""
    banks = int(timing[BANKS])
    num_pseudo = banks // int(timing[BANKS_PER_PSEUDO_CHANNEL])
    return Banks(
        timing, np.zeros((4, banks), np.int64), np.zeros((num_pseudo, 5), np.int64),
        np.full(banks, CLOSED, np.int64),
    )  # fmt: skip


def earliest(timing, commands, banks, cycles, command: int, bank: int) -> int:
    """First cycle at which `command` may go to `bank` after the given commands."""
    state = closed_banks(timing)
    _issue_all(state, commands, banks, cycles)
    return int(state.ok[command, bank])


@entry
def _issue_all(b, commands, banks, cycles):
    for i in range(len(commands)):
        issue(b, commands[i], banks[i], cycles[i])


@kernel
def _at_least(b, command, bank, cycle):
    if b.ok[command, bank] < cycle:
        b.ok[command, bank] = cycle


@kernel
def issue(b, command, bank, now):
    """What a command to `bank` at `now` makes the other commands wait for."""
    T = b.timing
    first = bank // T[BANKS_PER_PSEUDO_CHANNEL] * T[BANKS_PER_PSEUDO_CHANNEL]
    for other in range(first, first + T[BANKS_PER_PSEUDO_CHANNEL]):
        same = other // T[BANKS_PER_GROUP] == bank // T[BANKS_PER_GROUP]
        if command == ACT:
            _at_least(b, ACT, other, now + (T[RRD_L] if same else T[RRD_S]))
        elif command == RD:
            _at_least(b, RD, other, now + (T[CCD_L] if same else T[CCD_S]))
            _at_least(b, WR, other, now + T[RTW])
        elif command == WR:
            _at_least(b, WR, other, now + (T[CCD_L] if same else T[CCD_S]))
            end = now + T[CWL] + T[BL]
            _at_least(b, RD, other, end + (T[WTR_L] if same else T[WTR_S]))
    if command == ACT:
        _activated(b, bank, first, now)
    elif command == RD:
        _at_least(b, PRE, bank, now + T[RTP])
    elif command == WR:
        _at_least(b, PRE, bank, now + T[CWL] + T[BL] + T[WRITE_RECOVERY])
    else:
        _at_least(b, ACT, bank, now + T[RP])


@kernel
def _activated(b, bank, first, now):
    T, acts = b.timing, b.acts[bank // b.timing[BANKS_PER_PSEUDO_CHANNEL]]
    _at_least(b, ACT, bank, now + T[RAS] + T[RP])
    _at_least(b, PRE, bank, now + T[RAS])
    _at_least(b, RD, bank, now + T[RCD_RD])
    _at_least(b, WR, bank, now + T[RCD_WR])
    acts[acts[4] % 4] = now
    acts[4] += 1
    if acts[4] >= 4:
        for other in range(first, first + T[BANKS_PER_PSEUDO_CHANNEL]):
            _at_least(b, ACT, other, acts[acts[4] % 4] + T[FAW])


@kernel
def refresh(b, now):
    """Closes all rows as soon as all may be, then refreshes; whether REF goes at `now`."""
    any_open, latest_pre, latest_act = False, np.int64(0), np.int64(0)
    for bank in range(b.timing[BANKS]):
        if b.open_row[bank] != CLOSED:
            any_open = True
            latest_pre = max(latest_pre, b.ok[PRE, bank])
        latest_act = max(latest_act, b.ok[ACT, bank])
    if any_open:
        if now >= latest_pre:
            _close_all(b, now)
        return False
    if now < latest_act:
        return False
    b.ok[ACT, :] = now + b.timing[RFC]
    return True


@kernel
def _close_all(b, now):
    for bank in range(b.timing[BANKS]):
        if b.open_row[bank] != CLOSED:
            _at_least(b, ACT, bank, now + b.timing[RP])
        b.open_row[bank] = CLOSED
