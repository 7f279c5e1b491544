"""Chips of a few lines with any topology, for tests of the NoC, of memory and of the machine."""

import random

from npusim.program import ProgramBuilder
from npusim.spec.hardware import (
    Arrays,
    Core,
    CoreGroup,
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

ENGINES = ["fast", "simpy"]
TIMING = DramTiming(
    channel_gb_s=32, row_bytes=1024, t_rcd_ns=14, t_rp_ns=15, t_cl_ns=16, t_ras_ns=34
)  # one 64-byte burst every 2 ns


def small_core(clock_mhz=1000, port_bytes=64, **fields) -> Core:
    """Its scratchpad port moves `port_bytes` a cycle."""
    return Core(
        clock_mhz=clock_mhz,
        arrays=Arrays(rows=16, columns=16),
        vector=Vector(lanes=16),
        sfu=Sfu(lanes=4),
        scratchpad=Scratchpad(capacity_mib=1, banks=1, bank_bytes_per_cycle=port_bytes),
        **fields,
    )


def assemble(rows: int, columns: int, one: Core, memory: Memory, **noc) -> Hardware:
    """Cores that are all alike, one memory, links of 32 B a cycle."""
    return Hardware(
        name="t",
        mesh=Mesh(rows=rows, columns=columns),
        core_groups=(CoreGroup(name="c", core=one),),
        memories=(memory,),
        noc=Noc(**{"clock_mhz": 1000, "link_bytes_per_cycle": 32, "header_bytes": 0, **noc}),
    )


def chip(rows=2, columns=3, ports=2, channels=2, **noc) -> Hardware:
    """Cores of 64 B a cycle on links of 32 B a cycle; a crossing takes 1 + 3 cycles."""
    attach = "edge" if ports else "core"
    memory = Memory(attach=attach, ports=ports, capacity_gib=1, channels=channels, timing=TIMING)
    return assemble(rows, columns, small_core(), memory, **{"topology": "crossbar", **noc})


def messages(pairs, num_bytes) -> tuple[ProgramBuilder, list[int]]:
    b = ProgramBuilder()
    op = b.op("test", "test")
    return b, [b.message(src, dst, op, num_bytes)[1] for src, dst in pairs]


def torus(rows=1, columns=6, ports=(), **noc) -> Hardware:
    """Hops of 2 + 1 cycles, 32 bytes a cycle, scratchpads of 64."""
    places = tuple(EdgePort(at=at) for at in ports)
    return chip(rows, columns, ports=places, channels=max(1, len(ports)), topology="torus", **noc)


def random_program(rng: random.Random, hw: Hardware) -> ProgramBuilder:
    b = ProgramBuilder()
    op, cores = b.op("test", "test"), hw.mesh.num_cores
    kinds = ["load", "store"] + ["message", "message"] * (cores > 1)
    for _ in range(rng.choice([10, 60])):
        core, size = rng.randrange(cores), rng.choice([1, 32, 700, 5000])
        kind = rng.choice(kinds)
        if kind == "message":
            b.message(core, (core + rng.randrange(1, cores)) % cores, op, size)
        else:
            add = b.load if kind == "load" else b.store
            add(core, op, memory=0, address=rng.randrange(1 << 16) * 64, num_bytes=size)
    return b


def random_chip(rng: random.Random) -> Hardware:
    """A chip of any topology, of any shape down to a single core, with one or more edge ports."""
    rows, columns = rng.choice([(1, 1), (2, 1), (1, 2), (2, 2), (1, 5), (5, 1), (2, 3), (3, 4)])
    topology = rng.choice(["mesh", "torus", "torus", "crossbar"])
    num_vcs, is_torus = rng.choice([1, 2, 3]), topology == "torus"
    locked = not is_torus and rng.random() < 0.4
    noc = {
        "topology": topology,
        "one_way": is_torus and rng.random() < 0.5,
        "flow_control": "channel_locked" if locked else "virtual_channel",
        "buffer_packets": rng.choice([2, 3] if is_torus and num_vcs == 1 else [1, 2, 3]),
        "virtual_channels": num_vcs,
        "port_bytes_per_cycle": rng.choice([None, 8, 100]),
        "arbitration": rng.choice(["round_robin", "fifo"]),
        "protocol": rng.choice(["eager", "handshake"]),
        "header_bytes": rng.choice([0, 16]),
        "min_packet_bytes": rng.choice([16, 64, 256]),
        "max_packet_bytes": rng.choice([256, 1024]),
    }
    places = {
        (rng.randrange(rows), rng.choice([0, columns - 1])) for _ in range(rng.choice([1, 3]))
    }
    ports = tuple(EdgePort(at=place) for place in sorted(places))
    num = len(ports)
    return chip(rows, columns, num if topology == "crossbar" else ports, 2 * num, **noc)
