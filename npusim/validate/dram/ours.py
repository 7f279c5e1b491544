"""Requests at one channel → figures of the engine's burst kernel.

A chip of one core whose own limits are out of the way: its DMA engines have a request each under
way without bound, its scratchpad port takes a request a tick. A compute unit that does nothing else
is the clock that releases the requests at their times.
"""

from dataclasses import replace
from functools import cache

import numpy as np

from npusim.machine.core import build_tasks
from npusim.machine.system import ENGINES, build_wiring
from npusim.program import Program, ProgramBuilder
from npusim.spec.files import find, read_tree
from npusim.spec.hardware import Hardware
from npusim.spec.load import load_hardware
from npusim.spec.memory import DramTiming
from npusim.spec.tree import plain
from npusim.validate.dram.requests import Figures, Requests

TICK_MHZ = 1000
UNIT_BYTES = 4096  # of the DMA, and the most that a request may have
CHIP = {
    "mesh.rows": 1, "mesh.columns": 1,
    "core_groups.large.core.dma.engines": 3,
    "core_groups.large.core.dma.unit_bytes": UNIT_BYTES,
    "core_groups.large.core.scratchpad.bank_bytes_per_cycle": UNIT_BYTES,
    "memories.hbm.channels": 1, "memories.hbm.interleave_bytes": UNIT_BYTES,
    "memories.hbm.request_latency_ns": 1, "memories.hbm.response_latency_ns": 1,
}  # fmt: skip


@cache
def part_timing(part: str) -> DramTiming:
    """Timing of a bundled part."""
    return DramTiming.model_validate(plain(read_tree(find("part", part), "part")))


@cache
def _chip(mhz: int) -> Hardware:
    clocks = {"noc.clock_mhz": mhz, "core_groups.large.core.clock_mhz": mhz}
    return load_hardware("npu_large_core", CHIP | clocks)


def chip_with(timing: DramTiming, window: int, mhz: int = TICK_MHZ) -> Hardware:
    """The chip of one core and one channel, all on one clock."""
    hardware = _chip(mhz)
    memory = hardware.memories[0].model_copy(update={"timing": timing, "window": window})
    return hardware.model_copy(update={"memories": (memory,)})


def ours(timing: DramTiming, window: int, requests: Requests, mhz: int = TICK_MHZ) -> Figures:
    """The figures of the engine. Requests arrive at whole ticks of `mhz`, at most one a tick."""
    hardware, tick_ns = chip_with(timing, window, mhz), 1000 / mhz
    tasks = build_tasks(_program(requests, tick_ns), hardware)
    wiring = build_wiring(hardware)
    wiring = replace(wiring, dma_outstanding=np.array([len(requests)]))
    outcome = ENGINES["fast"](wiring, tasks, None)
    channel = outcome.channel
    in_channel = channel["queue_ticks"][0] + channel["service_ticks"][0]
    response = wiring.channels.response_ticks[0]
    return Figures(
        gb_s=float(requests.bytes.sum() / (outcome.end.max() * tick_ns)),
        latency_ns=float(in_channel / channel["requests"][0] - response) * tick_ns,
    )


def _program(requests: Requests, tick_ns: float) -> Program:
    builder = ProgramBuilder()
    op = builder.op("requests", "transfer")
    ticks = np.round(requests.arrival_ns / tick_ns).astype(np.int64)
    gaps = np.maximum(np.diff(ticks, prepend=0), 1)
    rows = zip(requests.address, requests.bytes, requests.is_write, gaps, strict=True)
    for address, size, is_write, gap in rows:
        released = builder.compute(0, 1, op, int(gap))
        move = builder.store if is_write else builder.load
        engine = 2 if is_write else 1
        move(0, op, 0, int(address), int(size), [released], engine=engine)
    return builder.build()
