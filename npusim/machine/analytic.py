"""Tables of the transaction level → those of the analytic level: fewer servers and larger units.

Both engines run these tables by the same rules; only what they hold is coarser.

* Memory: one FIFO server an instance (a port, for edge memory), at what a stream sustains. Assumes
  no banks, rows, refreshes or read-write turnarounds: they are in the efficiency, or left out.
* NoC: a private link for every (source, destination) pair that the program uses. Assumes that
  messages never wait for one another, but where one sender injects them; no locks. What a core
  loads from edge memory comes in one after the other, as its DMA engines ask for it.
* A transfer is one unit (a few, from edge memory), a message one packet. Assumes that DMA engines
  have enough units in flight, and that a scratchpad's port bounds a stream's rate, unshared.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from npusim.engine.tables import (
    LOAD,
    NONE,
    NUM_NETWORKS,
    REQUEST_NETWORK,
    RESPONSE_NETWORK,
    SEND,
    STORE,
    Channels,
    Tasks,
    Wiring,
)
from npusim.errors import CapacityError
from npusim.spec.hardware import DramTiming, Hardware, Memory
from npusim.spec.scenario import Fidelity
from npusim.units import cycles_to_ps, ns_to_ps, ps_to_cycles

FAR_BYTES = 1 << 40  # above any transfer: a limit that never cuts one
PIECES = 16  # of a transfer that passes memory, port and link in turn: 1/16 is not overlapped
DEEP_PACKETS = 16  # buffers that hold what a core's loads bring before they come in
MOST_PAIRS = 1 << 15  # a link keeps 8 KiB of counters


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
        tables = _coarse_noc(tables)
    if "analytic" in (fidelity.memory, fidelity.noc):
        tables = _free_ports(tables)
    return tables


def _has_whole_transfers(hw: Hardware, fidelity: Fidelity) -> bool:
    """Units of edge memory stay small where they share the links of a NoC."""
    return fidelity.noc == "analytic" or all(memory.attach != "edge" for memory in hw.memories)


def sustained_fraction(memory: Memory) -> float:
    """Share of the peak that a sequential stream sustains: `efficiency_fraction`, or by default
    what the timing leaves of it: a refresh takes tRFC of every tREFI, bursts follow one another no
    closer than tCCD_L, and rows are opened no faster than tRRD, tFAW / 4 and, over all banks in
    turn, tRAS + tRP allow."""
    if memory.efficiency_fraction is not None:
        return memory.efficiency_fraction
    t: DramTiming = memory.timing
    refreshing = t.t_rfc_ns / t.t_refi_ns if t.t_refi_ns else 0.0
    burst_ns, row_ns = t.burst_bytes / t.channel_gb_s, t.row_bytes / t.channel_gb_s
    column_fraction = burst_ns / max(burst_ns, t.t_ccd_l_ns)
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
    kept = wiring.memory_first_channel[owner] + np.arange(len(owner)) - first[owner]
    gb_s = np.array([i.memory.gb_s for i in instances])[owner] / counts[owner]
    rate = _served_gb_s(tables.wiring, instances)[owner] / counts[owner]
    memories = [instances[i].memory for i in owner]
    changed = {
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
    numbers = np.arange(len(owner)) - first[owner]
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
    """COMPUTE takes what its own bytes need of its port; beyond that ports cost a tick a unit."""
    wiring, tasks = tables.wiring, tables.tasks
    num, den = wiring.port_num[tasks.core], wiring.port_den[tasks.core]
    ticks = np.where(tasks.ticks > 0, np.maximum(tasks.ticks, -(-tasks.bytes * num // den)), 0)
    free = replace(
        wiring, port_num=np.zeros_like(wiring.port_num), port_den=np.ones_like(wiring.port_den)
    )
    return replace(tables, wiring=free, tasks=replace(tasks, ticks=ticks))


@dataclass(frozen=True)
class _Way:
    """What packets of a (network, source node, destination node) cross after their injection: ticks
    in all, the narrowest link's bytes a tick, the last link."""

    ticks: int
    link_bytes: int
    last: int


def _coarse_noc(tables: Tables) -> Tables:
    """Node n injects into a router n of its own, from which each of its private links leads to a
    destination, as long as the way through the NoC and as wide. Those of memory ports lead to a
    second router of the core, so that all its loads together come in by one link."""
    wiring = tables.wiring
    inject, pairs = _injection_links(wiring), _pairs(wiring, tables.tasks)
    if len(pairs) > MOST_PAIRS:
        raise CapacityError(
            f"fidelity.noc analytic needs a link for each of {len(pairs):,} pairs of cores and "
            f"ports, more than {MOST_PAIRS:,}; use fidelity.noc transaction"
        )
    links = _links(wiring, inject, pairs)
    changed = {
        **_link_columns(links),
        **_sources(wiring, inject, num_links=len(links)),
        "route": _routes(wiring, links),
        "link_ring": None,
        "num_vcs": 1,
        "buffer_packets": max(wiring.buffer_packets, DEEP_PACKETS),
        "locked": False,
        "lock_ack": False,
        "packets_per_message": 1,
        "max_packet_bytes": FAR_BYTES,
    }
    return replace(tables, wiring=replace(wiring, **changed))


@dataclass(frozen=True)
class _Link:
    """A link of the coarse NoC: a row of the engines' table, and the (router, node) pairs that are
    routed over it; an injection link has none."""

    network: int
    num_bytes: int
    ticks: int
    name: str
    to_router: int = NONE
    to_node: int = NONE
    routed: tuple[int, int] | None = None


