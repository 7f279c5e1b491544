"""Queueing laws: Little's on every queue, M/D/1 and D/D/1 on a memory channel and on a link."""

import numpy as np
import pytest
from chips import Stream, mesh
from hypothesis import given, settings
from hypothesis import strategies as st
from law_cases import (
    ENGINES,
    channel_of_equal_requests,
    lindley_waits,
    loads_at,
    mean_and_error,
    poisson_ticks,
    watched,
)
from test_engines_agree import random_case

from npusim.engine import fast
from npusim.engine.reference import run as run_reference
from npusim.engine.reference.channel import Channel
from npusim.engine.reference.link import Link
from npusim.engine.reference.network import Network
from npusim.engine.reference.queues import DmaQueue
from npusim.engine.tables import SEND

RANDOM = settings(max_examples=15, deadline=None)
SERVICE = 100  # ticks
PHASES = ("request", "queue", "service", "response")


def areas(counts, num: int) -> np.ndarray:
    return np.array([counts[row].area() if row in counts else 0 for row in range(num)])


@RANDOM
@given(st.randoms(use_true_random=False))
def test_littles_law_on_channel_queues(rng):
    wiring, tasks = random_case(rng)
    with watched(Channel, {"serve": 1, "_serve": -1}, lambda channel, *_: channel._row) as counts:
        run_reference(wiring, tasks)
    waits = fast.run(wiring, tasks).channel["queue_ticks"]
    np.testing.assert_array_equal(areas(counts, len(waits)), waits)


@RANDOM
@given(st.randoms(use_true_random=False))
def test_littles_law_on_links(rng):
    """Packets that wish for a link: a FIFO's first one, in the link's list of wishes."""
    wiring, tasks = random_case(rng)

    def wanted(network, fifo):
        return network._wanted(fifo.id, fifo.router, fifo.packets[0]).row

    with (
        watched(Network, {"wish": 1}, wanted) as came,
        watched(Link, {"_grant": -1}, lambda link, _: link.row) as left,
    ):
        run_reference(wiring, tasks)
    for row, count in left.items():
        came[row].events += count.events
    waits = fast.run(wiring, tasks).link["wait_ticks"]
    np.testing.assert_array_equal(areas(came, len(waits)), waits)


@RANDOM
@given(st.randoms(use_true_random=False))
def test_littles_law_on_dma_engines(rng):
    """Units of loads and stores under way = the sum of their four phases in all channels."""
    wiring, tasks = random_case(rng)

    def in_memory(_, unit):
        return bool(tasks.kind[unit.key[0]] != SEND)

    with watched(DmaQueue, {"_issue": 1, "_done": -1}, in_memory) as counts:
        run_reference(wiring, tasks)
    channel = fast.run(wiring, tasks).channel
    phases = sum(channel[f"{name}_ticks"].sum() for name in PHASES)
    assert areas(counts, 2)[1] == phases


def channel_waits(ticks, engine, service=SERVICE) -> tuple[np.ndarray, dict]:
    """Wait of each request in the queue of a channel, and the channel's totals."""
    tasks = loads_at(ticks).build()
    outcome = ENGINES[engine](channel_of_equal_requests(service), tasks)
    loads = np.flatnonzero(tasks.kind != 0)
    alone = outcome.end[loads[0]] - outcome.start[loads[0]]
    return outcome.end[loads] - outcome.start[loads] - alone, outcome.channel


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8, 0.9])
def test_a_channel_is_an_m_d_1_queue(load):
    ticks = poisson_ticks(np.random.default_rng(7), SERVICE / load, 40_000)
    waits, channel = channel_waits(ticks, "fast")
    np.testing.assert_array_equal(waits, lindley_waits(ticks, SERVICE))
    picked_ahead = (waits > 0).sum()  # by a tick
    assert channel["queue_ticks"][0] + picked_ahead == waits.sum()
    mean, error = mean_and_error(waits / SERVICE)
    assert abs(mean - load / (2 * (1 - load))) < 3 * error
    assert error < 0.08 * mean  # the test would see a model that is a quarter off


