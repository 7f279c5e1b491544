"""Chips of a few lines with any topology, for tests of the NoC."""

from npusim.program import ProgramBuilder
from npusim.spec.hardware import (
    Arrays,
    Core,
    CoreGroup,
    DramTiming,
    Hardware,
    Memory,
    Mesh,
    Noc,
    Scratchpad,
    Sfu,
    Vector,
)

ENGINES = ["fast", "simpy"]
CORE = Core(
    clock_mhz=1000,
    arrays=Arrays(rows=16, columns=16),
    vector=Vector(lanes=16),
    sfu=Sfu(lanes=4),
    scratchpad=Scratchpad(capacity_mib=1, banks=4, bank_bytes_per_cycle=16),  # 64 B a cycle
)
TIMING = DramTiming(
    channel_gb_s=32, row_bytes=1024, t_rcd_ns=14, t_rp_ns=15, t_cl_ns=16, t_ras_ns=34
)


def chip(rows=2, columns=3, ports=2, channels=2, **noc) -> Hardware:
    """Cores of 64 B a cycle on links of 32 B a cycle; a crossing takes 1 + 3 cycles."""
    attach = "edge" if ports else "core"
    memory = Memory(attach=attach, ports=ports, capacity_gib=1, channels=channels, timing=TIMING)
    return Hardware(
        name="t",
        mesh=Mesh(rows=rows, columns=columns),
        core_groups=(CoreGroup(name="c", core=CORE),),
        memories=(memory,),
        noc=Noc(
            **{"topology": "crossbar", "clock_mhz": 1000, "link_bytes_per_cycle": 32,
               "header_bytes": 0, **noc}
        ),
    )  # fmt: skip


def messages(pairs, num_bytes) -> tuple[ProgramBuilder, list[int]]:
    b = ProgramBuilder()
    op = b.op("test", "test")
    return b, [b.message(src, dst, op, num_bytes)[1] for src, dst in pairs]
