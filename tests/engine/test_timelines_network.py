"""Queues, scratchpad port and NoC of both engines: end ticks computed by hand from the rules.

Chips have 64 bytes a tick at the port, 32 a tick at links of 2 ticks, headers of 8 bytes.
"""

from dataclasses import replace

import pytest
from chips import Stream, ints, mesh

from npusim.engine import fast, reference

ENGINES = {"reference": reference.run, "fast": fast.run}


@pytest.fixture(params=ENGINES)
def run(request):
    return ENGINES[request.param]


def chip(rows=1, columns=2, **settings):
    return mesh(rows, columns, memory="none", **settings)


def flits(payload: int) -> int:
    return -(-(payload + 8) // 32)


def test_tasks_of_a_queue_run_in_table_order(run):
    s = Stream()
    late = s.compute(0, 10, unit=1)
    first, second = s.compute(0, 5, [late]), s.compute(0, 7)
    out = run(chip(), s.build())
    assert [*out.start[[first, second]]] == [10, 15]
    assert [*out.end[[first, second]]] == [15, 22]


def test_compute_lasts_at_least_a_tick_and_sync_none(run):
    s = Stream()
    c = s.compute(0, 0)
    a = s.sync(0, [c])
    b = s.sync(1, [a])
    out = run(chip(), s.build())
    assert [*out.end[[c, a, b]]] == [1, 1, 1]


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_one_packet_over_some_hops(run, distance):
    s = Stream()
    send, recv = s.message(0, distance, 64)
    out = run(chip(1, 4), s.build())
    read, links = 1, distance + 2
    assert out.end[send] == read + flits(64)
    assert out.end[recv] == read + links * 2 + flits(64) + 1
    assert out.start[recv] == out.start[send] == 0


def test_packets_of_a_message_stream_behind_each_other(run):
    s = Stream()
    send, recv = s.message(0, 1, 256)  # four packets of 64 bytes, one issued a tick
    out = run(chip(), s.build())
    assert out.end[send] == 1 + 4 * 3
    assert out.end[recv] == 1 + 3 * 3 + (3 * 2 + 3) + 1


def test_message_to_oneself_goes_through_the_router(run):
    s = Stream()
    _, recv = s.message(0, 0, 64)
    assert run(chip(), s.build()).end[recv] == 1 + 2 * 2 + 3 + 1


def test_two_messages_collide_and_take_turns(run):
    s = Stream()
    receives = [s.message(0, 1, 64)[1], s.message(2, 1, 64)[1]]
    out = run(chip(1, 3), s.build())
    alone = 1 + 3 * 2 + 3 + 1
    assert sorted(out.end[receives]) == [alone, alone + 3]
    assert out.link["wait_ticks"].sum() == 3


def first_served(run, **settings) -> list[int]:
    """Which of three senders' packets cores 0, 2 and 4 (west, east, south of 1) bring in first."""
    s = Stream()
    receives = [s.message(core, 1, 256)[1] for core in (0, 2, 4)]
    out = run(chip(2, 3, packets_per_message=1, **settings), s.build())
    return [int(tick) for tick in out.end[receives]]


@pytest.mark.parametrize("fifo", [False, True])
def test_arbitration_goes_round_by_fifo_id(run, fifo):
    ends = first_served(run, fifo_arbitration=fifo)
    step = flits(256)
    assert sorted(ends) == [min(ends), min(ends) + step, min(ends) + 2 * step]
    assert ends[0] < ends[1] < ends[2]  # links are numbered by the core they come from


@pytest.mark.parametrize("slots, waits", [(3, True), (4, False)])
def test_credits_hold_back_the_packet_for_which_there_is_no_slot(run, slots, waits):
    """Core 1 takes its four packets in slowly: each holds an ejection slot until it is written."""
    s = Stream()
    send, _ = s.message(0, 1, 256)
    wiring = replace(chip(buffer_packets=slots), port_den=ints([64, 1]))
    out = run(wiring, s.build())
    eject = [i for i, name in enumerate(wiring.link_name) if name == "n1 out 1"]
    assert (out.link["wait_ticks"][eject].sum() > 0) == waits
    assert out.end[send] == 1 + 4 * 3


def test_a_slot_is_free_a_tick_after_its_packet_begins_to_leave(run):
    """With one slot a FIFO, packets of 3 flits: the first is granted links at 1, 3, 5, the second
    wants them when its tail has left, at 4, 6, 8, and waits only where that is the way out."""
    s = Stream()
    _, recv = s.message(0, 2, 128)
    wiring = chip(1, 3, buffer_packets=1, packets_per_message=2)
    out = run(wiring, s.build())
    waits = dict(zip(wiring.link_name, out.link["wait_ticks"], strict=True))
    written = 7 + 2 + 3 + 1
    assert {name for name, ticks in waits.items() if ticks} == {"n1 out 2"}
    assert out.end[recv] == written + 2 + 3 + 1  # there is one ejection slot


def test_port_serves_one_after_the_other(run):
    s = Stream()
    sends = [s.message(0, 1, 64, engine=e)[0] for e in (0, 1)]
    out = run(chip(port=(10, 64)), s.build())
    assert [*out.end[sends]] == [10 + 3, 20 + 3]
    assert out.core["port_busy_ticks"].tolist() == [20, 20]


@pytest.mark.parametrize("num_bytes, end", [(64 * 36, 40), (64 * 37, 41)])
def test_compute_is_stretched_by_what_the_port_gave_others(run, num_bytes, end):
    s = Stream()
    task = s.compute(0, 40, num_bytes=num_bytes)
    s.message(0, 1, 256)
    out = run(chip(), s.build())
    assert out.end[task] == end
    assert out.core["stretch_ticks"].tolist() == [end - 40, 0]


@pytest.mark.parametrize("num_bytes, end", [(0, 2), (1, 5)])
def test_compute_without_bytes_does_not_wait_for_the_port(run, num_bytes, end):
    s = Stream()
    task = s.compute(0, 2, num_bytes=num_bytes)
    s.message(0, 1, 256)  # the port is the message's for 4 ticks
    assert run(chip(), s.build()).end[task] == end


@pytest.mark.parametrize("ticks", [1, 3, 7])
def test_issue_spacing(run, ticks):
    s = Stream()
    send, _ = s.message(0, 1, 128)
    out = run(chip(dma_issue_ticks=ticks), s.build())
    assert out.end[send] == max(1 + 3 + 3, ticks + 1 + 3)


def test_outstanding_one_waits_for_the_unit_to_leave(run):
    s = Stream()
    send, _ = s.message(0, 1, 256)
    out = run(chip(dma_outstanding=1), s.build())
    assert out.end[send] == 4 * (1 + 3)


def test_next_task_of_a_dma_queue_starts_before_the_last_has_ended(run):
    s = Stream()
    first, second = s.message(0, 1, 64)[0], s.message(0, 1, 64)[0]
    out = run(chip(), s.build())
    assert out.start[second] == 1 < out.end[first]


HEADER_WAY = 3 * 2 + 1  # a header-only packet over three links


def test_handshake_asks_first(run):
    s = Stream()
    send, recv = s.message(0, 1, 64)
    out = run(chip(handshake=True), s.build())
    acknowledged = HEADER_WAY + HEADER_WAY
    assert out.start[send] == 0
    assert out.end[send] == acknowledged + 1 + 3
    assert out.end[recv] == acknowledged + 1 + 3 * 2 + 3 + 1


def test_handshake_waits_for_the_receive(run):
    s = Stream()
    busy = s.compute(1, 100)
    send, _ = s.message(0, 1, 64, recv_after=[busy])
    out = run(chip(handshake=True), s.build())
    assert out.end[send] == 100 + HEADER_WAY + 1 + 3


def test_handshake_request_takes_an_issue_slot(run):
    s = Stream()
    load = s.message(0, 1, 64)[0]
    second = s.message(0, 1, 64)[0]
    out = run(chip(handshake=True, dma_issue_ticks=5), s.build())
    issued = 2 * HEADER_WAY
    assert out.end[load] == issued + 1 + 3
    assert out.start[second] == issued + 5


def test_eager_receive_ends_when_it_is_posted(run):
    s = Stream()
    busy = s.compute(1, 100)
    _, recv = s.message(0, 1, 64, recv_after=[busy])
    assert run(chip(), s.build()).end[recv] == 100


def test_deadlock_names_task_and_peer(run):
    """Each core receives only when it has sent: with handshake nobody begins."""
    s = Stream()
    sends = [s.send(0, 512), s.send(1, 512)]
    s.recv(1, sends[0], [sends[1]])
    s.recv(0, sends[1], [sends[0]])
    out = run(chip(handshake=True), s.build())
    assert out.end.tolist() == [-1] * 4
    lines = "\n".join(out.waiting)
    assert "core 0: send task 0 (512 B to core 1) waits for core 1" in lines
    assert "core 1: send task 1 (512 B to core 0) waits for core 0" in lines
    assert run(chip(), s.build()).waiting == []


def test_bins_hold_all_bytes_of_links(run):
    s = Stream()
    s.message(0, 1, 100_000, [s.compute(0, 3_000)])
    out = run(chip(), s.build())
    assert out.bin_ticks * 1024 > out.end.max() >= out.bin_ticks * 512
    assert (out.link_bins.sum(axis=1) == out.link["bytes"]).all()
