"""A recorded trace → the cycle at which its last read has its data, on the engine or by itself.

A read is a message from the tile it reads to the reader. It is ready when the request has crossed
the NoC and been served; requests are single flits on virtual channels of their own: Assumes that
nothing holds them up. An NIU answers in the order of arrival, two responses at a time, the i-th
after the (i - 2)-th (a response has two virtual channels to choose of; tt-npe does likewise).
"""

from collections.abc import Callable

import numpy as np

from npusim.engine import fast
from npusim.engine.tables import COMPUTE, NONE, RECV, SEND, Outcome, Tasks, Wiring
from npusim.validate.wormhole import chip
from npusim.validate.wormhole.traces import Trace


def arrival_cycles(trace: Trace) -> np.ndarray:
    """When each read's data is ready to leave its source."""
    ends = zip(trace.noc.tolist(), trace.reader.tolist(), trace.source.tolist(), strict=True)
    hops = np.array([chip.num_hops(noc, reader, source) for noc, reader, source in ends])
    request = 2 * chip.NIU_CYCLES + hops * chip.HOP_CYCLES
    return trace.cycle + request + chip.SERVE_CYCLES


def replayed_cycles(
    trace: Trace, wiring: Wiring, run: Callable[[Wiring, Tasks], Outcome] = fast.run
) -> float:
    """Last arrival of data, all reads on the chip together."""
    outcome = run(wiring, build_tasks(trace))
    assert not outcome.waiting, outcome.waiting
    return float(outcome.end.max()) / chip.TICKS_PER_CYCLE


def alone_cycles(trace: Trace) -> float:
    """Last arrival of data if no read held up another: its request, its way, its bytes at the
    slowest rate of the way."""
    ends = zip(trace.noc.tolist(), trace.source.tolist(), trace.reader.tolist(), strict=True)
    hops = np.array([chip.num_hops(noc, source, reader) for noc, source, reader in ends])
    is_dram = np.isin(trace.source, sorted(chip.DRAM_TILES))
    rate = np.where(is_dram, chip.DRAM_BYTES_PER_CYCLE, chip.TENSIX_BYTES_PER_CYCLE)
    way = 2 * chip.NIU_CYCLES + hops * chip.HOP_CYCLES
    return float((arrival_cycles(trace) + way + trace.bytes / rate).max())


def build_tasks(trace: Trace) -> Tasks:
    """Reads by source NIU, in order of arrival: a clock (COMPUTE, a queue a NIU) that ends at the
    arrival, the response (SEND) that waits for it, and what takes it (RECV), always ready."""
    source = chip.niu(trace.noc, trace.source)
    ready = arrival_cycles(trace) * chip.TICKS_PER_CYCLE
    order = np.lexsort((ready, source))
    source, ready = source[order], ready[order]
    count = len(order)
    first = np.concatenate([[True], source[1:] != source[:-1]])
    group = np.cumsum(first) - 1
    rank = np.arange(count) - np.flatnonzero(first)[group]
    send_queue = group.max() + 1 + group * chip.VCS_OF_A_PACKET + rank % chip.VCS_OF_A_PACKET
    target = chip.niu(trace.noc, trace.reader)[order]
    index, none = np.arange(count), np.full(count, NONE)
    core = np.concatenate([source, source, target])
    size = trace.bytes[order] * chip.UNITS_PER_BYTE
    zeros = np.zeros(3 * count, np.int64)
    return Tasks(
        kind=np.repeat([COMPUTE, SEND, RECV], count),
        core=core,
        ticks=np.concatenate([_clock_ticks(ready, first), zeros[: 2 * count]]),
        bytes=np.concatenate([zeros[:count], size, size]),
        memory=zeros + NONE,
        address=zeros,
        row_bytes=zeros,
        stride_bytes=zeros,
        match=np.concatenate([none, 2 * count + index, count + index]),
        num_waits=np.repeat([0, 1, 0], count),
        dependents_start=np.concatenate([index, np.full(2 * count + 1, count)]),
        dependents=count + index,
        **_queues(np.concatenate([group, send_queue, none]), core),
    )


def _clock_ticks(ready: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Durations after one another; a read that arrives with another one does so a tick later."""
    ticks, now = [], 0
    for at, is_first in zip(ready.tolist(), first.tolist(), strict=True):
        now = 0 if is_first else now
        ticks.append(max(1, at - now))
        now += ticks[-1]
    return np.array(ticks)


def _queues(queue: np.ndarray, core: np.ndarray) -> dict[str, np.ndarray]:
    """Clock queues come first; then the engines of each NIU that sends."""
    used, dense = np.unique(queue[queue != NONE], return_inverse=True)
    queued = np.flatnonzero(queue != NONE)
    ordered = queued[np.argsort(dense, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(dense))])
    num_clocks = len(np.unique(queue[: len(queue) // 3]))
    numbers = queue.copy()
    numbers[queued] = dense
    engine = np.where(used < num_clocks, NONE, (used - num_clocks) % chip.VCS_OF_A_PACKET)
    return {
        "queue": numbers,
        "queue_start": starts,
        "queue_tasks": ordered,
        "queue_core": core[ordered[starts[:-1]]],
        "queue_engine": engine,
    }
