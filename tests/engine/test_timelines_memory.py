"""LOAD and STORE of both engines: end ticks computed by hand from the rules.

A tick is 1 ns and a 64-byte burst takes a tick; the port takes 64 bytes a tick.
"""

import pytest
from chips import DRAM, Stream, mesh

from npusim.engine import fast, reference

ENGINES = {"reference": reference.run, "fast": fast.run}
REQUEST, RESPONSE = DRAM["request_ticks"], DRAM["response_ticks"]
OPEN_READ = (DRAM["t_rcd"] + DRAM["t_cl"]) // 1000
OPEN_WRITE = (DRAM["t_rcd"] + DRAM["t_cwl"]) // 1000
HIT_READ = DRAM["t_cl"] // 1000


@pytest.fixture(params=ENGINES)
def run(request):
    return ENGINES[request.param]


def test_load_of_one_unit(run):
    s = Stream()
    task = s.load(0, 0, 256)
    out = run(mesh(), s.build())
    assert out.end[task] == REQUEST + OPEN_READ + 4 + RESPONSE + 4


def test_store_of_one_unit(run):
    s = Stream()
    task = s.store(0, 0, 256)
    out = run(mesh(), s.build())
    assert out.end[task] == 4 + REQUEST + OPEN_WRITE + 4 + RESPONSE


def test_load_of_one_unit_over_the_edge(run):
    """Core 1's request crosses three links to the port at router 0, and so does its data back."""
    s = Stream()
    task = s.load(1, 0, 256, memory=0)
    out = run(mesh(1, 2, memory="edge"), s.build())
    request, data = 3 * 2 + 1, 3 * 2 + 9
    assert out.end[task] == request + REQUEST + OPEN_READ + 4 + RESPONSE + data + 4


def test_store_of_one_unit_over_the_edge(run):
    s = Stream()
    task = s.store(1, 0, 256, memory=0)
    out = run(mesh(1, 2, memory="edge"), s.build())
    data, acknowledge = 3 * 2 + 9, 3 * 2 + 1
    assert out.end[task] == 4 + data + REQUEST + OPEN_WRITE + 4 + RESPONSE + acknowledge


def units(run, wiring, **transfer) -> list[int]:
    """Units that each channel has served for one LOAD."""
    s = Stream()
    s.load(0, **transfer)
    return run(wiring, s.build()).channel["requests"].tolist()


@pytest.mark.parametrize(
    "transfer, expected",
    [
        ({"address": 0, "num_bytes": 256}, [1, 0]),
        ({"address": 0, "num_bytes": 257}, [1, 1]),
        ({"address": 255, "num_bytes": 2}, [1, 1]),
        ({"address": 256, "num_bytes": 256}, [0, 1]),
        ({"address": 0, "num_bytes": 1024}, [2, 2]),
        ({"address": 0, "num_bytes": 200, "row_bytes": 100, "stride_bytes": 512}, [2, 0]),
        ({"address": 0, "num_bytes": 201, "row_bytes": 100, "stride_bytes": 256}, [2, 1]),
        ({"address": 200, "num_bytes": 200, "row_bytes": 100, "stride_bytes": 512}, [2, 2]),
    ],
)
def test_units_end_at_interleave_and_rows(run, transfer, expected):
    assert units(run, mesh(memory="shared", num_channels=2), **transfer) == expected


def test_units_end_at_dma_unit_bytes(run):
    wiring = mesh(memory="shared", num_channels=2, dma_unit_bytes=100)
    assert units(run, wiring, address=0, num_bytes=512) == [3, 4]  # 256, 300, 400, 500


def test_second_unit_of_an_open_row_follows_on_the_bus(run):
    s = Stream()
    task = s.load(0, 0, 512)
    out = run(mesh(), s.build())
    assert out.end[task] == REQUEST + OPEN_READ + 8 + RESPONSE + 4
    assert (out.channel["row_hits"][0], out.channel["row_misses"][0]) == (7, 1)


@pytest.mark.parametrize("limit", [1, 2])
def test_outstanding_limit_of_loads(run, limit):
    s = Stream()
    task = s.load(0, 0, 512)
    out = run(mesh(dma_outstanding=limit), s.build())
    first = REQUEST + OPEN_READ + 4 + RESPONSE + 4
    alone = REQUEST + HIT_READ + 4 + RESPONSE + 4
    assert out.end[task] == (first + alone if limit == 1 else first + 4)


def queued(run, window: int, extra_hits: int):
    """Three units at a channel that is busy: a row conflict first, then hits of the open row."""
    s = Stream()
    s.load(0, 0, 64, engine=0)
    conflict = s.load(0, 4096, 64, engine=1)
    hits = [s.load(0, 64 * (i + 1), 64, engine=2 + i) for i in range(extra_hits)]
    wiring = mesh(num_engines=12, dram={"window": window})
    out = run(wiring, s.build())
    return out.end[conflict], [out.end[hit] for hit in hits]


def test_window_of_one_is_first_come_first_served(run):
    conflict, hits = queued(run, window=1, extra_hits=2)
    assert conflict < min(hits)


def test_row_hits_overtake_within_the_window(run):
    conflict, hits = queued(run, window=4, extra_hits=2)
    assert max(hits) < conflict


