"""The command-level channel: each constraint at its edge, and what its scheduler does."""

import numpy as np
import pytest

from npusim.validate.dram import commands as at
from npusim.validate.dram.channel import simulate
from npusim.validate.dram.commands import ACT, PRE, RD, WR, earliest

TIMING = {
    at.RCD_RD: 17, at.RCD_WR: 13, at.RP: 15, at.RAS: 40, at.RRD_S: 4, at.RRD_L: 6, at.FAW: 30,
    at.CCD_S: 2, at.CCD_L: 4, at.RTP: 5, at.WRITE_RECOVERY: 19, at.WTR_S: 7, at.WTR_L: 10,
    at.RTW: 14, at.CL: 20, at.CWL: 9, at.BL: 2, at.REFI: 0, at.RFC: 100, at.ACT_SLOTS: 1,
    at.COLUMN_SLOTS: 1, at.SHARED_BUS: at.SEPARATE, at.BANKS: 8, at.BANKS_PER_GROUP: 2,
    at.BANKS_PER_PSEUDO_CHANNEL: 8, at.QUEUE: 4,
}  # fmt: skip


def words(changes=None) -> np.ndarray:
    table = {**TIMING, **(changes or {})}
    return np.array([table[i] for i in range(len(table))])


def first_cycle(given, command, bank, changes=None) -> int:
    """When `command` may go to `bank` after commands (command, bank, cycle)."""
    columns = np.array(given, dtype=np.int64).reshape(-1, 3)
    return earliest(words(changes), columns[:, 0], columns[:, 1], columns[:, 2], command, bank)


WRITTEN = TIMING[at.CWL] + TIMING[at.BL]
OTHER_BANK, OTHER_GROUP = 1, 2
EDGES = {
    "tRCD of a read": (ACT, RD, 0, TIMING[at.RCD_RD]),
    "tRCD of a write": (ACT, WR, 0, TIMING[at.RCD_WR]),
    "tRAS": (ACT, PRE, 0, TIMING[at.RAS]),
    "tRC": (ACT, ACT, 0, TIMING[at.RAS] + TIMING[at.RP]),
    "tRP": (PRE, ACT, 0, TIMING[at.RP]),
    "tRRD_L": (ACT, ACT, OTHER_BANK, TIMING[at.RRD_L]),
    "tRRD_S": (ACT, ACT, OTHER_GROUP, TIMING[at.RRD_S]),
    "tCCD_L of reads": (RD, RD, OTHER_BANK, TIMING[at.CCD_L]),
    "tCCD_S of reads": (RD, RD, OTHER_GROUP, TIMING[at.CCD_S]),
    "tCCD_L of writes": (WR, WR, OTHER_BANK, TIMING[at.CCD_L]),
    "tCCD_S of writes": (WR, WR, OTHER_GROUP, TIMING[at.CCD_S]),
    "tRTP": (RD, PRE, 0, TIMING[at.RTP]),
    "tWR": (WR, PRE, 0, WRITTEN + TIMING[at.WRITE_RECOVERY]),
    "tWTR_L": (WR, RD, OTHER_BANK, WRITTEN + TIMING[at.WTR_L]),
    "tWTR_S": (WR, RD, OTHER_GROUP, WRITTEN + TIMING[at.WTR_S]),
    "read to write": (RD, WR, OTHER_GROUP, TIMING[at.RTW]),
}


@pytest.mark.parametrize("name", EDGES)
def test_a_command_may_go_from_its_edge_on(name):
    before, after, bank, cycles = EDGES[name]
    assert first_cycle([(before, 0, 100)], after, bank) == 100 + cycles


def test_tfaw_counts_from_the_fourth_activation_before():
    acts = [(ACT, bank, cycle) for bank, cycle in ((0, 3), (2, 7), (4, 11), (6, 15))]
    assert first_cycle(acts[:3], ACT, 1) == 11 + TIMING[at.RRD_S]
    assert first_cycle(acts, ACT, 1) == 3 + TIMING[at.FAW]


