"""Tables of the transaction level → those of the analytic level: fewer servers and larger units.

Both engines run these tables by the same rules; only what they hold is coarser.

* Memory: one FIFO server an instance (a port, for edge memory), at what a stream sustains. Assumes
  no banks, rows, refreshes or read-write turnarounds: they are in the efficiency, or left out.
* NoC: a private link for every (source, destination) pair that the program uses. Assumes that
  messages never wait for one another, but where one sender injects them; no locks. What a core
  loads from edge memory comes in one after the other, as its DMA engines ask for it.
* A transfer is one unit (a few, from edge memory), a message one packet. Assumes that DMA engines
  have enough units in flight; a scratchpad's port bounds what they take and slows its arrays.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from npusim.engine.tables import COMPUTE, LOAD, RECV, SEND, STORE, Channels, Tasks, Wiring
from npusim.machine.analytic_noc import FAR_BYTES, private_links
from npusim.spec.hardware import DramTiming, Hardware, Memory
from npusim.spec.scenario import Fidelity
from npusim.units import cycles_to_ps, ns_to_ps, ps_to_cycles

TINY = 1e-6  # of a tick: what rounding of fractions may not turn into a tick
PIECES = 16  # of a transfer that passes memory, port and link in turn: 1/16 is not overlapped


@dataclass(frozen=True)
class Tables:
    """What an engine is given, and of each channel the name and peak that a user reads."""

    wiring: Wiring
    tasks: Tasks
    channel_names: list[str]
    channel_gb_s: np.ndarray


def coarsen(tables: Tables, hw: Hardware, fidelity: Fidelity) -> Tables:
    """The tables with each subsystem at its level; the same ones when nothing is analytic.

    Raises CapacityError when an analytic NoC would need links for too many pairs.
    """
    if fidelity.memory == "analytic":
        tables = _coarse_memory(tables, hw, whole=_has_whole_transfers(hw, fidelity))
    if fidelity.noc == "analytic":
        tables = replace(tables, wiring=private_links(tables.wiring, tables.tasks))
    if "analytic" in (fidelity.memory, fidelity.noc):
        tables = _free_ports(tables)
    return tables


def _has_whole_transfers(hw: Hardware, fidelity: Fidelity) -> bool:
    """Units of edge memory stay small where they share the links of a NoC."""
    return fidelity.noc == "analytic" or all(memory.attach != "edge" for memory in hw.memories)


def sustained_fraction(memory: Memory) -> float:
    """Share of the peak that a sequential stream sustains: `efficiency_fraction`, or by default
    what the timing leaves of it: a refresh takes tRFC of every tREFI, bursts of one bank group
    (all groups take turns) follow one another no closer than tCCD_L, and rows are opened no faster
    than tRRD, tFAW / 4 and, over all banks in turn, tRAS + tRP allow."""
    if memory.efficiency_fraction is not None:
        return memory.efficiency_fraction
    t: DramTiming = memory.timing
    refreshing = t.t_rfc_ns / t.t_refi_ns if t.t_refi_ns else 0.0
    burst_ns, row_ns = t.burst_bytes / t.channel_gb_s, t.row_bytes / t.channel_gb_s
    column_fraction = burst_ns / max(burst_ns, t.t_ccd_l_ns / t.bank_groups)
    open_ns = max(t.t_rrd_ns, t.t_faw_ns / 4, (t.t_ras_ns + t.t_rp_ns) / t.num_banks)
    row_fraction = row_ns / max(row_ns / column_fraction, open_ns)
    return (1 - refreshing) * row_fraction


def _coarse_memory(tables: Tables, hw: Hardware, whole: bool) -> Tables:
    """A server for every instance, or port of one; `whole`: transfers are not cut into units."""
    wiring, instances = tables.wiring, hw.memory_instances()
    ports = np.array([len(i.memory.ports) for i in instances], np.int64)
    counts = np.maximum(1, ports)
    owner = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    numbers = np.arange(len(owner)) - first[owner]
    kept = wiring.memory_first_channel[owner] + numbers
    gb_s = np.array([i.memory.gb_s for i in instances])[owner] / counts[owner]
    rate = _served_gb_s(wiring, instances)[owner] / counts[owner]
    memories = [instances[i].memory for i in owner]
    changed: dict[str, Any] = {
        "channels": _servers(wiring, kept, rate, memories),
        "memory_first_channel": first,
        "memory_num_channels": counts,
    }
    tasks = tables.tasks
    if whole:
        changed["memory_interleave"] = np.full(len(counts), FAR_BYTES)
        changed["dma_unit_bytes"] = np.full(wiring.num_cores, FAR_BYTES)
        tasks = _whole_transfers(tasks, ports, wiring.memory_interleave)
    names = [tables.channel_names[k].rsplit(" ch", 1)[0] for k in kept]
    names = [
        f"{name} port {number}" if memory.ports else name
        for name, memory, number in zip(names, memories, numbers, strict=True)
    ]
    return Tables(replace(wiring, **changed), tasks, names, gb_s)


def _served_gb_s(wiring: Wiring, instances: list) -> np.ndarray:
    """By instance: what a stream sustains; of direct memory, at most what its cores' ports take."""
    port_gb_s = wiring.port_den / wiring.port_num * wiring.khz / 1e6
    rates = []
    for instance in instances:
        rate = instance.memory.gb_s * sustained_fraction(instance.memory)
        takes = port_gb_s[list(instance.cores)].sum()
        rates.append(rate if instance.memory.ports else min(rate, takes))
    return np.array(rates)


