"""Programs and chips at the ends of what is possible: both engines, equal and in time."""

from unittest import mock

import pytest
from chips import Stream, mesh
from test_engines_agree import assert_equal

from npusim.engine import fast, streams
from npusim.engine.reference import run as run_reference


def both(wiring, stream):
    outcome = fast.run(wiring, stream.build())
    assert_equal(outcome, run_reference(wiring, stream.build()))
    return outcome


def test_no_task():
    outcome = both(mesh(), Stream())
    assert not len(outcome.end) and not outcome.waiting


def test_one_sync_on_one_core_without_memory():
    stream = Stream()
    stream.sync(0)
    assert both(mesh(1, 1, memory="none"), stream).end.tolist() == [0]


def test_a_link_chooses_after_two_minutes_of_simulated_time():
    """Ticks beyond 2**36, where the wishes of two messages for one core are compared."""
    late = (1 << 37) + 5
    stream = Stream()
    begin = stream.compute(0, late)
    for core in (0, 1):
        stream.message(core, 2, 1000, [begin])
    outcome = both(mesh(1, 3, memory="none", fifo_arbitration=True), stream)
    assert not outcome.waiting and outcome.end.min() >= late


def test_addresses_of_many_terabytes():
    stream = Stream()
    stream.load(0, (1 << 44) + 12, 900, row_bytes=300, stride_bytes=1 << 40)
    outcome = both(mesh(num_channels=3, interleave=1000), stream)
    assert outcome.channel["read_bytes"].sum() == 900


def test_units_of_a_byte_without_headers():
    stream = Stream()
    stream.load(0, 5, 40)
    stream.message(0, 1, 40)
    outcome = both(mesh(dma_unit_bytes=1, min_packet_bytes=1, packets_per_message=64,
                        header_bytes=0), stream)  # fmt: skip
    assert outcome.channel["requests"].tolist() == [40, 0]
    assert outcome.link["packets"].max() == 40


def test_a_full_arena_is_reported():
    stream = Stream()
    stream.load(0, 0, 4096)
    with (
        mock.patch.object(streams, "_most_packets", lambda *_: 2),
        pytest.raises(AssertionError, match="more packets are alive"),
    ):
        fast.run(mesh(dma_outstanding=4), stream.build())