@pytest.mark.parametrize("before, after", [(ACT, ACT), (RD, RD), (WR, RD)])
def test_pseudo_channels_do_not_hold_each_other_up(before, after):
    assert first_cycle([(before, 0, 100)], after, 4, {at.BANKS_PER_PSEUDO_CHANNEL: 4}) == 0


def served(requests, changes=None) -> list[int]:
    """Cycles at which requests (arrival, is write, bank, row, bursts) are done."""
    arrival, write, bank, row, bursts = np.array(requests, dtype=np.int64).T.copy()
    done = np.zeros(len(arrival), np.int64)
    first = np.arange(len(arrival) + 1)
    simulate(words(changes), arrival, write, first, bank, row, bursts, done)
    return done.tolist()


OPEN_READ = TIMING[at.RCD_RD] + TIMING[at.CL] + TIMING[at.BL]


def test_a_read_takes_rcd_cl_and_its_bursts():
    assert served([(5, 0, 0, 0, 3)]) == [5 + OPEN_READ + 2 * TIMING[at.CCD_L]]


def test_a_conflict_waits_for_ras_and_rp():
    both = served([(0, 0, 0, 0, 1), (0, 0, 0, 1, 1)])
    assert both == [OPEN_READ, TIMING[at.RAS] + TIMING[at.RP] + OPEN_READ]


def test_bursts_of_two_groups_fill_the_bus():
    """The second row opens tRRD_S = tCCD_L later: its bursts go between the first one's."""
    done = served([(0, 0, 0, 0, 8), (0, 0, 2, 0, 8)])
    first = OPEN_READ + 7 * TIMING[at.CCD_L]
    assert done == [first, first + TIMING[at.RRD_S] + TIMING[at.CCD_S]]


def test_a_younger_hit_goes_before_a_conflict_of_its_bank():
    first, conflict, hit = served([(0, 0, 0, 0, 1), (1, 0, 0, 1, 1), (2, 0, 0, 0, 1)])
    assert first < hit < conflict


def test_an_overdue_request_is_passed_over_no_more():
    hits = [(2 + i, 0, 0, 0, 1) for i in range(12)]
    _, conflict, *done = served([(0, 0, 0, 0, 1), (1, 0, 0, 1, 1), *hits])
    assert sum(cycle < conflict for cycle in done) == TIMING[at.QUEUE]


def test_requests_are_grouped_by_direction():
    """The bus turns once: reads that wait go before the write, though they are younger."""
    write, *reads = served([(0, 1, 0, 0, 1), (0, 0, 2, 0, 1), (0, 0, 4, 0, 1)])
    assert write > max(reads)


@pytest.mark.parametrize("arrival, late", [(982, False), (983, True)])
def test_a_refresh_stops_column_commands_from_its_due_cycle_on(arrival, late):
    """Due at 1,000. tRCD is 17: a read at 999 still goes, one at 1,000 does not."""
    (done,) = served([(arrival, 0, 0, 0, 1)], {at.REFI: 1000})
    closed = arrival + TIMING[at.RAS]
    refreshed = closed + TIMING[at.RP] + TIMING[at.RFC]
    assert done == (refreshed if late else arrival) + OPEN_READ


def test_one_bus_takes_one_command_a_cycle():
    """Random single bursts with nothing else in the way: PRE, ACT and RD each."""
    free = dict.fromkeys(
        (at.RCD_RD, at.RP, at.RAS, at.RRD_S, at.RRD_L, at.FAW, at.RTP, at.CCD_L), 1
    )
    bus = {at.CCD_S: 1, at.CCD_L: 1, at.SHARED_BUS: at.SHARED, at.QUEUE: 16}
    done = served([(0, 0, i % 8, i, 1) for i in range(800)], free | bus)
    assert max(done) == pytest.approx(3 * 800, rel=0.02)
