"""Channel locking in both engines: end ticks computed by hand from the rules.

Chips have 64 bytes a tick at the port, 32 a tick at links of 2 ticks, headers of 8 bytes.
"""

from dataclasses import replace

import pytest
from chips import Stream, ints, mesh

from npusim.engine import fast, reference

ENGINES = {"reference": reference.run, "fast": fast.run}
FLITS = 3  # of a packet of 64 bytes


@pytest.fixture(params=ENGINES)
def run(request):
    return ENGINES[request.param]


def chip(rows=1, columns=2, *, memory="none", **settings):
    return mesh(rows, columns, memory=memory, **settings)


def header_way(distance: int) -> int:
    """A header-only packet alone, to a core so many hops away."""
    return (distance + 2) * 2 + 1


def data_way(distance: int) -> int:
    """A packet of 64 bytes alone, from its issue to the end of its write."""
    return 1 + (distance + 2) * 2 + FLITS + 1


def locked_pair(run, **settings):
    """Ends of two messages of 4 packets, from cores 0 and 2 to core 1."""
    s = Stream()
    receives = [s.message(core, 1, 256)[1] for core in (0, 2)]
    return run(chip(1, 3, **settings), s.build()).end[receives]


@pytest.mark.parametrize("num_vcs", [1, 2, 3])
def test_lock_keeps_a_link_for_one_message(run, num_vcs):
    first, second = locked_pair(run, locked=True, num_vcs=num_vcs)
    assert first == data_way(1) + 3 * FLITS  # as if it were alone
    assert second == first + 4 * FLITS


def test_without_lock_messages_share_packet_by_packet(run):
    ends = locked_pair(run, locked=False)
    assert abs(ends[0] - ends[1]) == FLITS


@pytest.mark.parametrize(
    "locked, num_packets, waits",
    [(True, 6, False), (True, 7, True), (False, 8, False), (False, 9, True)],
)
def test_messages_have_the_slots_of_the_last_virtual_channel_only(run, locked, num_packets, waits):
    """Core 1 takes nothing in: 4 packets fill its ejection slots, the next 2 a virtual channel."""
    s = Stream()
    s.message(0, 1, num_packets * 64)
    settings = {"num_vcs": 2, "buffer_packets": 2, "packets_per_message": num_packets,
                "max_packet_bytes": 64}  # fmt: skip
    wiring = replace(
        chip(locked=locked, **settings), port_den=ints([64, 1]), port_num=ints([1, 99])
    )
    out = run(wiring, s.build())
    assert (out.link["wait_ticks"][wiring.link_name.index("n1 0→1")] > 0) == waits


def load_past_a_lock(run, **settings) -> int:
    """How long core 1 loads from a port at router 0 while a message holds the link between, until
    after tick 300."""
    s = Stream()
    s.message(0, 1, 256)
    load = s.load(1, 0, 64, [s.compute(1, 150)], memory=0)
    slow = {"dma_issue_ticks": 100, "dma_outstanding": 1}  # one packet in 100 ticks
    out = run(chip(memory="edge", **slow, **settings), s.build())
    return out.end[load] - out.start[load]


@pytest.mark.parametrize("num_vcs, waits", [(1, True), (2, False)])
def test_memory_traffic_heeds_locks_only_where_it_shares_the_channel(run, num_vcs, waits):
    alone = load_past_a_lock(run)
    assert alone < 100
    locked = load_past_a_lock(run, locked=True, num_vcs=num_vcs)
    assert locked > 150 if waits else locked == alone


@pytest.mark.parametrize("lock_ack", [False, True])
def test_memory_traffic_does_not_heed_locks_that_are_taken_ahead(run, lock_ack):
    alone = load_past_a_lock(run)
    locked = load_past_a_lock(run, locked=True, handshake=True, lock_ack=lock_ack)
    assert locked == alone if lock_ack else locked > 150


@pytest.mark.parametrize("num_vcs, waits", [(1, True), (2, False)])
def test_acknowledges_heed_locks_only_where_they_share_the_channel(run, num_vcs, waits):
    """The acknowledge of 2 → 0 and the data of 0 → 2 want the same links."""
    s = Stream()
    s.message(0, 2, 256)
    second, _ = s.message(2, 0, 64, [s.compute(2, 100)])
    settings = {"handshake": True, "locked": True, "num_vcs": num_vcs}
    out = run(chip(1, 3, dma_issue_ticks=100, **settings), s.build())
    alone = 100 + 100 + 1 + FLITS  # the spacing after the request is the longer way
    last_packet = 4 * 100 + 1  # it enters the network; the request took the first turn
    expected = last_packet + FLITS + header_way(2) + 1 + FLITS
    assert out.end[second] == (expected if waits else alone)


@pytest.mark.parametrize("lock_ack", [False, True])
def test_acknowledge_waits_until_its_way_and_the_datas_are_unlocked(run, lock_ack):
    """0 → 4 is acknowledged over 4 → 3, which the data of 5 → 3 wants too."""
    s = Stream()
    _, first = s.message(0, 4, 4096)
    _, second = s.message(5, 3, 64)
    out = run(chip(2, 3, handshake=True, locked=True, lock_ack=lock_ack), s.build())
    acknowledged = 2 * header_way(2)
    assert out.end[first] == acknowledged + 4 + 4 * 2 + 16 * 9 + 4
    answer = header_way(2) + data_way(2)
    assert out.end[second] == answer + (out.end[first] if lock_ack else header_way(2))


@pytest.mark.parametrize("num_vcs", [1, 2])
@pytest.mark.parametrize("lock_ack", [False, True])
def test_cores_that_send_to_each_other_take_turns(run, lock_ack, num_vcs):
    s = Stream()
    receives = [s.message(src, 1 - src, 64)[1] for src in (0, 1)]
    out = run(chip(handshake=True, locked=True, lock_ack=lock_ack, num_vcs=num_vcs), s.build())
    turn = header_way(1) + data_way(1)
    first = header_way(1) + turn
    assert [*out.end[receives]] == [first, first + turn if lock_ack else first]


def test_waiting_acknowledges_go_in_order_of_the_tick_they_were_due(run):
    """Core 1 gets three messages; the later SEND in the table asks first."""
    s = Stream()
    order = [
        s.message(core, 1, 64, [s.compute(core, ticks)])[1]
        for core, ticks in ((0, 9), (4, 8), (2, 1))
    ]
    out = run(chip(2, 3, handshake=True, locked=True, lock_ack=True), s.build())
    turn = header_way(1) + data_way(1)
    first = 1 + header_way(1) + turn
    assert [*out.end[order]] == [first + 2 * turn, first + turn, first]


def test_a_message_to_oneself_releases_all_it_locked(run):
    s = Stream()
    receives = [s.message(0, 0, 64, engine=engine)[1] for engine in (0, 1)]
    out = run(chip(1, 1, handshake=True, locked=True, lock_ack=True), s.build())
    assert out.waiting == [] and (out.end[receives] > 0).all()
