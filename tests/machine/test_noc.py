"""Topologies: links and routes as tables, and exact times on both engines."""

import numpy as np
import pytest

from npusim.machine.system import build_wiring, run
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
    memory = Memory(attach="edge", ports=ports, capacity_gib=1, channels=channels, timing=TIMING)
    return Hardware(
        name="t",
        mesh=Mesh(rows=rows, columns=columns),
        core_groups=(CoreGroup(name="c", core=CORE),),
        memories=(memory,) if ports else (),
        noc=Noc(
            **{"topology": "crossbar", "clock_mhz": 1000, "link_bytes_per_cycle": 32,
               "header_bytes": 0, **noc}
        ),
    )  # fmt: skip


def messages(pairs, num_bytes) -> tuple[ProgramBuilder, list[int]]:
    b = ProgramBuilder()
    op = b.op("test", "test")
    return b, [b.message(src, dst, op, num_bytes)[1] for src, dst in pairs]


def test_a_crossbar_has_a_link_in_and_out_for_each_node_and_one_hub():
    wiring = build_wiring(chip())
    assert wiring.route.shape == (2, 1, 8)
    assert wiring.num_links == 2 * 2 * 8
    assert wiring.link_to_node[wiring.route[1, 0]].tolist() == list(range(8))
    assert wiring.link_name[-1] == "response memory port 1 out"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("src", "dst"), [(0, 1), (0, 5), (4, 2)])
def test_all_cores_of_a_crossbar_are_equally_far(engine, src, dst):
    b, (recv,) = messages([(src, dst)], 256)
    trace = run(b.build(), chip(), engine=engine)
    assert trace.end_ps[recv] == (256 // 64 + 1 + 3 + 256 // 32 + 256 // 64) * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_over_a_crossbar_pays_two_crossings(engine):
    b = ProgramBuilder()
    b.load(3, b.op("test", "test"), memory=0, address=0, num_bytes=1024)
    trace = run(b.build(), chip(), engine=engine)
    request, data, response = 1 + 3 + 1, 14 + 16 + 32, 1 + 3 + 1024 // 32
    assert trace.makespan_ps == (request + 20 + data + 20 + response + 1024 // 64) * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crossbar_shares_nothing_but_the_links_of_the_two_ends(engine):
    one, (alone,) = messages([(0, 1)], 4096)
    apart, both = messages([(0, 1), (2, 3)], 4096)
    together, same = messages([(0, 1), (2, 1)], 4096)
    ends = [run(b.build(), chip(), engine=engine).end_ps for b in (one, apart, together)]
    assert ends[1][both].tolist() == [ends[0][alone]] * 2
    # the second message's packets take turns: the receiver's link carries twice as much
    assert max(ends[2][same]) == ends[0][alone] + 4096 // 32 * 1000


def test_channels_are_dealt_to_the_ports_of_a_crossbar_in_turn():
    wiring = build_wiring(chip(ports=2, channels=4))
    assert wiring.channels.port_node.tolist() == [6, 7, 6, 7]


def test_a_crossbar_is_quick_to_build_for_a_chip_like_a_gpu():
    wiring = build_wiring(chip(rows=9, columns=12, ports=40, channels=80))
    assert wiring.route.shape == (2, 1, 148)
    assert np.unique(wiring.route).size == 2 * 148
