"""The Wormhole replay: routes and times by hand, both engines, the published definition."""

from dataclasses import replace

import numpy as np
import pytest

from npusim.engine import fast, reference
from npusim.validate.compare import errors_of
from npusim.validate.wormhole import chip
from npusim.validate.wormhole.replay import alone_cycles, arrival_cycles, replayed_cycles
from npusim.validate.wormhole.suite import run
from npusim.validate.wormhole.traces import Trace, read_traces

ENGINES = {"fast": fast.run, "simpy": reference.run}


def tile(x: int, y: int) -> int:
    return y * chip.COLUMNS + x


def trace(*reads: tuple[int, int, int, int, int]) -> Trace:
    """Reads as (noc, cycle, source, reader, bytes)."""
    noc, cycle, source, reader, size = np.array(reads).T
    return Trace("t", noc, cycle, source, reader, size, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def wiring():
    return chip.build_wiring()


@pytest.fixture(scope="module")
def traces():
    return read_traces()


def way(wiring, noc: int, source: int, target: int) -> list[str]:
    """Sides of the links that a packet takes."""
    place, sides = chip.niu(noc, source), []
    while True:
        link = int(wiring.route[1, place, chip.niu(noc, target)])
        sides.append(wiring.link_name[link].split()[-1])
        place = int(wiring.link_to_router[link])
        if place < 0:
            assert wiring.link_to_node[link] == chip.niu(noc, target)
            return sides[:-1]


def test_noc_0_goes_east_then_south_noc_1_north_then_west(wiring):
    assert way(wiring, 0, tile(8, 11), tile(0, 1)) == ["east"] * 2 + ["south"] * 2
    assert way(wiring, 1, tile(1, 0), tile(9, 11)) == ["north"] + ["west"] * 2
    assert chip.num_hops(0, tile(1, 1), tile(0, 0)) == 9 + 11


def test_request_and_response_go_round_once():
    there = chip.num_hops(1, tile(3, 4), tile(7, 9))
    back = chip.num_hops(1, tile(7, 9), tile(3, 4))
    assert there + back == chip.ROWS + chip.COLUMNS


@pytest.mark.parametrize("engine", ENGINES)
def test_a_read_alone(engine, wiring):
    one = trace((0, 100, tile(1, 1), tile(3, 1), 4096))
    request = 10 + (8 + 12 * 0) * 9 + 50  # eight hops on east, from 3 to 1
    assert arrival_cycles(one).tolist() == [100 + request]
    pieces, rate = 4096 // chip.PACKET_BYTES, 28.1
    exact = 100 + request + 5 + 2 * 9 + 5 + 4096 / rate
    assert alone_cycles(one) == pytest.approx(exact)
    ours = replayed_cycles(one, wiring, ENGINES[engine])
    assert exact < ours < exact + (pieces + 8) / chip.TICKS_PER_CYCLE + 4096 / rate / pieces


def test_reads_of_one_source_share_its_link(wiring):
    reads = [(0, 0, tile(1, 1), tile(x, 1), 4096) for x in (2, 3, 4, 6)]
    together = replayed_cycles(trace(*reads), wiring)
    assert together == pytest.approx(4 * 4096 / 28.1, rel=0.25)
    assert together > 4 * 4096 / 28.1


def test_the_two_nocs_do_not_share_links(wiring):
    read = (0, 0, tile(1, 1), tile(3, 3), 65536)
    other = (1, 0, tile(1, 1), tile(3, 3), 65536)
    alone = max(replayed_cycles(trace(r), wiring) for r in (read, other))
    assert replayed_cycles(trace(read, other), wiring) == alone


def test_a_dram_tile_gives_its_own_rate(wiring):
    size = 1 << 16
    fast_tile = replayed_cycles(trace((0, 0, tile(1, 1), tile(2, 1), size)), wiring)
    dram_tile = replayed_cycles(trace((0, 0, tile(0, 1), tile(1, 1), size)), wiring)
    assert dram_tile - fast_tile == pytest.approx(size / 23.2 - size / 28.1, rel=0.05)


def test_the_golden_figure_is_the_last_event_less_20(traces):
    assert len(traces) == 36
    assert [t.golden_cycles for t in traces] == [t.span_cycles - 20 for t in traces]
    assert sum(len(t.cycle) for t in traces) == 10_496


def test_both_engines_agree_on_a_part_of_a_trace(wiring, traces):
    whole = next(t for t in traces if t.name == "4x4_BLOCK_TO_8x4_BLOCK")
    names = ("noc", "cycle", "source", "reader", "bytes")
    part = replace(whole, **{name: getattr(whole, name)[:40] for name in names})
    ours, plain = (replayed_cycles(part, wiring, engine) for engine in ENGINES.values())
    assert ours == plain


def test_contention_is_what_makes_the_suite_agree():
    replayed, alone = run(full=False, progress=lambda text: None)
    errors = errors_of(replayed.comparisons)
    assert errors.n == 36
    assert errors.within(replayed.goal)
    assert errors_of(alone.comparisons).mape > 5 * errors.mape
    pairs = zip(replayed.comparisons, alone.comparisons, strict=True)
    assert all(a.ours >= b.ours for a, b in pairs)
    assert "3.1%" in replayed.note and "35.6%" in alone.note
