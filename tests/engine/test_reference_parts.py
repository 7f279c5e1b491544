"""Parts of the reference engine alone: cutting transfers, bins, spans, the phases of a tick."""

import random

import pytest
from chips import Stream, mesh
from hypothesis import given
from hypothesis import strategies as st

from npusim.engine.reference.clock import Bell, Clock, Phase
from npusim.engine.reference.counters import Bytes, Track, bin_length
from npusim.engine.reference.split import packet_bytes, units_of


@given(
    st.integers(0, 3_000),
    st.integers(1, 2_000),
    st.integers(0, 500),
    st.integers(0, 100),
    st.sampled_from([64, 100, 256]),
    st.sampled_from([96, 128, 256]),
)
def test_units_cover_the_bytes_of_the_task_in_order(address, num_bytes, row, gap, unit, interleave):
    two_d = {"row_bytes": row, "stride_bytes": row + gap}
    s = Stream()
    s.load(0, address, num_bytes, **two_d)
    wiring = mesh(memory="shared", num_channels=3, dma_unit_bytes=unit, interleave=interleave)
    units = units_of(0, s.build(), wiring)
    row = row or num_bytes
    expected = []
    for i in range(num_bytes):
        a = address + i // row * two_d["stride_bytes"] + i % row
        stripe = a // interleave
        expected.append((stripe % 3, stripe // 3 * interleave + a % interleave))
    covered = [(u.channel, u.address + i) for u in units for i in range(u.bytes)]
    assert covered == expected
    assert [u.key for u in units] == [(0, i) for i in range(len(units))]


@pytest.mark.parametrize(
    "num_bytes, sizes",
    [
        (1, [1]),
        (64, [64]),
        (65, [64, 1]),
        (256, [64] * 4),
        (260, [65] * 4),
        (1025, [256] * 4 + [1]),
    ],
)
def test_packets_of_a_message(num_bytes, sizes):
    wiring = mesh(min_packet_bytes=64, max_packet_bytes=256, packets_per_message=4)
    assert packet_bytes(num_bytes, wiring) == sizes


@pytest.mark.parametrize("last_tick, length", [(0, 1), (1023, 1), (1024, 2), (2047, 2), (2048, 4)])
def test_bin_length(last_tick, length):
    assert bin_length(last_tick) == length


def test_bytes_fall_into_the_bin_of_their_tick():
    moved = Bytes(2)
    for tick in (0, 3, 4):
        moved.add(1, tick, 10)
    assert moved.bins(4)[:, :2].tolist() == [[0, 0], [20, 10]]


@pytest.mark.parametrize("start, joined", [(164, True), (165, False)])
def test_spans_of_a_task_are_joined_over_a_gap_of_64(start, joined):
    track = Track(7, 64)
    track.add(5, 90, 100, 32)
    track.add(5, start, 200, 32)
    spans = [(7, 5, 90, 200, 64)] if joined else [(7, 5, 90, 100, 32), (7, 5, start, 200, 32)]
    assert track.spans(int) == spans


def test_spans_of_different_tasks_stay_apart():
    track = Track(0, 64)
    for task in (1, 2, 1):
        track.add(task, 10 * task, 10 * task + 5, 1)
    assert len(track.spans(int)) == 3


def test_phases_come_in_order_within_a_tick():
    clock, log = Clock(1_000_000, random.Random(0)), []

    def process(phase):
        yield clock.at(3, phase)
        log.append((clock.now, phase))

    for phase in reversed(Phase):
        clock.start(process(phase))
    clock.env.run()
    assert log == [(3, phase) for phase in Phase]


def test_bell_wakes_once_however_often_it_is_rung():
    clock, log = Clock(1_000_000), []
    bell = Bell(clock, Phase.LINKS)

    def sleeper():
        while True:
            yield from bell.wait()
            log.append(clock.now)

    def ringer():
        for tick in (2, 2, 5):
            yield clock.at(tick)
            bell.ring()
            bell.ring()

    clock.start(sleeper())
    clock.start(ringer())
    clock.env.run()
    assert log == [2, 5]
