"""Wiring + Tasks → Outcome, by plain simpy processes."""

import random
from collections.abc import Callable

import numpy as np

from npusim.engine.reference.chip import Chip
from npusim.engine.reference.clock import Phase
from npusim.engine.reference.counters import bin_length
from npusim.engine.reference.dram import READ, WRITE
from npusim.engine.reference.queues import ComputeQueue, DmaQueue, Queue
from npusim.engine.reference.waiting import who_waits
from npusim.engine.tables import INT, NONE, RECV, Outcome, Tasks, Wiring


def run(
    wiring: Wiring,
    tasks: Tasks,
    on_spans: Callable[[np.ndarray], None] | None = None,
    shuffle: random.Random | None = None,
) -> Outcome:
    """Runs the tasks to their end, or until nothing can proceed (then `waiting` says why).

    `on_spans` is given the busy intervals at the end, as int64 rows (track, task, start_ps, end_ps,
    bytes), track by track.
    `shuffle` puts the events of one phase of one tick in a random order, for tests.
    """
    chip = Chip(wiring, tasks, shuffle)
    queues: list[Queue] = [
        (ComputeQueue if engine == NONE else DmaQueue)(chip, row)
        for row, engine in enumerate(tasks.queue_engine)
    ]
    chip.clock.start(_first_tick(chip, queues))
    chip.clock.env.run()
    if on_spans is not None:
        on_spans(_spans(chip))
    return _outcome(chip, queues)


def _first_tick(chip: Chip, queues: list[Queue]):
    """Tasks without dependencies are ready among the events of tick 0."""

    def on_ready(task: int) -> None:
        if chip.tasks.kind[task] == RECV:
            chip.messages.post(task)
        else:
            queues[int(chip.tasks.queue[task])].look()

    yield chip.clock.at(0, Phase.EVENTS)
    chip.ledger.begin(on_ready)


def _outcome(chip: Chip, queues: list[Queue]) -> Outcome:
    ledger, channel_bytes, link_bytes = chip.ledger, chip.channel_bytes, chip.network.moved
    last_tick = max(ledger.end.max(initial=0), channel_bytes.last_tick, link_bytes.last_tick)
    bin_ticks = bin_length(int(last_tick))
    return Outcome(
        ready=ledger.ready,
        start=ledger.start,
        end=ledger.end,
        channel=_channel_totals(chip),
        link=_link_totals(chip),
        core=_core_totals(chip, queues),
        bin_ticks=bin_ticks,
        channel_bins=channel_bytes.bins(bin_ticks),
        link_bins=link_bytes.bins(bin_ticks),
        events=chip.clock.num_events,
        waiting=who_waits(chip, queues),
    )


def _channel_totals(chip: Chip) -> dict[str, np.ndarray]:
    channels = chip.channels
    return {
        "read_bytes": np.array([c.bytes[READ] for c in channels], INT),
        "write_bytes": np.array([c.bytes[WRITE] for c in channels], INT),
        "busy_ps": np.array([c.dram.busy_ps for c in channels], INT),
        "requests": np.array([c.num_requests for c in channels], INT),
        "row_hits": np.array([c.dram.row_hits for c in channels], INT),
        "row_misses": np.array([c.dram.row_misses for c in channels], INT),
        "request_ticks": np.array([c.request_ticks_sum for c in channels], INT),
        "queue_ticks": np.array([c.queue_ticks_sum for c in channels], INT),
        "service_ticks": np.array([c.service_ticks_sum for c in channels], INT),
        "response_ticks": np.array([c.response_ticks_sum for c in channels], INT),
    }


def _link_totals(chip: Chip) -> dict[str, np.ndarray]:
    links = chip.network.links
    return {
        "packets": np.array([link.packets for link in links], INT),
        "bytes": np.array([link.bytes for link in links], INT),
        "busy_ticks": np.array([link.busy_ticks for link in links], INT),
        "wait_ticks": np.array([link.wait_ticks for link in links], INT),
    }


def _core_totals(chip: Chip, queues: list[Queue]) -> dict[str, np.ndarray]:
    stretch_ticks = np.zeros(len(chip.ports), INT)
    for queue in queues:
        if isinstance(queue, ComputeQueue):
            stretch_ticks[queue.core] += queue.stretch_ticks
    return {
        "port_bytes": np.array([port.granted_bytes for port in chip.ports], INT),
        "port_busy_ticks": np.array([port.busy_ticks for port in chip.ports], INT),
        "stretch_ticks": stretch_ticks,
    }


def _spans(chip: Chip) -> np.ndarray:
    """Channels' spans (kept in ps), then links' (kept in ticks)."""
    of_channels = [span for c in chip.channels for span in c.track.spans(int)]
    of_links = [span for link in chip.network.links for span in link.track.spans(chip.clock.ps)]
    return np.array(of_channels + of_links, INT).reshape(-1, 5)