def _injection_links(wiring: Wiring) -> dict[tuple[int, int], int]:
    """(network, node) → the link that the node's packets enter the NoC by."""
    first, found = wiring.num_links * wiring.num_vcs, {}
    for network in range(NUM_NETWORKS):
        for core in range(wiring.num_cores):
            found[network, core] = int(
                wiring.source_link[wiring.core_source[core, network, 0] - first]
            )
    channels = wiring.channels
    for node, source in zip(channels.port_node.tolist(), channels.source.tolist(), strict=True):
        if node != NONE:
            found[RESPONSE_NETWORK, node] = int(wiring.source_link[source - first])
    return found


def _pairs(wiring: Wiring, tasks: Tasks) -> list[tuple[int, int, int]]:
    """(network, source node, destination node) of all packets that the tasks can send."""
    sends = tasks.kind == SEND
    ends = np.stack([tasks.core[sends], tasks.core[tasks.match[sends]]], axis=1)
    messages = [(int(a), int(b)) for a, b in np.unique(ends, axis=0)]
    pairs = {(RESPONSE_NETWORK, a, b) for a, b in messages}
    if wiring.handshake:
        pairs |= {(REQUEST_NETWORK, a, b) for a, b in messages}
        pairs |= {(RESPONSE_NETWORK, b, a) for a, b in messages}
    moves = (tasks.kind == LOAD) | (tasks.kind == STORE)
    uses = np.stack([tasks.core[moves], tasks.memory[moves]], axis=1)
    for core, memory in np.unique(uses, axis=0).tolist():
        for port in np.unique(wiring.channels.port_node[wiring.channels.memory == memory]).tolist():
            if port != NONE:
                pairs |= {(REQUEST_NETWORK, core, port), (RESPONSE_NETWORK, port, core)}
    return sorted(pairs)


def _links(wiring: Wiring, inject: dict, pairs: list) -> list[_Link]:
    """The injection links in the order of `inject`, then a link for every pair, then one for every
    core that loads from memory ports. Where a scratchpad's port is slower than a link, the link is
    as slow."""
    takes = np.full(wiring.num_nodes, FAR_BYTES)
    takes[: wiring.num_cores] = np.maximum(1, wiring.port_den // wiring.port_num)
    links = [
        _Link(network, min(int(wiring.link_bytes[link]), int(takes[node])),
              int(wiring.link_ticks[link]), wiring.link_name[link], to_router=node)
        for (network, node), link in inject.items()
    ]  # fmt: skip
    received = {}
    for network, source, goal in pairs:
        way = _way(wiring, inject[network, source], goal)
        width = min(way.link_bytes, int(takes[goal]))
        end = wiring.link_name[way.last]
        start = wiring.link_name[inject[network, source]].removesuffix(" in")
        name = f"{start} to {end.split(' ', 1)[1].removesuffix(' out')}"
        routed = (source, goal)
        if goal < wiring.num_cores <= source:
            second = wiring.num_nodes + goal
            ticks = max(1, way.ticks - 1)  # the last link takes at least one
            links.append(_Link(network, width, ticks, name, to_router=second, routed=routed))
            received[goal] = _Link(network, width, 1, end, to_node=goal, routed=(second, goal))
        else:
            links.append(_Link(network, width, way.ticks, name, to_node=goal, routed=routed))
    return links + list(received.values())


def _way(wiring: Wiring, link: int, node: int) -> _Way:
    """Follows the routes from an injection link to a node."""
    network, ticks, width = wiring.link_network[link], 0, int(wiring.link_bytes[link])
    while wiring.link_to_router[link] != NONE:
        link = wiring.route[network, wiring.link_to_router[link], node]
        ticks += int(wiring.link_ticks[link])
        width = min(width, int(wiring.link_bytes[link]))
    return _Way(ticks, width, int(link))


def _link_columns(links: list[_Link]) -> dict[str, Any]:
    return {
        "link_network": np.array([link.network for link in links]),
        "link_bytes": np.array([link.num_bytes for link in links]),
        "link_ticks": np.array([link.ticks for link in links]),
        "link_to_router": np.array([link.to_router for link in links]),
        "link_to_node": np.array([link.to_node for link in links]),
        "link_name": [link.name for link in links],
    }


def _sources(wiring: Wiring, inject: dict, num_links: int) -> dict[str, Any]:
    """Source FIFOs, whose ids begin after those of the links, on the renumbered injection links."""
    number = {link: index for index, link in enumerate(inject.values())}
    shift = num_links - wiring.num_links * wiring.num_vcs
    channels = wiring.channels
    sources = np.where(channels.source == NONE, NONE, channels.source + shift)
    return {
        "source_link": np.array([number[link] for link in wiring.source_link.tolist()], np.int32),
        "core_source": np.where(wiring.core_source == NONE, NONE, wiring.core_source + shift),
        "channels": replace(channels, source=sources),
    }


def _routes(wiring: Wiring, links: list[_Link]) -> np.ndarray:
    """[network, router, node] → link; a pair that no task uses has none to be asked for."""
    routers = wiring.num_nodes + wiring.num_cores
    routes = np.zeros((NUM_NETWORKS, routers, wiring.num_nodes), np.int32)
    for index, link in enumerate(links):
        if link.routed:
            routes[link.network, *link.routed] = index
    return routes
