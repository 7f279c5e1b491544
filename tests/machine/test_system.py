"""Hardware and Program → times, by hand: a chip of five lines, a few tasks, exact ps."""

import numpy as np
import pytest
from noc_chips import ENGINES, TIMING, assemble, small_core

from npusim.errors import DeadlockError, SpecError
from npusim.machine.system import build_wiring, run, ticks_to_ps
from npusim.program import ProgramBuilder, array_unit
from npusim.spec.hardware import EdgePort, Hardware, Memory


def chip(core_mhz=1000.0, noc_mhz=1000.0, memory="core", **noc) -> Hardware:
    """3x3 cores; scratchpads move 64 B a core cycle, links 32 B a NoC cycle; two channels."""
    ports = (EdgePort(at=(0, 0)),) if memory == "edge" else ()
    spec = Memory(attach=memory, ports=ports, capacity_gib=1, channels=2, timing=TIMING)
    return assemble(3, 3, small_core(core_mhz), spec, clock_mhz=noc_mhz, **noc)


def builder() -> tuple[ProgramBuilder, int]:
    b = ProgramBuilder()
    return b, b.op("test", "test")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_message_pays_port_hops_and_flits(engine):
    b, op = builder()
    b.message(0, 5, op, 256)  # core 0,0 → core 1,2: three hops
    trace = run(b.build(), chip(), engine=engine)
    port, flits = 256 // 64, 256 // 32
    hops = 1 + (3 + 1) * (2 + 1)  # into the mesh, then three links and the way out
    assert trace.end_ps.tolist() == [(port + flits) * 1000, (port + hops + flits + port) * 1000]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_from_private_memory_pays_every_phase(engine):
    b, op = builder()
    b.load(4, op, memory=4, address=0, num_bytes=1024)
    trace = run(b.build(), chip(), engine=engine)
    data = 14 + 16 + 1024 // 64 * 2
    assert trace.makespan_ps == (20 + data + 20 + 1024 // 64) * 1000
    assert trace.channels["row_misses"].tolist()[8] == 1
    phases = [int(trace.channels[f"{p}_ps"][8]) // 1000 for p in ("request", "queue", "service")]
    assert phases == [20, 0, data + 20]
    assert int(trace.channels["response_ps"][8]) == 1024 // 64 * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_from_edge_memory_also_crosses_the_noc_twice(engine):
    b, op = builder()
    b.load(2, op, memory=0, address=0, num_bytes=1024)  # core 0,2; the port stands at 0,0
    trace = run(b.build(), chip(memory="edge"), engine=engine)
    way = 1 + (2 + 1) * 3
    request, data, response = way + 1, 14 + 16 + 32, way + 1024 // 32
    assert trace.makespan_ps == (request + 20 + data + 20 + response + 1024 // 64) * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_clock_domains_round_up_once_a_task(engine):
    b, op = builder()
    first = b.compute(0, array_unit(0), op, 100)
    b.compute(0, array_unit(0), op, 50, [first])
    trace = run(b.build(), chip(core_mhz=940, noc_mhz=1500), engine=engine)
    ticks = [-(-100 * 1500 // 940), -(-50 * 1500 // 940)]
    assert trace.end_ps.tolist() == [-(-ticks[0] * 2000 // 3), -(-sum(ticks) * 2000 // 3)]


def test_ticks_become_ps_without_overflow_after_days():
    days = 10 * 24 * 3600 * 1_000_000_000  # ticks of 1 GHz
    assert ticks_to_ps(np.array([days, -1]), 1_000_000).tolist() == [days * 1000, -1]


def test_xy_routes_reach_every_core_over_the_fewest_links():
    wiring = build_wiring(chip())
    for source in range(9):
        for goal in range(9):
            steps, router = 0, source
            while (link := wiring.route[0, router, goal]) is not None:
                steps += 1
                router = int(wiring.link_to_router[link])
                if router < 0:
                    assert wiring.link_to_node[link] == goal
                    break
            rows, columns = abs(source // 3 - goal // 3), abs(source % 3 - goal % 3)
            assert steps == rows + columns + 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rendezvous_that_cannot_happen_names_cores_and_tasks(engine):
    with pytest.raises(DeadlockError, match=r"core 0.*core 1"):
        run(_both_send_first(), chip(protocol="handshake"), engine=engine)


def _both_send_first():
    """Core 0 posts its receive after its send, core 1 too."""
    b, op = builder()
    send0 = b.task(3, 0, 32, op, num_bytes=64, peer=1, match=3)
    send1 = b.task(3, 1, 32, op, num_bytes=64, peer=0, match=2)
    b.task(4, 0, -1, op, [send0], num_bytes=64, peer=1, match=send1)
    b.task(4, 1, -1, op, [send1], num_bytes=64, peer=0, match=send0)
    return b.build()


def test_an_unknown_engine_is_refused():
    b, op = builder()
    b.sync(0, op)
    with pytest.raises(SpecError, match="engine must be one of fast, simpy, not 'fats'; did you"):
        run(b.build(), chip(), engine="fats")
