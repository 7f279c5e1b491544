"""DRAM timing of the reference engine, each rule at its edge, in ps."""

import pytest

from npusim.engine.reference.dram import READ, WRITE, Dram, Timing

BASE = {
    "mb_s": 64_000, "burst_bytes": 64, "row_bytes": 1024, "num_banks": 4, "t_rcd": 14_000,
    "t_rp": 13_000, "t_cl": 12_000, "t_cwl": 10_000, "t_ras": 32_000, "t_rrd": 4_000,
    "t_faw": 30_000, "t_ccd_l": 0, "t_wtr": 8_000, "t_rtw": 5_000, "t_wr": 15_000, "t_refi": 0,
    "t_rfc": 0,
}  # fmt: skip
BURST = 1_000  # 64 bytes at 64 bytes/ns
OPEN = 14_000 + 12_000  # tRCD + tCL: a closed bank's first data


def dram(**changes) -> Dram:
    return Dram(Timing(**{**BASE, **changes}))


def row(number: int, bank: int = 0) -> int:
    """Address of a row of a bank."""
    return (number * 4 + bank) * 1024


def test_row_miss_then_hit():
    d = dram()
    assert d.access(0, 0, 64, READ) == (OPEN, OPEN + BURST)
    assert d.access(100_000, 64, 128, READ) == (112_000, 112_000 + 2 * BURST)
    assert (d.row_misses, d.row_hits, d.busy_ps) == (1, 2, 3 * BURST)


def test_hit_waits_for_column_ok():
    d = dram()
    d.access(0, 0, 64, READ)
    assert d.access(1_000, 64, 64, READ) == (OPEN + BURST, OPEN + 2 * BURST)


@pytest.mark.parametrize("now, precharge", [(31_999, 32_000), (32_000, 32_000), (32_001, 32_001)])
def test_bank_conflict_waits_for_ras(now, precharge):
    d = dram()
    d.access(0, 0, 64, READ)  # data ends at 27,000: tRAS holds the precharge
    start, _ = d.access(now, row(1), 64, READ)
    assert start == precharge + 13_000 + OPEN


@pytest.mark.parametrize("now, precharge", [(39_999, 40_000), (40_001, 40_001)])
def test_bank_conflict_waits_for_write_recovery(now, precharge):
    d = dram(t_ras=0)
    assert d.access(0, 0, 64, WRITE) == (24_000, 25_000)  # tRCD + tCWL
    start, _ = d.access(now, row(1), 64, WRITE)
    assert start == precharge + 13_000 + 24_000


def test_long_read_holds_its_row_until_the_data_has_ended():
    d = dram(t_ras=0)
    _, end = d.access(0, 0, 1024, READ)
    start, _ = d.access(0, row(1), 64, READ)
    assert start == end + 13_000 + OPEN


def test_rrd_between_activations():
    d = dram()
    d.access(0, row(0, 0), 64, READ)
    assert d.access(0, row(0, 1), 64, READ)[0] == 4_000 + OPEN
    assert d.access(8_001, row(0, 2), 64, READ)[0] == 8_001 + OPEN


@pytest.mark.parametrize("faw, fifth", [(40_000, 40_000), (40_001, 40_001)])
def test_fifth_activation_waits_for_faw(faw, fifth):
    d = Dram(Timing(**{**BASE, "num_banks": 8, "t_faw": faw}))
    for bank in range(4):
        d.access(bank * 10_000, bank * 1024, 64, READ)
    assert d.access(40_000, 4 * 1024, 64, READ)[0] == fifth + OPEN


def test_read_to_write_turnaround():
    d = dram()
    _, end = d.access(0, 0, 64, READ)
    assert d.access(0, 64, 64, WRITE)[0] == end + 5_000


def test_write_to_read_turnaround():
    d = dram()
    _, end = d.access(0, 0, 64, WRITE)
    assert d.access(0, 64, 64, READ)[0] == end + 8_000 + 12_000


@pytest.mark.parametrize("now, refreshed", [(99_999, False), (100_000, True)])
def test_refresh_is_due_at_refi(now, refreshed):
    d = dram(t_refi=100_000, t_rfc=50_000)
    d.access(0, 0, 64, READ)
    start, _ = d.access(now, 64, 64, READ)
    assert start == (150_000 + OPEN if refreshed else now + 12_000)


def test_several_refreshes_are_one_step_that_begins_at_the_last():
    d = dram(t_refi=100_000, t_rfc=50_000)
    assert d.access(320_000, 0, 64, READ)[0] == 300_000 + 50_000 + OPEN
    assert d.next_refresh == 400_000


def test_unit_over_two_rows_activates_the_second_in_the_shadow_of_the_first():
    d = dram()
    start, end = d.access(0, 0, 2048, READ)
    first_end = OPEN + 16 * BURST  # 42,000; the second row is looked at 39,000 before
    assert (start, end) == (OPEN, first_end + 16 * BURST)
    assert d.row_misses == 2 and d.row_hits == 30


@pytest.mark.parametrize("ccd, data", [(1_000, 4_000), (1_001, 3 * 1_001 + 1_000)])
def test_ccd_longer_than_a_burst_spaces_the_bursts(ccd, data):
    start, end = dram(t_ccd_l=ccd).access(0, 0, 256, READ)
    assert end - start == data


def test_data_time_is_rounded_up_once():
    start, end = dram(mb_s=51_199).access(0, 0, 640, READ)
    assert end - start == -(-640 * 1_000_000 // 51_199) == 12_501


def test_unaligned_bytes_touch_one_burst_more():
    start, end = dram().access(0, 63, 66, READ)
    assert end - start == 3 * BURST


def test_a_row_hit_in_the_direction_of_the_bus_is_readiest():
    d = dram()
    _, end = d.access(0, 0, 64, READ)
    hit, turned = d.readiness(0, 64, READ), d.readiness(0, 64, WRITE)
    assert hit == (end, False) and turned[0] > end
    closed, conflict = d.readiness(end, row(0, bank=1), READ), d.readiness(end, row(1), READ)
    assert hit < closed < conflict and closed[1] and conflict[1]


def test_an_idle_bank_is_readier_than_a_busy_one_with_another_row_open():
    """Random accesses: the channel does not wait for a bank while others are free."""
    d = dram()
    d.access(0, 0, 64, READ)
    busy, idle = d.readiness(0, row(1), READ), d.readiness(0, row(0, bank=1), READ)
    t = d.timing
    assert idle == (max(d.bus_free, t.t_rcd + t.t_cl), True)
    assert busy == (d.banks[0].precharge_ok + t.t_rp + t.t_rcd + t.t_cl, True)
