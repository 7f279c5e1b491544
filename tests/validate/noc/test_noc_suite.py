"""The traffic both sides get, and that npusim equals the flit simulator where it should."""

import numpy as np
import pytest

from npusim.engine.reference.clock import Phase
from npusim.engine.reference.port import Port
from npusim.machine.system import run
from npusim.validate.noc import cases, suite
from npusim.validate.noc.chip import (
    Network,
    hardware,
    program,
    reference_packets,
    run_npusim,
    run_reference,
    textbook,
)
from npusim.validate.noc.traffic import BURSTS, Grid, Transfer, capacity, open_loop

GRID = Grid(4, 4)


def both(net: Network, transfers: list[Transfer]):
    return run_npusim(GRID, net, transfers), run_reference(GRID, net, transfers)


@pytest.mark.parametrize("vcs", [1, 2, 4])
def test_a_packet_alone_takes_the_same_time_on_both_sides(vcs):
    ours, reference = both(Network(vcs), [Transfer(14, 256, 3)])
    hops = 1 + 3 + 1
    assert ours.latency.tolist() == reference.latency.tolist() == [1 + hops * 3 + 9]
    assert ours.makespan == reference.makespan


@pytest.mark.parametrize("depth", [2, 4])
@pytest.mark.parametrize("name", BURSTS)
def test_with_one_channel_npusim_equals_the_flits(name, depth):
    ours, reference = both(Network(1, depth), BURSTS[name](GRID, 1024))
    assert ours.makespan == reference.makespan


@pytest.mark.parametrize("vcs", [1, 2])
@pytest.mark.parametrize("name", ["row and column gather", "incast", "transpose", "ring"])
def test_with_locks_npusim_equals_the_flits(name, vcs):
    ours, reference = both(Network(vcs, 2, locked=True), BURSTS[name](GRID, 1024))
    assert ours.makespan == reference.makespan


def _grant_at_once(port, num_bytes, done):
    port._clock.fire(done, port._clock.now + 1, Phase.EVENTS)


@pytest.mark.parametrize("locked", [False, True])
def test_what_differs_in_channels_of_one_packet_is_the_scratchpad_port(locked, monkeypatch):
    net = Network(1, 1, locked=locked)
    transfers = BURSTS["row and column gather"](GRID, 4096)
    ours, reference = both(net, transfers)
    assert ours.makespan != reference.makespan
    monkeypatch.setattr(Port, "_grant", _grant_at_once)
    trace = run(program(transfers)[0], hardware(GRID, net), engine="simpy")
    assert trace.makespan_ps == reference.makespan * 1000


def test_sharing_flit_by_flit_raises_the_mean_latency():
    net = Network(2, packet_bytes=1024, packets_per_message=1)
    transfers = open_loop(GRID, "uniform", 0.3, 1024, net.flits(1024), 50, 1)
    packet_by_packet = run_reference(GRID, net, transfers).latency.mean()
    assert run_reference(GRID, textbook(net), transfers).latency.mean() > 1.05 * packet_by_packet


def test_a_load_is_a_request_of_one_flit_and_its_data():
    net = Network()
    packets, owner = reference_packets(GRID, net, [Transfer(5, 512, kind="load", address=256)])
    assert packets.flits.tolist() == [1, 9, 1, 9]
    assert owner.tolist() == [-1, 0, -1, 0]
    assert packets.node.tolist() == [16 + 1, 5, 16 + 2, 5]
    assert packets.after.tolist() == [-1, 1, -1, 2]


def test_capacity_is_what_fills_the_busiest_link():
    assert capacity(GRID, "neighbour") == 1  # a link of its own, and the way back over all of them
    assert capacity(GRID, "bit complement") == pytest.approx(1 / 2)
    assert capacity(GRID, "uniform") == pytest.approx(15 / 16)


def test_open_loop_sends_at_the_load_it_is_asked_for():
    transfers = open_loop(GRID, "neighbour", 0.3, 256, 9, 2000, 0)
    last = max(t.start for t in transfers)
    assert len(transfers) / 16 * 9 / last == pytest.approx(0.3, rel=0.06)


@pytest.mark.parametrize("name", BURSTS)
def test_bursts_go_between_cores_that_exist_and_follow_what_stands_before_them(name):
    for index, transfer in enumerate(BURSTS[name](GRID, 256)):
        assert 0 <= transfer.dst < 16 and transfer.after < index
        assert transfer.src != transfer.dst


def test_broadcast_reaches_every_core_once():
    goals = [t.dst for t in BURSTS["broadcast"](GRID, 256)]
    assert sorted(goals) == list(range(1, 16))


def test_cases_have_names_of_their_own():
    for full in (False, True):
        names = [c.name for c in cases.locked(full)] + [c.name for c in cases.shallow(full)]
        assert len(set(names)) == len(names)


def test_a_comparison_holds_both_means():
    case = next(iter(cases.latency(False, (1,))))
    found = suite.mean_latency(case)
    assert found.ours == pytest.approx(found.reference, rel=0.01) and found.unit == "cycles"
    assert np.isfinite(found.error_fraction)
