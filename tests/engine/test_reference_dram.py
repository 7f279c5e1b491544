"""DRAM timing of the reference engine, each rule at its edge, in ps."""

import pytest

from npusim.engine.reference.dram import READ, WRITE, Dram, Timing

BASE = {
    "mb_s": 64_000, "burst_bytes": 64, "row_bytes": 1024, "num_banks": 4, "num_groups": 2,
    "block_bytes": 0, "t_rcd": 14_000, "t_rcd_wr": 9_000, "t_rp": 13_000, "t_cl": 12_000,
    "t_cwl": 10_000, "t_ras": 32_000, "t_rrd": 4_000, "t_rrd_l": 6_000, "t_faw": 30_000,
    "t_ccd_l": 0, "t_rtp": 5_000, "t_wtr": 8_000, "t_wtr_l": 9_500, "t_rtw": 7_000,
    "t_wr": 15_000, "t_refi": 0, "t_rfc": 0, "t_cmd": 0,
}  # fmt: skip
BURST = 1_000  # 64 bytes at 64 bytes/ns
OPEN = 14_000 + 12_000  # tRCD + tCL: a closed bank's first read data
OPEN_TO_WRITE = 9_000 + 10_000
LEAD = 40_000


def dram(**changes) -> Dram:
    return Dram(Timing(**{**BASE, **changes}))


def access(d: Dram, now: int, address: int, num_bytes: int, direction: str = READ):
    """(start, end) of the data."""
    return d.access(now, LEAD, address, num_bytes, direction)


def row(number: int, bank: int = 0) -> int:
    """Address of a row of a bank; banks 0 and 2 are one group, 1 and 3 the other."""
    return (number * 4 + bank) * 1024


def test_row_miss_then_hit():
    d = dram()
    assert access(d, 0, 0, 64) == (OPEN, OPEN + BURST)
    assert access(d, 100_000, 64, 128) == (112_000, 112_000 + 2 * BURST)
    assert (d.row_misses, d.row_hits, d.busy_ps) == (1, 2, 3 * BURST)


def test_hit_waits_for_the_open_row():
    d = dram()
    access(d, 0, 0, 64)
    assert access(d, 1_000, 64, 64) == (OPEN + BURST, OPEN + 2 * BURST)


def test_a_write_needs_its_own_time_after_the_activation():
    assert access(dram(), 0, 0, 64, WRITE) == (OPEN_TO_WRITE, OPEN_TO_WRITE + BURST)


@pytest.mark.parametrize("now, precharge", [(31_999, 32_000), (32_000, 32_000), (32_001, 32_001)])
def test_bank_conflict_waits_for_ras(now, precharge):
    d = dram()
    access(d, 0, 0, 64)  # the read command goes at 14,000: tRAS holds the precharge
    assert d.begins(now, row(1)) == precharge
    assert access(d, now, row(1), 64)[0] == precharge + 13_000 + OPEN


@pytest.mark.parametrize("now, precharge", [(18_999, 19_000), (19_001, 19_001)])
def test_bank_conflict_waits_for_rtp_after_the_last_read_command(now, precharge):
    d = dram(t_ras=0)
    access(d, 0, 0, 64)  # the read command goes at tRCD
    assert access(d, now, row(1), 64)[0] == precharge + 13_000 + OPEN


def test_long_read_holds_its_row_up_to_its_last_command():
    d = dram(t_ras=0)
    _, end = access(d, 0, 0, 1024)
    last_command = end - BURST - 12_000
    assert access(d, 0, row(1), 64)[0] == last_command + 5_000 + 13_000 + OPEN


@pytest.mark.parametrize("now, precharge", [(34_999, 35_000), (35_001, 35_001)])
def test_bank_conflict_waits_for_write_recovery(now, precharge):
    d = dram(t_ras=0)
    access(d, 0, 0, 64, WRITE)  # the data ends at 20,000
    assert access(d, now, row(1), 64, WRITE)[0] == precharge + 13_000 + OPEN_TO_WRITE


@pytest.mark.parametrize("bank, apart", [(1, 4_000), (2, 6_000)])
def test_rrd_between_activations_of_two_groups_and_of_one(bank, apart):
    d = dram()
    access(d, 0, row(0, 0), 64)
    assert access(d, 0, row(0, bank), 64)[0] == apart + OPEN


@pytest.mark.parametrize("faw, fifth", [(40_000, 40_000), (40_001, 40_001)])
def test_fifth_activation_waits_for_faw(faw, fifth):
    d = dram(num_banks=8, t_faw=faw)
    for bank in range(4):
        access(d, bank * 10_000, bank * 1024, 64)
    assert access(d, 40_000, 4 * 1024, 64)[0] == fifth + OPEN


def test_read_to_write_turnaround_is_between_commands():
    d = dram()
    _, end = access(d, 0, 0, 64)
    read_command = end - BURST - 12_000
    assert access(d, 0, 64, 64, WRITE)[0] == max(end, read_command + 7_000 + 10_000)
    d = dram(t_rtw=20_000)
    access(d, 0, 0, 64)
    assert access(d, 0, 64, 64, WRITE)[0] == read_command + 20_000 + 10_000


