"""Figures of one HBM2 channel that Ramulator 2 gives → ours and our command-level channel's.

Its channel (8 Gb, 2.5 Gb/s, RoBaRaCoCh, FR-FCFS, queue of 256, all-bank refresh, requests of 32 B
as fast as they are taken) is two pseudo-channels under one command a cycle, so that a cycle moves
one request at most: 32 columns of a row need 34 commands, a random request needs 3. Its sequential
0.869 leaves (0.869 · 34/32 = 0.923) 7.7 % to refreshes, which rules out the 350 ns of an 8 Gb die
(9 % by itself): tRFC here is 260 ns. The kernel sees one channel of all 32 banks and, as bus of
commands, t_cmd.

Random reads are not explained. ACT holds the row bus for two cycles; a column command may go in
the second. The command-level channel uses four in ten of those (0.255 of the peak; 0.307 if ACT
took one cycle), Ramulator 2 more (0.276), the kernel, which has no such rule, all (0.307). Its
public sources differ by version: one command a cycle (the generic controller), or a row and a
column command in one (the later one for HBM), with tRRD of 5 cycles, 421 of 4,682 cycles to
refreshes, and 8 columns a row after the prefetch. Of sequential and random reads those give here,
at command level: one a cycle 0.84 and 0.25; two 0.90 and 0.30, with 8 columns 0.89 and 0.30. The
published 0.869 and 0.276 lie between, and which version they are of is not recorded; so these
timings stay.
"""

import numpy as np

from npusim.spec.memory import DramTiming
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.data import read_rows
from npusim.validate.dram import commands as at
from npusim.validate.dram.channel import simulate
from npusim.validate.dram.ours import ours
from npusim.validate.dram.requests import Requests

CLOCK_NS = 0.8  # 2.5 Gb/s
QUEUE = 256
BURST_BYTES, COLUMNS, BANKS = 32, 32, 32
TICK_MHZ = 2500  # two ticks a cycle
# HBM2 preset in cycles (npusim/validate/data/README.md), as hw_configs/parts/hbm2.yaml
CYCLES = {
    at.RCD_RD: 17, at.RCD_WR: 14, at.RP: 17, at.RAS: 40, at.RRD_S: 4, at.RRD_L: 5, at.FAW: 19,
    at.CCD_S: 2, at.CCD_L: 4, at.RTP: 6, at.WRITE_RECOVERY: 19, at.WTR_S: 8, at.WTR_L: 10,
    at.RTW: 15, at.CL: 17, at.CWL: 6, at.BL: 2, at.REFI: 4875, at.RFC: 325, at.ACT_SLOTS: 2,
    at.COLUMN_SLOTS: 1, at.SHARED_BUS: at.ONE_A_CYCLE, at.BANKS: BANKS, at.BANKS_PER_GROUP: 4,
    at.BANKS_PER_PSEUDO_CHANNEL: BANKS // 2, at.QUEUE: QUEUE,
}  # fmt: skip


def family(full: bool) -> Family:
    """Shares of the peak, 32 bytes a cycle, by pattern."""
    comparisons = []
    for row in read_rows("ramulator2_hbm2_channel.csv"):
        name, published = row["pattern"], float(row["requests_per_cycle"])
        count = int(row["requests_32B"]) if full else 6000
        comparisons += [
            Comparison(f"{name}, kernel", _kernel(name, count), published, "of peak"),
            Comparison(f"{name}, command level", commands(name, count), published, "of peak"),
        ]
    note = "random: between our rules of one and of two commands a cycle; its version is unknown"
    return Family("dram", "ramulator2", "Ramulator 2, HBM2", tuple(comparisons), GOAL, note)


GOAL = Goal("worst", 0.05)


def _bursts(name: str, count: int) -> np.ndarray:
    if name.startswith("seq"):
        return np.arange(count)
    return np.random.default_rng(0).integers(0, 1 << 24, count)


def commands(name: str, count: int) -> float:
    """Requests a cycle of the command-level channel, its banks in the order of RoBaRaCoCh: columns
    first, then pseudo-channel, bank group, bank and row."""
    burst = _bursts(name, count)
    run = burst // COLUMNS
    bank = run % 2 * (BANKS // 2) + run // 2 % 4 * 4 + run // 8 % 4
    words = np.array([CYCLES[i] for i in range(len(CYCLES))])
    done, writes = np.zeros(count, np.int64), np.full(count, int(name.endswith("write")))
    ones = np.ones(count, np.int64)
    simulate(words, np.arange(count), writes, np.arange(count + 1), bank, run // BANKS, ones, done)
    return float(count / done.max())


def _kernel(name: str, count: int) -> float:
    """Requests a cycle of the engine's kernel, for which the pseudo-channels are one channel: what
    holds in one of them is half as long."""
    ns = {i: cycles * CLOCK_NS for i, cycles in CYCLES.items()}
    timing = DramTiming(
        channel_gb_s=BURST_BYTES / CLOCK_NS, burst_bytes=BURST_BYTES, bank_groups=8,
        banks_per_group=4, row_bytes=BURST_BYTES * COLUMNS, t_rcd_ns=ns[at.RCD_RD],
        t_rcd_wr_ns=ns[at.RCD_WR], t_rp_ns=ns[at.RP], t_cl_ns=ns[at.CL], t_cwl_ns=ns[at.CWL],
        t_ras_ns=ns[at.RAS], t_rrd_ns=ns[at.RRD_S] / 2, t_rrd_l_ns=ns[at.RRD_L],
        t_faw_ns=ns[at.FAW] / 2, t_ccd_l_ns=ns[at.CCD_L], t_rtp_ns=ns[at.RTP],
        t_wtr_ns=ns[at.WTR_S], t_wtr_l_ns=ns[at.WTR_L], t_rtw_ns=ns[at.RTW],
        t_wr_ns=ns[at.WRITE_RECOVERY], t_refi_ns=ns[at.REFI], t_rfc_ns=ns[at.RFC],
        t_cmd_ns=CLOCK_NS,
    )  # fmt: skip
    requests = Requests(
        arrival_ns=np.arange(count) * (1000 / TICK_MHZ),  # one a tick
        address=_bursts(name, count) * BURST_BYTES,
        bytes=np.full(count, BURST_BYTES),
        is_write=np.full(count, name.endswith("write")),
    )
    return ours(timing, QUEUE, requests, TICK_MHZ).gb_s / timing.channel_gb_s
