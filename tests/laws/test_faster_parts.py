"""A faster part never hurts a single task, and everything twice as fast takes half the time."""

from dataclasses import replace

import numpy as np
import pytest
from chips import Stream
from hypothesis import given, settings
from hypothesis import strategies as st
from law_cases import ENGINES, simulated
from test_engines_agree import random_dram, random_tasks, random_wiring

DRAM_TIMES = ("t_rcd", "t_rcd_wr", "t_rp", "t_cl", "t_cwl", "t_ras", "t_rrd", "t_rrd_l", "t_faw",
              "t_ccd_l", "t_rtp", "t_wtr", "t_wtr_l", "t_rtw", "t_wr", "t_refi", "t_rfc",
              "t_cmd")  # fmt: skip
RANDOM = settings(max_examples=40, deadline=None)
PROGRAMS = st.randoms(use_true_random=False)

# name: what of a Wiring is faster
CHIP_PARTS = {
    "wider links": lambda w: replace(w, link_bytes=2 * w.link_bytes),
    "quicker routers": lambda w: replace(w, link_ticks=np.maximum(1, w.link_ticks // 2)),
    "deeper buffers": lambda w: replace(w, buffer_packets=2 * w.buffer_packets),
    "no headers": lambda w: replace(w, header_bytes=0),
    "no handshake": lambda w: replace(w, handshake=False, lock_ack=False),
    "a wider scratchpad port": lambda w: replace(w, port_den=2 * w.port_den),
    "more transfers in flight": lambda w: replace(w, dma_outstanding=2 * w.dma_outstanding),
    "quicker issue": lambda w: replace(w, dma_issue_ticks=np.maximum(1, w.dma_issue_ticks // 2)),
}
CHANNEL_PARTS = {
    "channel rate": lambda c: {"mb_s": 2 * c.mb_s},
    "request latency": lambda c: {"request_ticks": np.maximum(1, c.request_ticks // 2)},
    "response latency": lambda c: {"response_ticks": np.maximum(1, c.response_ticks // 2)},
    **{f"half {name}": lambda c, name=name: {name: getattr(c, name) // 2}
       for name in DRAM_TIMES if name not in ("t_cl", "t_cwl", "t_refi", "t_rfc")},
    # together: a read latency below the write latency is no DRAM
    "half t_cl and t_cwl": lambda c: {"t_cl": c.t_cl // 2, "t_cwl": c.t_cwl // 2},
}  # fmt: skip


def faster(part: str, wiring):
    if part in CHIP_PARTS:
        return CHIP_PARTS[part](wiring)
    return replace(
        wiring, channels=replace(wiring.channels, **CHANNEL_PARTS[part](wiring.channels))
    )


# Assumes nothing of refreshes: to be sooner may mean to run into one.
NO_REFRESH = {"t_refi": 0, "t_rfc": 0}
# Of several units in flight, arbitration or a reordering channel may choose worse with a faster
# part (Graham's anomalies, 1969); one unit alone may not.
ANOMALY = 1.03


def single_task(rng, wiring, largest: int) -> Stream:
    """One LOAD, STORE, message to another core, or COMPUTE."""
    stream, core = Stream(), rng.randrange(wiring.num_cores)
    kind = rng.choice(["load", "store", "compute", *["message"] * (wiring.num_cores > 1)])
    num_bytes = rng.randint(1, largest)
    if kind in ("load", "store"):
        memory, address = rng.randrange(len(wiring.memory_interleave)), 64 * rng.randrange(1 << 10)
        getattr(stream, kind)(core, address, num_bytes, memory=memory)
    elif kind == "message":
        other = (core + rng.randrange(1, wiring.num_cores)) % wiring.num_cores
        stream.message(core, other, num_bytes)
    else:
        stream.compute(core, rng.randint(1, 3_000), num_bytes=num_bytes)
    return stream


@pytest.mark.parametrize(("largest", "slack"), [(16, 1.0), (20_000, ANOMALY)])
@pytest.mark.parametrize("part", [*CHIP_PARTS, *CHANNEL_PARTS])
def test_one_faster_part_never_hurts_a_single_task(part, largest, slack):
    @settings(max_examples=10, deadline=None)
    @given(PROGRAMS)
    def check(rng):
        wiring = random_wiring(rng, dram={**random_dram(rng), **NO_REFRESH})
        tasks = single_task(rng, wiring, largest).build()
        slow, fast = (ENGINES["fast"](w, tasks) for w in (wiring, faster(part, wiring)))
        assert fast.end.max() <= slow.end.max() * slack

    check()


def halved_case(rng):
    """A chip, one with all clocks doubled, and streams. Rates and times are such that a tick and a
    burst are whole numbers of ps in both, as rounding is no part of the law."""
    dram = {**random_dram(rng), "mb_s": rng.choice([64_000, 25_600, 12_800])}
    wiring = random_wiring(rng, khz=1_000_000, dram=dram)
    channels = wiring.channels
    quick = replace(wiring, khz=2_000_000, channels=replace(channels, mb_s=2 * channels.mb_s))
    times = {name: 2 * getattr(channels, name) for name in DRAM_TIMES}
    slow = replace(wiring, channels=replace(channels, **times))
    return slow, quick, random_tasks(rng, wiring)


@pytest.mark.parametrize("engine", ENGINES)
def test_everything_twice_as_fast_takes_as_many_ticks_of_half_the_length(engine):
    @settings(max_examples=40 if engine == "fast" else 6, deadline=None)
    @given(PROGRAMS)
    def check(rng):
        slow, quick, tasks = halved_case(rng)
        a, b = ENGINES[engine](slow, tasks), ENGINES[engine](quick, tasks)
        for name in ("ready", "start", "end"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(a.channel["busy_ps"], 2 * b.channel["busy_ps"])

    check()


@pytest.mark.parametrize(
    ("base", "part"),
    [
        ("gemm", "hw.core_groups.0.core.clock_mhz=1000"),
        ("gemm", "hw.core_groups.0.core.vector.lanes=1024"),
        ("gemm", "hw.core_groups.0.core.arrays.count=2"),
        ("gemm", "hw.memories.0.timing.channel_gb_s=60"),
        ("transfer", "hw.noc.clock_mhz=2000"),
        ("transfer", "hw.noc.link_bytes_per_cycle=640"),
        ("transfer", "hw.noc.router_cycles=1"),
        ("collective", "hw.noc.link_bytes_per_cycle=640"),
        ("memory", "hw.memories.0.timing.channel_gb_s=30"),
        ("memory", "hw.memories.0.timing.t_rcd_ns=1"),
        ("memory", "hw.memories.0.channels=16"),
    ],
)
def test_one_faster_part_never_hurts_a_single_operation(base, part):
    slow, _ = simulated([], base, model=None)
    fast, _ = simulated([part], base, model=None)
    assert fast.makespan_ps <= slow.makespan_ps