def test_the_reference_engines_channel_is_the_same_queue():
    ticks = poisson_ticks(np.random.default_rng(7), SERVICE / 0.8, 500)
    waits, _ = channel_waits(ticks, "simpy")
    np.testing.assert_array_equal(waits, lindley_waits(ticks, SERVICE))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("late", [0, 1])
def test_equal_gaps_on_a_channel_wait_only_above_full_load(engine, late):
    ticks = SERVICE + np.arange(60) * (SERVICE - late)
    waits, _ = channel_waits(ticks, engine)
    np.testing.assert_array_equal(waits, late * np.arange(60))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_scratchpad_port_is_a_queue_behind_a_quicker_channel(engine):
    """Two servers in a row with fixed times wait in all as the slower one would alone."""
    ticks = poisson_ticks(
        np.random.default_rng(5), SERVICE / 0.8, 4_000 if engine == "fast" else 200
    )
    tasks = loads_at(ticks, clock_core=1).build()  # one that no port holds up
    port = SERVICE, 64  # ticks for so many bytes
    wiring = channel_of_equal_requests(SERVICE // 10, cores=2, port=port)
    outcome = ENGINES[engine](wiring, tasks)
    loads = np.flatnonzero(tasks.kind != 0)
    taken = outcome.end[loads] - outcome.start[loads]
    np.testing.assert_array_equal(taken - taken[0], lindley_waits(ticks, SERVICE))
    assert outcome.core["port_busy_ticks"].sum() == SERVICE * len(loads)


FLITS = 128  # of a packet: 256 bytes, 2 a tick
CENTRE, AROUND = 4, (1, 3, 5, 7)  # of a 3 x 3 mesh


def message_waits(arrivals: dict[int, np.ndarray], engine: str) -> np.ndarray:
    """Time beyond the shortest of one-packet messages to the centre, released at the ticks given
    for each source."""
    stream, sends = Stream(), []
    for source, ticks in arrivals.items():
        before: list[int] = []
        for gap in np.diff(ticks, prepend=0).tolist():
            before = [stream.compute(source, gap, before)]
            sends.append(stream.message(source, CENTRE, 256, before))
    wiring = mesh(
        3, 3, memory="none", link_bytes=2, header_bytes=0, packets_per_message=1, num_vcs=1,
        buffer_packets=4, max_packet_bytes=256, dma_unit_bytes=256, dma_outstanding=1 << 20,
        port=(1, 1 << 12),
    )  # fmt: skip
    outcome = ENGINES[engine](wiring, stream.build())
    send, recv = np.array(sends).T
    taken = outcome.end[recv] - outcome.start[send]
    order = np.argsort(outcome.start[send], kind="stable")
    return (taken - taken.min())[order]


def poisson_sources(load: float, count: int) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(11)
    gap = len(AROUND) * FLITS / load
    return {source: poisson_ticks(rng, gap, count) for source in AROUND}


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8])
def test_an_ejection_link_is_an_m_d_1_queue(load):
    """Links before it, of equal width, only take over some of its queue: a tree of equal
    deterministic servers holds what a single one would."""
    waits = message_waits(poisson_sources(load, 8_000), "fast")
    mean, error = mean_and_error(waits / FLITS)
    assert abs(mean - load / (2 * (1 - load))) < 3 * error
    assert error < 0.08 * mean


@pytest.mark.parametrize("engine", ENGINES)
def test_an_ejection_link_waits_as_lindley_says(engine):
    arrivals = poisson_sources(0.8, 100)
    waits = message_waits(arrivals, engine)
    expected = lindley_waits(np.sort(np.concatenate([*arrivals.values()])), FLITS)
    assert waits.sum() == pytest.approx(expected.sum(), rel=0.01)


@pytest.mark.parametrize("engine", ENGINES)
def test_packets_that_take_turns_on_a_link_do_not_wait(engine):
    arrivals = {
        source: 10 + FLITS * (index + len(AROUND) * np.arange(20))
        for index, source in enumerate(AROUND)
    }
    assert not message_waits(arrivals, engine).any()
