"""The DRAM suite's parts: addresses, pieces, traffic, and that both sides get the same."""

import numpy as np
import pytest

from npusim.engine.layout import TIMINGS
from npusim.engine.reference.dram import Dram, Timing
from npusim.units import ns_to_ps
from npusim.validate.dram import commands as at
from npusim.validate.dram.ours import ours, part_timing
from npusim.validate.dram.requests import Requests, clocked, pieces, place, reference
from npusim.validate.dram.suite import PARTS
from npusim.validate.dram.traffic import PATTERNS, requests


def one(address: int, num_bytes: int, arrival_ns: float = 0.0) -> Requests:
    return Requests(
        np.array([arrival_ns]), np.array([address]), np.array([num_bytes]), np.array([False])
    )


def engines_dram(timing) -> Dram:
    names = {name: ns_to_ps(timing.ns(name)) for name in TIMINGS}
    shape = {
        "mb_s": round(timing.channel_gb_s * 1000), "burst_bytes": timing.burst_bytes,
        "row_bytes": timing.row_bytes, "num_banks": timing.num_banks,
        "num_groups": timing.bank_groups, "block_bytes": timing.group_block_bytes,
    }  # fmt: skip
    return Dram(Timing(**shape, **names))


@pytest.mark.parametrize("part", PARTS)
def test_both_put_an_address_into_the_same_bank_of_the_same_group(part):
    timing, dram = part_timing(part), engines_dram(part_timing(part))
    bursts = np.random.default_rng(3).integers(0, 1 << 20, 300)
    banks, rows = place(timing, bursts)
    for burst, bank, row in zip(bursts.tolist(), banks, rows, strict=True):
        label, its_row = dram.place(burst * timing.burst_bytes)
        group, index = label % timing.bank_groups, label // timing.bank_groups
        assert (group, index) == divmod(bank, timing.banks_per_group) and its_row == row


@pytest.mark.parametrize("part", PARTS)
def test_times_are_whole_cycles_that_cover_the_ns(part):
    timing = part_timing(part)
    words, clock_ns = clocked(timing, part, 16).words, clocked(timing, part, 16).clock_ns
    for word, name in ((at.RCD_RD, "t_rcd"), (at.RP, "t_rp"), (at.CCD_L, "t_ccd_l")):
        cycles = words[word]
        assert (cycles - 1) * clock_ns < timing.ns(name) <= (cycles + 0.02) * clock_ns
    assert words[at.CCD_L] == 2 * words[at.CCD_S]
    assert words[at.BL] * clock_ns * timing.channel_gb_s == pytest.approx(timing.burst_bytes)


def test_a_request_over_blocks_and_rows_is_cut_into_pieces():
    timing = part_timing("hbm3")  # rows of 1 KiB, 64-byte blocks, bursts of 32 bytes
    first, bank, row, bursts = pieces(timing, one(2048 - 128, 256))
    assert first.tolist() == [0, 4] and bursts.tolist() == [2, 2, 2, 2]
    assert len(set(bank.tolist())) == 4 and set(row.tolist()) == {0}


@pytest.mark.parametrize("part", PARTS)
def test_a_lone_read_takes_the_same_time_in_both(part):
    timing = part_timing(part)
    lone = one(0, 64, arrival_ns=10.0)
    model, oracle = ours(timing, 16, lone), reference(timing, part, 16, lone)
    assert model.latency_ns == pytest.approx(oracle.latency_ns, abs=2.0)  # ticks are 1 ns


@pytest.mark.parametrize("name", PATTERNS)
def test_traffic_arrives_in_order_at_the_asked_rate(name):
    made = requests(name, 400, gb_s=4.0)
    assert (np.diff(made.arrival_ns) >= 1).all()
    assert made.bytes.sum() / made.arrival_ns[-1] == pytest.approx(4.0, rel=0.2)
    assert not (made.address % PATTERNS[name].size).any()
    assert made.is_write.mean() == pytest.approx(1 / 3 if PATTERNS[name].mixed else 0, abs=0.01)


def test_a_saturated_stream_is_within_a_percent():
    timing = part_timing("hbm3")
    made = requests("stream of 4 KiB", 200, gb_s=100.0)
    model, oracle = ours(timing, 16, made), reference(timing, "hbm3", 16, made)
    assert model.gb_s == pytest.approx(oracle.gb_s, rel=0.01)
    assert model.gb_s > 0.88 * timing.channel_gb_s  # refreshes take 9 %
