"""The flit simulator on two or three routers in a row: arrivals computed by hand.

A packet joins its injection queue a cycle after it is ready. The injection link takes a cycle,
every other one three (router and wire), and a packet is whole a cycle after its tail has come; only
then does it leave its ejection buffer.
"""

import numpy as np
import pytest

from npusim.validate.noc.fabric import NONE, RESPONSES, Router, mesh
from npusim.validate.noc.reference import Packets, Sources, arrivals

HOP = 3


def arrive(columns: int, router: Router, *packets: tuple, **fields) -> list[int]:
    """Arrivals of (source core, goal, flits) packets, all ready at 0 unless `fields` say else."""
    fabric = mesh(1, columns, router)
    source, node, flits = np.array(packets).T
    count = len(packets)
    table = {
        "group": np.arange(count), "start": np.zeros(count, int), "after": np.full(count, NONE),
        "pause": np.zeros(count, int), "reopens": np.full(count, NONE), **fields,
    }  # fmt: skip
    cores = np.ones(columns, int)
    sources = Sources(fabric.inject[RESPONSES, :columns], cores, 0 * cores, 1000 * cores)
    networks = np.full(count, RESPONSES)
    return arrivals(fabric, Packets(source, node, networks, flits, **table), sources)[1].tolist()


@pytest.mark.parametrize("goal", [0, 1, 2])
@pytest.mark.parametrize("vcs", [1, 2, 4])
def test_one_packet_pays_its_hops_and_its_flits(goal, vcs):
    assert arrive(3, Router(vcs, 8), (0, goal, 5)) == [1 + 1 + (goal + 1) * HOP + 5]


def test_router_and_link_cycles_make_the_hop():
    router = Router(1, 16, router_cycles=4, link_cycles=2)
    assert arrive(2, router, (0, 1, 5)) == [1 + 2 + 2 * (4 + 2) + 5]


@pytest.mark.parametrize("credit_cycles", [1, 2, 5])
def test_one_flit_of_buffer_waits_for_the_credit_of_the_one_before(credit_cycles):
    """Flit by flit over the link between the routers: its delay and the credit's way back."""
    router = Router(1, 1, credit_cycles=credit_cycles)
    assert arrive(2, router, (0, 1, 4)) == [1 + 1 + 2 * HOP + 3 * (HOP + credit_cycles) + 1]


@pytest.mark.parametrize(("depth", "stalls"), [(3, True), (4, False)])
def test_a_buffer_as_deep_as_its_loop_of_credits_streams(depth, stalls):
    (arrival,) = arrive(2, Router(1, depth), (0, 1, 9))
    assert (arrival > 1 + 1 + 2 * HOP + 9) == stalls


@pytest.mark.parametrize("vcs", [1, 2])
def test_of_two_packets_that_meet_one_waits_for_the_others_tail(vcs):
    """Core 1's packet has the link to 2 from cycle 2 to 6; core 0's comes at 5 and has it at 7."""
    near, far = 1 + 1 + 2 * HOP + 5, 7 + 2 * HOP + 5
    assert arrive(3, Router(vcs, 16), (0, 2, 5), (1, 2, 5)) == [far, near]


def test_shared_flit_by_flit_the_first_is_held_up_and_the_second_gains_nothing():
    """The link to 2 carries core 1's flits at 2, 3, 4, 6, 8 and core 0's at 5, 7, 9, 10, 11."""
    router = Router(2, 8, hold_switch=False)
    assert arrive(3, router, (0, 2, 5), (1, 2, 5)) == [11 + 2 * HOP + 1, 8 + 2 * HOP + 1]


@pytest.mark.parametrize(("vcs", "arrival"), [(1, 36), (2, 16)])
def test_a_blocked_packet_holds_up_those_behind_it_in_its_channel_only(vcs, arrival):
    """Core 2's packet to itself fills the ejection buffer until it is whole at 25. Core 0's first,
    four flits, stands before it, two flits each at routers 2 and 1, and goes on when the credits
    are back at 26. The next, to core 1, finds that channel full: its head follows at 28, after the
    credits of 27 and 28. In a channel of its own it goes at 8 and 9."""
    router = Router(vcs, 2)
    behind = arrive(3, router, (2, 2, 20), (0, 2, 4), (0, 1, 2))[2]
    assert behind == arrival


def test_a_packet_waits_for_the_group_before_it_and_its_pause():
    fields = {"after": np.array([NONE, 0]), "pause": np.array([0, 7])}
    first, second = arrive(2, Router(1, 8), (0, 1, 5), (1, 0, 5), **fields)
    assert second == first + 7 + first


def test_a_window_lets_a_source_go_on_a_cycle_after_a_packet_is_there():
    fabric = mesh(1, 2, Router(1, 8))
    two = np.zeros(2, int)
    packets = Packets(two, two + 1, two + RESPONSES, two + 5, np.arange(2), two, two + NONE, two,
                      two)  # fmt: skip
    one = np.ones(1, int)
    sources = Sources(fabric.inject[RESPONSES, :1], one, 0 * one, one)
    entered, arrived = arrivals(fabric, packets, sources)
    assert entered[1] == arrived[0] + 1 + 1


def test_a_lock_keeps_other_messages_out_between_a_messages_packets():
    """Messages of two packets of 5 flits from cores 0 and 1 to 2; core 1's is at the link first.
    Its second packet stands behind its first, so that only a lock brings it in before core 0's."""
    packets = [(0, 2, 5), (0, 2, 5), (1, 2, 5), (1, 2, 5)]
    groups = np.array([0, 0, 1, 1])
    shared = arrive(3, Router(1, 16), *packets, group=groups)
    locked = arrive(3, Router(1, 16, locked=True), *packets, group=groups)
    first = 1 + 1 + 2 * HOP + 5
    assert shared == [first + 5, first + 15, first, first + 10]
    assert locked == [first + 10, first + 15, first, first + 5]


def test_what_cannot_arrive_is_reported(monkeypatch):
    monkeypatch.setattr("npusim.validate.noc.reference.LIMIT_CYCLES", 10)
    with pytest.raises(RuntimeError, match="1 packets have not arrived after 10 cycles"):
        arrive(3, Router(1, 8), (0, 2, 5))
