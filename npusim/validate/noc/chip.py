"""A grid's network → the same chip for both sides: npusim's spec, and the flit simulator's fabric.

Everything but the network is made quick enough not to matter: a scratchpad port moves any packet in
one cycle, an edge memory is a row of servers of one time a unit (no activation, no refresh).
"""

from dataclasses import dataclass, replace

import numpy as np

from npusim.machine.system import run
from npusim.program import VECTOR_UNIT, Program, ProgramBuilder
from npusim.spec.hardware import (
    Arrays,
    Core,
    CoreGroup,
    Dma,
    DramTiming,
    EdgePort,
    Hardware,
    Memory,
    Mesh,
    Noc,
    Scratchpad,
    Sfu,
    Vector,
)
from npusim.validate.noc.fabric import NONE, REQUESTS, RESPONSES, Fabric, Router, mesh
from npusim.validate.noc.reference import Packets, Sources, arrivals
from npusim.validate.noc.traffic import Grid, Transfer

MHZ = 1000  # of every clock: a cycle is 1,000 ps
PS = 1000
CHANNELS_PER_PORT = 2
WAIT_CYCLES = 10  # of the memory's request and of its response latency


NO_BOUND = 1 << 40


@dataclass(frozen=True)
class Network:
    """What a run varies. `buffer_packets`: npusim's depth of a virtual channel, in packets of the
    largest size; the flit simulator's is as many of their flits, unless `depth_flits` is given."""

    vcs: int = 2
    buffer_packets: int = 4
    link_bytes: int = 32
    packet_bytes: int = 256  # the largest packet's payload, and that of a load's unit
    packets_per_message: int = 16
    header_bytes: int = 16
    window: int = 64  # units of loads that a core has under way
    depth_flits: int | None = None
    hold_switch: bool = True
    shared_input: bool = False
    locked: bool = False

    def flits(self, payload: int) -> int:
        return -(-(payload + self.header_bytes) // self.link_bytes)

    @property
    def router(self) -> Router:
        depth = self.depth_flits or self.buffer_packets * self.flits(self.packet_bytes)
        return Router(
            self.vcs, depth, hold_switch=self.hold_switch, shared_input=self.shared_input,
            locked=self.locked,
        )  # fmt: skip


@dataclass(frozen=True)
class Times:
    """Cycles: from the entry of every transfer's first packet into its injection queue to its last
    at its node, and the end of everything, the last scratchpad write included."""

    latency: np.ndarray
    makespan: int


def port_cores(grid: Grid) -> list[int]:
    """Edge memory has a port at every router of the first and last column."""
    return [grid.core(row, column) for column in (0, grid.columns - 1) for row in range(grid.rows)]


def memory_cycles(net: Network) -> int:
    """A channel's time for a unit: those of a port together are a little faster than its link."""
    return net.packet_bytes // net.link_bytes * CHANNELS_PER_PORT // 2


def hardware(grid: Grid, net: Network) -> Hardware:
    """npusim's chip."""
    core = Core(
        clock_mhz=MHZ, arrays=Arrays(rows=1, columns=1), vector=Vector(lanes=1), sfu=Sfu(lanes=1),
        scratchpad=Scratchpad(capacity_mib=16, banks=64, bank_bytes_per_cycle=64),
        dma=Dma(unit_bytes=net.packet_bytes, max_outstanding=net.window),
    )  # fmt: skip
    timing = DramTiming(
        channel_gb_s=net.packet_bytes / memory_cycles(net), burst_bytes=net.packet_bytes,
        row_bytes=net.packet_bytes, t_rcd_ns=0, t_rp_ns=0, t_cl_ns=0, t_ras_ns=0,
    )  # fmt: skip
    ports = tuple(EdgePort(at=grid.at(core)) for core in port_cores(grid))
    memory = Memory(
        attach="edge", ports=ports, capacity_gib=64, channels=len(ports) * CHANNELS_PER_PORT,
        interleave_bytes=net.packet_bytes, request_latency_ns=WAIT_CYCLES,
        response_latency_ns=WAIT_CYCLES, scheduling="fcfs", timing=timing,
    )  # fmt: skip
    noc = Noc(
        clock_mhz=MHZ, link_bytes_per_cycle=net.link_bytes, buffer_packets=net.buffer_packets,
        virtual_channels=net.vcs, max_packet_bytes=net.packet_bytes,
        min_packet_bytes=min(256, net.packet_bytes), header_bytes=net.header_bytes,
        packets_per_message=net.packets_per_message,
        flow_control="channel_locked" if net.locked else "virtual_channel",
    )  # fmt: skip
    return Hardware(
        name="noc", mesh=Mesh(rows=grid.rows, columns=grid.columns),
        core_groups=(CoreGroup(name="all", core=core),), memories=(memory,), noc=noc,
    )  # fmt: skip


def program(transfers: list[Transfer]) -> tuple[Program, np.ndarray, np.ndarray]:
    """The transfers as tasks; a core's clock is a chain of COMPUTE tasks. Returns the program, each
    transfer's first task and its last."""
    b = ProgramBuilder()
    op = b.op("traffic", "transfer")
    clocks: dict[int, tuple[int, int]] = {}  # core → time, task
    first: list[int] = []
    last: list[int] = []
    for t in transfers:
        core = t.dst if t.kind == "load" else t.src
        after = [] if t.after == NONE else [last[t.after]]
        if t.start > clocks.get(core, (0, NONE))[0]:
            now, task = clocks.get(core, (0, NONE))
            before = [] if task == NONE else [task]
            clocks[core] = t.start, b.compute(core, VECTOR_UNIT, op, t.start - now, before)
        if t.start:
            after = [*after, clocks[core][1]]
        if t.kind == "load":
            task = b.load(core, op, 0, t.address, t.num_bytes, after)
            first.append(task)
            last.append(task)
        else:
            send, recv = b.message(t.src, t.dst, op, t.num_bytes, after)
            first.append(send)
            last.append(recv)
    return b.build(), np.array(first), np.array(last)


def run_npusim(grid: Grid, net: Network, transfers: list[Transfer]) -> Times:
    """The transfers on npusim's machine. A packet is in its queue a cycle after its send started
    (the scratchpad is read) and its RECV ends a cycle after it is there (it is written)."""
    tasks, first, last = program(transfers)
    trace = run(tasks, hardware(grid, net))
    latency = (trace.end_ps[last] - trace.start_ps[first]) // PS - 2
    return Times(latency, int(trace.end_ps[last].max()) // PS)


def cut(num_bytes: int, size: int) -> list[int]:
    """Payloads of at most `size`."""
    return [min(size, num_bytes - done) for done in range(0, num_bytes, size)]


def reference_sources(grid: Grid, net: Network, fabric: Fabric) -> Sources:
    """A core's messages, a core's load requests, then the memory channels in their order."""
    n, ports = grid.num_cores, len(port_cores(grid))
    channel_port = n + np.arange(ports * CHANNELS_PER_PORT) % ports
    cores, channels = np.ones(n, np.int64), np.ones(len(channel_port), np.int64)
    return Sources(
        link=np.concatenate([fabric.inject[RESPONSES, :n], fabric.inject[REQUESTS, :n],
                             fabric.inject[RESPONSES, channel_port]]),
        service=np.concatenate([cores, cores, memory_cycles(net) * channels]),
        latency=np.concatenate([0 * cores, -cores, WAIT_CYCLES * channels]),
        window=np.concatenate([NO_BOUND * cores, net.window * cores, NO_BOUND * channels]),
    )  # fmt: skip


def reference_packets(
    grid: Grid, net: Network, transfers: list[Transfer]
) -> tuple[Packets, np.ndarray]:
    """The transfers cut into packets, and the transfer of each (NONE: a load's request)."""
    n, ports = grid.num_cores, len(port_cores(grid))
    rows: list[tuple] = []
    owner: list[int] = []
    groups = len(transfers)  # the transfers' own, then one for every request
    for i, t in enumerate(transfers):
        begin = {"start": t.start, "after": t.after, "pause": 1}
        if t.kind == "send":
            share = -(-t.num_bytes // net.packets_per_message)
            size = min(max(share, min(256, net.packet_bytes)), net.packet_bytes)
            for payload in cut(t.num_bytes, size):
                rows.append((t.src, t.dst, RESPONSES, net.flits(payload), i, *begin.values(), NONE))
                owner.append(i)
            continue
        for offset in range(0, t.num_bytes, net.packet_bytes):
            unit = (t.address + offset) // net.packet_bytes
            channel = unit % (ports * CHANNELS_PER_PORT)
            port = n + channel % ports
            rows.append((n + t.dst, port, REQUESTS, net.flits(0), groups, *begin.values(), NONE))
            rows.append((2 * n + channel, t.dst, RESPONSES, net.flits(net.packet_bytes), i,
                         0, groups, WAIT_CYCLES, n + t.dst))  # fmt: skip
            owner += [NONE, i]
            groups += 1
    return Packets(*np.array(rows, np.int64).T), np.array(owner)


def run_reference(grid: Grid, net: Network, transfers: list[Transfer]) -> Times:
    """The same transfers, flit by flit."""
    fabric = mesh(grid.rows, grid.columns, net.router, port_cores(grid))
    packets, owner = reference_packets(grid, net, transfers)
    entered, arrived = arrivals(fabric, packets, reference_sources(grid, net, fabric))
    mine = owner != NONE
    first = np.full(len(transfers), 1 << 60)
    last = np.zeros(len(transfers), np.int64)
    np.minimum.at(first, owner[mine], entered[mine])
    np.maximum.at(last, owner[mine], arrived[mine])
    return Times(last - first, int(arrived.max()) + 1)


def textbook(net: Network) -> Network:
    """The same network of routers that share links flit by flit, with one crossbar input a port."""
    return replace(net, hold_switch=False, shared_input=True)
