"""The torus, and links of unequal width: exact times, no deadlock, equal engines."""

import random
from dataclasses import replace

import numpy as np
import pytest
from noc_chips import ENGINES, chip, messages, random_chip, random_program, torus

from npusim.engine import fast
from npusim.engine.reference import run as run_reference
from npusim.errors import DeadlockError
from npusim.machine import system
from npusim.machine.core import build_tasks
from npusim.machine.system import build_wiring, run
from npusim.program import ProgramBuilder
from npusim.spec.hardware import Noc


def way(wiring, network, source, goal) -> list[int]:
    """Routers that a packet passes."""
    routers = [source]
    while (link := int(wiring.route[network, routers[-1], goal])) >= 0:
        there = int(wiring.link_to_router[link])
        if there < 0:
            return routers
        routers.append(there)
    raise AssertionError


def test_routes_go_round_the_shorter_way_rows_first():
    wiring = build_wiring(torus(4, 5))
    assert way(wiring, 1, 0, 9) == [0, 4, 9]
    assert way(wiring, 0, 0, 2) == [0, 1, 2]
    assert way(wiring, 1, 0, 16) == [0, 1, 16]
    assert way(wiring, 1, 0, 10) == [0, 5, 10]  # two rows either way: south


def test_one_way_requests_go_east_and_south_the_rest_west_and_north():
    wiring = build_wiring(torus(3, 4, one_way=True))
    assert way(wiring, 0, 5, 0) == [5, 6, 7, 4, 8, 0]
    assert way(wiring, 1, 0, 5) == [0, 3, 2, 1, 9, 5]
    assert wiring.num_links == 2 * (2 * 12 + 2 * 12)


@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (70, 2)])
def test_every_direction_of_every_row_and_column_is_a_ring(rows, columns):
    wiring = build_wiring(torus(rows, columns))
    rings, sizes = np.unique(wiring.link_ring[wiring.link_ring >= 0], return_counts=True)
    assert len(rings) == 2 * 2 * (rows + columns)
    assert sorted(sizes.tolist()) == sorted([rows] * 4 * columns + [columns] * 4 * rows)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("one_way", "goal", "hops"), [(0, 5, 1), (0, 3, 3), (0, 4, 2), (1, 5, 1), (1, 1, 5)]
)
def test_a_message_round_the_edge(engine, one_way, goal, hops):
    b, (recv,) = messages([(0, goal)], 256)
    trace = run(b.build(), torus(one_way=bool(one_way)), engine=engine)
    assert trace.end_ps[recv] == (4 + 1 + (hops + 1) * 3 + 8 + 4) * 1000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("other", "granted"), [((3, 1), 5), ((2, 0), 6)])
def test_who_comes_round_may_take_a_rings_last_slot_who_enters_may_not(engine, other, granted):
    """A first packet takes the link from 2 to 1 at 2 and leaves its slot of two there at 5."""
    hw = torus(1, 4, one_way=True, virtual_channels=1, buffer_packets=2, min_packet_bytes=64,
               link_bytes_per_cycle=64)  # fmt: skip
    b, (_, recv) = messages([(2, 0), other], 64)  # one engine: reads its two one after the other
    hops = 1 if other == (3, 1) else 2
    trace = run(b.build(), hw, engine=engine)
    assert trace.end_ps[recv] == (granted + hops * 3 + 3 + 1 + 1) * 1000


def crowd(rows: int, columns: int, num_bytes: int) -> ProgramBuilder:
    """Every core sends to every other at once."""
    cores = range(rows * columns)
    return messages([(a, b) for a in cores for b in cores if a != b], num_bytes)[0]


CROWDED = {"buffer_packets": 2, "virtual_channels": 1, "min_packet_bytes": 64,
           "max_packet_bytes": 64}  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 5), (4, 4)])
@pytest.mark.parametrize("one_way", [False, True])
def test_a_crowded_torus_does_not_deadlock(shape, one_way):
    trace = run(crowd(*shape, 1024).build(), torus(*shape, one_way=one_way, **CROWDED))
    assert trace.end_ps.min() > 0


def test_without_the_slot_that_is_left_free_a_ring_would_deadlock(monkeypatch):
    def no_rings(hw):
        return replace(build_wiring(hw), link_ring=None)

    monkeypatch.setattr(system, "build_wiring", no_rings)
    with pytest.raises(DeadlockError):
        run(crowd(1, 5, 1024).build(), torus(1, 5, one_way=True, **CROWDED))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("port_bytes", [8, 128])
def test_the_head_waits_until_a_wider_link_ahead_cannot_run_dry(engine, port_bytes):
    hw = chip(port_bytes_per_cycle=port_bytes, min_packet_bytes=1024)
    b = ProgramBuilder()
    op = b.op("test", "test")
    b.store(0, op, memory=0, address=0, num_bytes=1024)
    trace = run(b.build(), hw, engine=engine)
    slow = max(1024 // 32, 1024 // port_bytes)  # the narrower link's time, once
    data = 14 + 0 + 32  # no row open, tCWL 0, 1024 bytes at 32 GB/s
    read = 1024 // 64
    assert trace.makespan_ps == (read + 1 + 3 + slow + 20 + data + 20 + 1 + 3 + 1) * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_wide_port_feeds_several_cores_at_their_full_rate(engine):
    def makespan(port_bytes, num_cores):
        b = ProgramBuilder()
        op = b.op("test", "test")
        for core in range(num_cores):
            address = core * 12 * 4096  # so many channels on, or cores follow one another
            b.load(core, op, memory=0, address=address, num_bytes=65536)
        hw = chip(ports=1, channels=16, port_bytes_per_cycle=port_bytes, virtual_channels=16)
        return run(b.build(), hw, engine=engine).makespan_ps

    assert makespan(None, 4) > 3.5 * makespan(None, 1)
    assert makespan(128, 4) < 1.3 * makespan(None, 1)


@pytest.mark.parametrize("seed", range(16))
def test_engines_agree_on_any_topology(seed):
    rng = random.Random(seed)
    hw = random_chip(rng)
    wiring, tasks = build_wiring(hw), build_tasks(random_program(rng, hw).build(), hw)
    ours, plain = fast.run(wiring, tasks), run_reference(wiring, tasks)
    assert ours.waiting == plain.waiting == []
    assert ours.end.tolist() == plain.end.tolist()
    assert ours.link["busy_ticks"].tolist() == plain.link["busy_ticks"].tolist()


@pytest.mark.parametrize(
    ("noc", "text"),
    [
        ({"one_way": True}, "needs topology: torus, not mesh"),
        ({"topology": "torus", "flow_control": "channel_locked"}, "must be virtual_channel on a"),
        ({"topology": "torus", "buffer_packets": 1, "virtual_channels": 1}, "must be at least 2"),
    ],
)
def test_what_does_not_fit_a_topology_is_refused(noc, text):
    with pytest.raises(ValueError, match=text):
        Noc(clock_mhz=1000, link_bytes_per_cycle=32, **noc)