@pytest.mark.parametrize("bank, wait", [(0, 9_500), (1, 8_000)])
def test_write_to_read_turnaround_in_a_group_and_out_of_it(bank, wait):
    d = dram()
    access(d, 0, row(0, 1), 64)  # opens the other group's row
    _, end = access(d, 100_000, 0, 64, WRITE)
    assert access(d, 0, row(0, bank), 64)[0] == end + wait + 12_000


@pytest.mark.parametrize("now, refreshed", [(87_999, False), (88_000, True)])
def test_a_refresh_comes_before_a_command_that_would_not_be_earlier(now, refreshed):
    """Due at 100,000; the row hit's read command would go at `now` + 12,000 - tCL."""
    d = dram(t_refi=100_000, t_rfc=50_000)
    access(d, 0, 0, 64)
    late = now + 12_000
    start, _ = access(d, late, 64, 64)
    closed = 100_000 + 13_000 + 50_000
    assert start == (closed + OPEN if refreshed else late + 12_000)


def test_a_refresh_waits_for_the_row_that_was_just_opened():
    d = dram(t_refi=100_000, t_rfc=50_000)
    start, _ = access(d, 90_000, 0, 64)  # its read would go at 104,000
    assert start == 90_000 + 32_000 + 13_000 + 50_000 + OPEN
    assert (d.row_misses, d.row_hits) == (1, 0)


def test_several_refreshes_are_one_step_that_begins_at_the_last():
    d = dram(t_refi=100_000, t_rfc=50_000)
    assert access(d, 320_000, 0, 64)[0] == 300_000 + 50_000 + OPEN
    assert d.next_refresh == 400_000


def test_a_refresh_interrupts_a_unit():
    """Read commands at 94,000 and on: six go before 100,000, ten after."""
    d = dram(t_refi=100_000, t_rfc=50_000)
    start, end = access(d, 80_000, 0, 1024)
    assert start == 80_000 + OPEN
    reopened = 80_000 + 32_000 + 13_000 + 50_000  # tRAS, tRP, tRFC
    assert end == reopened + OPEN + 10 * BURST
    assert (d.row_misses, d.row_hits) == (2, 14)


def test_unit_over_two_rows_activates_the_second_in_the_shadow_of_the_first():
    d = dram()
    start, end = access(d, 0, 0, 2048)
    first_end = OPEN + 16 * BURST  # 42,000; the second row is looked at 40,000 before
    assert (start, end) == (OPEN, first_end + 16 * BURST)
    assert d.row_misses == 2 and d.row_hits == 30


@pytest.mark.parametrize("ccd, data", [(1_000, 4_000), (1_001, 3 * 1_001 + 1_000)])
def test_ccd_longer_than_a_burst_spaces_the_bursts_of_a_group(ccd, data):
    start, end = dram(t_ccd_l=ccd).access(0, LEAD, 0, 256, READ)
    assert end - start == data


def test_another_group_fills_the_bus_that_ccd_leaves_free():
    d = dram(t_ccd_l=2_000)
    access(d, 0, row(0, 1), 64)
    access(d, 0, row(0, 0), 64)
    access(d, 100_000, row(0, 0), 256)  # bus until 116,000, the group until 120,000
    assert access(d, 100_000, row(0, 1) + 64, 64)[0] == 116_000
    assert access(d, 100_000, row(0, 0) + 256, 64)[0] == 120_000


def test_blocks_take_turns_between_two_groups():
    d = dram(block_bytes=128)
    assert [d.place(a) for a in (0, 127, 128, 256, 2047, 2048, 4096)] == [
        (0, 0), (0, 0), (1, 0), (0, 0), (1, 0), (2, 0), (0, 1)]  # fmt: skip
    assert d.set_of(2047) == 0 and d.set_of(2048) == 1


def test_alternating_blocks_reach_the_data_rate():
    start, end = dram(block_bytes=64, t_ccd_l=2_000, t_rrd=1_000).access(0, LEAD, 0, 512, READ)
    assert end - start == 8 * BURST
    start, end = dram(block_bytes=64, t_ccd_l=2_000).access(0, LEAD, 0, 512, READ)
    second = 4_000 + 3 * 2_000 + BURST  # its row opens tRRD later
    assert end - start == second


def test_commands_of_a_shared_bus_take_their_time():
    d = dram(t_cmd=1_500)
    access(d, 0, 0, 256)
    assert d.bus_free == OPEN + (4 + 2) * 1_500  # four reads, PRE and ACT


def test_data_time_is_rounded_up_once():
    start, end = dram(mb_s=51_199).access(0, LEAD, 0, 640, READ)
    assert end - start == -(-640 * 1_000_000 // 51_199) == 12_501


def test_unaligned_bytes_touch_one_burst_more():
    start, end = access(dram(), 0, 63, 66)
    assert end - start == 3 * BURST


def test_of_waiting_units_one_that_needs_no_turn_is_readiest_then_one_whose_bank_is_free():
    d = dram()
    _, end = access(d, 0, 0, 64)
    hit, turned = d.readiness(0, 64, READ), d.readiness(0, 64, WRITE)
    assert hit == (False, False, end) and turned[0]
    closed = d.readiness(0, row(0, bank=1), READ)
    conflict = d.readiness(0, row(1), READ)
    assert closed == (False, False, end - BURST + BURST)
    assert conflict == (False, True, 32_000 + 13_000 + OPEN)
    assert sorted([turned, conflict, closed]) == [closed, conflict, turned]