@pytest.mark.parametrize("window, overtaken", [(2, 2), (3, 3)])
def test_the_oldest_is_passed_over_at_most_window_times(run, window, overtaken):
    conflict, hits = queued(run, window, extra_hits=6)
    assert sum(hit < conflict for hit in hits) == overtaken


@pytest.mark.parametrize("window", [1, 4])
def test_direction_decides_between_closed_banks(run, window):
    """A write and, younger, a read wait behind a read that opens its row in tick 3."""
    s = Stream()
    s.load(0, 0, 64, engine=0)
    s.store(0, 1024, 64, engine=1)  # arrives in tick 4, after the port's tick
    read = s.load(0, 2048, 64, [s.compute(0, 1)], engine=2)
    out = run(mesh(num_engines=3, dram={"window": window}), s.build())
    second_activation = REQUEST + DRAM["t_rrd"] // 1000
    first_data = REQUEST + OPEN_READ + 1
    write_command = REQUEST + DRAM["t_rcd"] // 1000 + DRAM["t_rtw"] // 1000
    write_start = max(first_data, write_command + DRAM["t_cwl"] // 1000)
    after_write = write_start + 1 + (DRAM["t_wtr"] + DRAM["t_cl"]) // 1000
    starts = after_write if window == 1 else second_activation + OPEN_READ
    assert out.end[read] == starts + 1 + RESPONSE + 1


def test_queue_time_counts_from_arrival_to_pick(run):
    s = Stream()
    s.load(0, 0, 64, engine=0)
    s.load(0, 64, 64, engine=1)
    out = run(mesh(), s.build())
    assert out.channel["queue_ticks"][0] == 1  # the channel is open again in the next tick


# Due at 100: after a read command at 99; before one at 100, whose row is closed again after tRAS
# and tRP; before the activation at 100.
@pytest.mark.parametrize("start, activated", [(82, 85), (83, 86 + 32 + 14 + 50), (97, 150)])
def test_refresh_comes_before_the_column_command_that_would_not_be_earlier(run, start, activated):
    s = Stream()
    task = s.load(0, 0, 64, [s.compute(0, start)])
    dram = {"t_refi": 100_000, "t_rfc": 50_000}
    out = run(mesh(dram=dram), s.build())
    assert out.end[task] == activated + OPEN_READ + 1 + RESPONSE + 1


def test_bytes_by_direction_and_bins(run):
    s = Stream()
    s.load(0, 0, 1000)
    s.store(0, 5000, 300)
    out = run(mesh(), s.build())
    assert out.channel["read_bytes"][0] == 1000 and out.channel["write_bytes"][0] == 300
    assert out.channel_bins.sum() == 1300 and out.bin_ticks == 1
    assert out.core["port_bytes"].tolist() == [1300, 0]


def test_streams_reach_the_data_rate_although_bursts_of_a_group_are_two_apart(run):
    s = Stream()
    task = s.load(0, 0, 1024)
    dram = {"t_ccd_l": 2_000, "block_bytes": 64, "t_rrd": 1_000, "t_rrd_l": 1_000}
    out = run(mesh(dram=dram), s.build())
    assert out.end[task] == REQUEST + OPEN_READ + 16 + RESPONSE + 4
    assert (out.channel["row_hits"][0], out.channel["row_misses"][0]) == (14, 2)


def test_a_unit_to_a_free_bank_does_not_wait_behind_one_whose_bank_is_busy(run):
    """The conflict's bank may be precharged at tRAS; meanwhile the other unit arrives and goes."""
    s = Stream()
    s.load(0, 0, 64, engine=0)
    conflict = s.load(0, 4096, 64, [s.compute(0, 4)], engine=1)
    other = s.load(0, 1024, 64, [s.compute(0, 4, unit=1), s.compute(0, 4, unit=1)], engine=2)
    out = run(mesh(num_engines=3), s.build())
    activated = REQUEST + (DRAM["t_ras"] + DRAM["t_rp"]) // 1000
    assert out.end[other] == 8 + REQUEST + OPEN_READ + 1 + RESPONSE + 1
    assert out.end[conflict] == activated + OPEN_READ + 1 + RESPONSE + 1


@pytest.mark.parametrize("window", [1, 2])
def test_a_hit_that_was_picked_ahead_keeps_its_place_until_its_column_command(run, window):
    """Of 512 bytes, 256 more of the row, and 64 of another bank, whose row may be opened at once
    only if the second unit does not fill the window."""
    s = Stream()
    s.load(0, 0, 512, engine=0)
    s.load(0, 512, 256, engine=1)
    other = s.load(0, 1024, 64, engine=2)
    wiring = mesh(num_engines=3, dma_unit_bytes=512, interleave=1024, dram={"window": window})
    out = run(wiring, s.build())
    data_end = REQUEST + OPEN_READ + 8 + 4
    column_command = data_end - 4 - HIT_READ
    start = data_end if window == 2 else column_command + OPEN_READ
    port_free = data_end - 4 + RESPONSE + 8 + 4
    assert out.end[other] == max(start + 1 + RESPONSE, port_free) + 1