def _servers(wiring: Wiring, kept: np.ndarray, rate_gb_s: np.ndarray, memories: list) -> Channels:
    """Channels of one row that is always open: bytes take their time, nothing else does. The time
    to open a row is part of the response; with a tRP of a tick the next unit is looked at a tick
    before the data ends, so that rounding to ticks loses nothing."""
    rows = {f.name: getattr(wiring.channels, f.name)[kept] for f in fields(Channels)}
    timings = {name: np.zeros_like(column) for name, column in rows.items() if name[:2] == "t_"}
    answer_ns = [m.response_latency_ns + m.timing.t_rcd_ns + m.timing.t_cl_ns for m in memories]
    answer = [max(1, ps_to_cycles(ns_to_ps(ns), wiring.khz)) for ns in answer_ns]
    ones = np.ones(len(kept), np.int64)
    changed = {
        "response_ticks": np.array(answer, np.int64),
        "window": ones,
        "mb_s": np.maximum(1, np.rint(rate_gb_s * 1000)).astype(np.int64),
        "burst_bytes": ones,
        "row_bytes": ones << 62,
        "num_banks": ones,
        "num_groups": ones,
        "block_bytes": ones * 0,
        "t_rp": ones * cycles_to_ps(1, wiring.khz),
    }
    return Channels(**rows | timings | changed)


def _whole_transfers(tasks: Tasks, num_ports: np.ndarray, interleave: np.ndarray) -> Tasks:
    """LOADs and STOREs as one unit, or for edge memory as PIECES of a stripe at least, dealt to the
    ports from the first byte's on. Assumes that a transfer's rows spread over the ports."""
    moves = np.flatnonzero((tasks.kind == LOAD) | (tasks.kind == STORE))
    memory, num_bytes = tasks.memory[moves], tasks.bytes[moves]
    stripe, ports = interleave[memory], np.maximum(1, num_ports[memory])
    most = np.where(num_ports[memory] > 0, -(-PIECES // ports) * ports, 1)
    pieces = np.clip(-(-num_bytes // stripe), 1, most)
    address, row, stride = (np.zeros(len(tasks), np.int64) for _ in range(3))
    address[moves] = tasks.address[moves] // stripe % ports * FAR_BYTES
    row[moves] = -(-num_bytes // pieces)
    stride[moves] = FAR_BYTES
    return replace(tasks, address=address, row_bytes=row, stride_bytes=stride)


def _free_ports(tables: Tables) -> Tables:
    """Ports as bounds: COMPUTE has of its core's port what transfers leave of it, and transfers
    cost a tick a unit there. Assumes that transfers spread evenly over the core's busiest time."""
    wiring, tasks = tables.wiring, tables.tasks
    ratio = wiring.port_num / wiring.port_den
    left = np.maximum(1 - _transfer_share(wiring, tasks) * ratio, TINY)
    own = np.ceil(tasks.bytes * (ratio / left)[tasks.core] - TINY).astype(np.int64)
    free = replace(
        wiring, port_num=np.zeros_like(wiring.port_num), port_den=np.ones_like(wiring.port_den)
    )
    ticks = np.where(tasks.kind == COMPUTE, np.maximum(tasks.ticks, own), 0)
    return replace(tables, wiring=free, tasks=replace(tasks, ticks=ticks))


def _transfer_share(wiring: Wiring, tasks: Tasks) -> np.ndarray:
    """By core: bytes that transfers move at the port in a tick of the core's busiest time: of its
    fullest unit, of its memory, of its links or of the port itself."""

    def by_core(chosen: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(tasks.core[chosen], values[chosen], wiring.num_cores)

    moves = (tasks.kind == LOAD) | (tasks.kind == STORE)
    sent, received = (by_core(tasks.kind == kind, tasks.bytes) for kind in (SEND, RECV))
    transfers = by_core(moves, tasks.bytes) + sent + received
    link_bytes = wiring.link_bytes[wiring.source_link[0]]
    busiest = np.maximum.reduce(
        [
            _unit_ticks(wiring, tasks),
            _memory_ticks(wiring, tasks, moves),
            np.maximum(sent, received) / link_bytes,
            (transfers + by_core(tasks.kind == COMPUTE, tasks.bytes))
            * wiring.port_num
            / wiring.port_den,
        ]
    )
    return transfers / np.maximum(busiest, 1)


def _unit_ticks(wiring: Wiring, tasks: Tasks) -> np.ndarray:
    """By core: COMPUTE ticks of its fullest unit, each at least what its bytes need."""
    computes = np.flatnonzero(tasks.kind == COMPUTE)
    num, den = (ratio[tasks.core[computes]] for ratio in (wiring.port_num, wiring.port_den))
    ticks = np.maximum(tasks.ticks[computes], -(-tasks.bytes[computes] * num // den))
    units = np.bincount(tasks.queue[computes], ticks, tasks.num_queues)
    fullest = np.zeros(wiring.num_cores)
    np.maximum.at(fullest, tasks.queue_core, units)
    return fullest


def _memory_ticks(wiring: Wiring, tasks: Tasks, moves: np.ndarray) -> np.ndarray:
    """By core: what the busiest memory that it uses takes to serve everybody."""
    memory, count = tasks.memory[moves], len(wiring.memory_first_channel)
    mb_s = np.bincount(wiring.channels.memory, wiring.channels.mb_s, count)
    served = np.bincount(memory, tasks.bytes[moves], count) * wiring.khz / np.maximum(mb_s, 1) / 1e3
    busiest = np.zeros(wiring.num_cores)
    np.maximum.at(busiest, tasks.core[moves], served[memory])
    return busiest
