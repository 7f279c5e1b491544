"""A part's timing and a list of requests → what the command-level channel takes, and its figures.

Times in ns become whole cycles of the channel's clock, rounded up as JEDEC does; addresses become
banks and rows by the mapping that npusim/README.md states ("DRAM channel").
"""

from dataclasses import dataclass
from math import ceil

import numpy as np

from npusim.spec.memory import DramTiming
from npusim.validate.dram import commands as at
from npusim.validate.dram.channel import simulate

BURST_CYCLES = {"ddr5": 8}  # BL16 on a clock of half the data rate; the others: 2
# (one bus for all commands, cycles of ACT, cycles of RD and WR). HBM has a row and a column bus.
ROW_AND_COLUMN_BUS = (0, 2, 1)  # JESD235, JESD238: ACT takes two cycles of the row bus
# LPDDR5's ACT is two commands that others may come between: Assumes ACT-1 is never in the way.
BUSES = {"ddr5": (1, 2, 2), "lpddr5x": (1, 1, 1), "gddr6": (1, 1, 1)}  # JESD79-5, 209-5, 250
ROUNDING = 0.02  # of a cycle: figures in files are rounded


@dataclass(frozen=True)
class Requests:
    """Reads and writes at one channel: arrival in ns, address, bytes, whether it is a write."""

    arrival_ns: np.ndarray
    address: np.ndarray
    bytes: np.ndarray
    is_write: np.ndarray

    def __len__(self) -> int:
        return len(self.address)


@dataclass(frozen=True)
class Figures:
    """Of a run: bytes moved over the time to the end of the last data, and the mean time from a
    request's arrival to the end of its data."""

    gb_s: float
    latency_ns: float


@dataclass(frozen=True)
class Clocked:
    """A part's timing in cycles of `clock_ns`: the words of commands.py."""

    words: np.ndarray
    clock_ns: float


def clocked(timing: DramTiming, part: str, queue: int) -> Clocked:
    """`part` names the kind of memory, for its clock and command buses."""
    burst_cycles = BURST_CYCLES.get(part, 2)
    clock_ns = timing.burst_bytes / timing.channel_gb_s / burst_cycles
    shared, act_slots, column_slots = BUSES.get(part, ROW_AND_COLUMN_BUS)

    def cycles(name: str) -> int:
        return ceil(timing.ns(name) / clock_ns - ROUNDING)

    words = {
        at.RCD_RD: cycles("t_rcd"), at.RCD_WR: cycles("t_rcd_wr"), at.RP: cycles("t_rp"),
        at.RAS: cycles("t_ras"), at.RRD_S: cycles("t_rrd"), at.RRD_L: cycles("t_rrd_l"),
        at.FAW: cycles("t_faw"), at.CCD_S: burst_cycles,
        at.CCD_L: max(burst_cycles, cycles("t_ccd_l")), at.RTP: cycles("t_rtp"),
        at.WRITE_RECOVERY: cycles("t_wr"), at.WTR_S: cycles("t_wtr"), at.WTR_L: cycles("t_wtr_l"),
        at.RTW: cycles("t_rtw"), at.CL: cycles("t_cl"), at.CWL: cycles("t_cwl"),
        at.BL: burst_cycles, at.REFI: cycles("t_refi"), at.RFC: cycles("t_rfc"),
        at.ACT_SLOTS: act_slots, at.COLUMN_SLOTS: column_slots, at.SHARED_BUS: shared,
        at.BANKS: timing.num_banks, at.BANKS_PER_GROUP: timing.banks_per_group,
        at.BANKS_PER_PSEUDO_CHANNEL: timing.num_banks, at.QUEUE: queue,
    }  # fmt: skip
    return Clocked(np.array([words[i] for i in range(len(words))]), clock_ns)


def place(timing: DramTiming, bursts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bank, row) of bursts by their number in the channel. Banks of a group are neighbours."""
    address = bursts * timing.burst_bytes
    spread = 2 if timing.group_block_bytes else 1
    run = address // (spread * timing.row_bytes)
    half = address // timing.group_block_bytes % 2 if spread == 2 else 0
    sets = timing.num_banks // spread
    label = run % sets * spread + half
    group, place_in_group = label % timing.bank_groups, label // timing.bank_groups
    return group * timing.banks_per_group + place_in_group, run // sets


def pieces(timing: DramTiming, requests: Requests) -> tuple[np.ndarray, ...]:
    """(first_piece, bank, row, bursts) of channel.simulate, in the order of addresses."""
    first = requests.address // timing.burst_bytes
    counts = (requests.address + requests.bytes - 1) // timing.burst_bytes - first + 1
    request = np.repeat(np.arange(len(requests)), counts)
    starts = np.cumsum(counts) - counts
    bank, row = place(timing, np.arange(len(request)) - starts[request] + first[request])
    keys = np.stack([request, row, bank])
    _, index, bursts = np.unique(keys, axis=1, return_index=True, return_counts=True)
    order = np.argsort(index)
    chosen = index[order]
    num_pieces = np.bincount(request[chosen], minlength=len(requests))
    first_piece = np.concatenate([[0], np.cumsum(num_pieces)])
    return first_piece, bank[chosen], row[chosen], bursts[order].astype(np.int64)


def reference(timing: DramTiming, part: str, queue: int, requests: Requests) -> Figures:
    """The figures of the command-level channel."""
    channel = clocked(timing, part, queue)
    arrival = np.ceil(requests.arrival_ns / channel.clock_ns - 1e-6).astype(np.int64)
    done = np.zeros(len(requests), np.int64)
    first, bank, row, bursts = pieces(timing, requests)
    writes = requests.is_write.astype(np.int64)
    simulate(channel.words, arrival, writes, first, bank, row, bursts, done)
    end_ns = done * channel.clock_ns
    return Figures(
        gb_s=float(requests.bytes.sum() / end_ns.max()),
        latency_ns=float((end_ns - requests.arrival_ns).mean()),
    )
