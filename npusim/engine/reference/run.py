"""Wiring + Tasks → Outcome, by plain simpy processes."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from npusim.engine.reference.chip import Chip
from npusim.engine.reference.counters import bin_length
from npusim.engine.reference.dram import READ, WRITE
from npusim.engine.reference.queues import ComputeQueue, DmaQueue, Queue
from npusim.engine.reference.waiting import who_waits
from npusim.engine.tables import INT, NONE, RECV, Outcome, Tasks, Totals, Wiring


@dataclass(frozen=True)
class Stream:
    """Tasks of one hand-over; its groups are numbered from `first_group` on."""

    first_group: int
    num_groups: int


class Machine:
    """A chip that lives on, as the fast engine's: the same methods, the same ticks.

    `shuffle` puts the events of one phase of one tick in a random order, for tests.
    """

    def __init__(self, wiring: Wiring, shuffle: random.Random | None = None):
        self.chip = Chip(wiring, shuffle)
        self.chip.ledger.on_ready = self._on_ready
        self.queues: list[Queue] = []
        self.now = -1
        self._num_groups = 0
        self._go_on(0)  # all parts wait for what is to come

    def add(self, tasks: Tasks, begin: int, group: np.ndarray | None = None) -> Stream:
        """Hands over tasks; those without dependencies are ready at tick `begin` > now."""
        if group is None:
            group = np.zeros(len(tasks), INT)
        stream = Stream(self._num_groups, int(group.max(initial=-1)) + 1)
        first = len(self.chip.tasks)
        numbers = range(first, first + len(tasks))
        self.chip.ledger.add(tasks, [int(g) + self._num_groups for g in group])
        self.chip.messages.add(numbers)
        self._num_groups += stream.num_groups
        begins = self.chip.clock.at(begin)
        begins.callbacks.append(lambda _: self._begin(numbers))
        return stream

    def drop(self, stream: Stream) -> None:
        """Nothing: all tasks are kept."""

    def next_tick(self) -> int | None:
        """A tick before which nothing happens; None when nothing will."""
        tick = self.chip.clock.env.peek()
        return None if tick == float("inf") else int(tick)

    def advance(self, limit: float = float("inf")) -> list[int]:
        """Goes on up to and including tick `limit`, or the first in which groups end, then `now`;
        returns their numbers in order."""
        ledger = self.chip.ledger
        while not ledger.ended_groups and (tick := self.next_tick()) is not None and tick <= limit:
            self._go_on(tick)
            self.now = tick
        ended, ledger.ended_groups = sorted(ledger.ended_groups), []
        return ended

    def waiting(self) -> list[str]:
        """Why tasks that are left cannot proceed, once nothing happens any more."""
        return who_waits(self.chip, self.queues)

    def totals(self) -> Totals:
        return Totals(
            channel=_channel_totals(self.chip),
            link=_link_totals(self.chip),
            core=_core_totals(self.chip, self.queues),
        )

    def _go_on(self, tick: int) -> None:
        """Everything that happens in a tick."""
        while self.chip.clock.env.peek() <= tick:
            self.chip.clock.env.step()

    def _begin(self, numbers: range) -> None:
        """New tasks, among the events of their tick: queues look at them, the first are ready."""
        engines = self.chip.tasks.queue_engine
        for row in range(len(self.queues), len(engines)):
            self.queues.append((ComputeQueue if engines[row] == NONE else DmaQueue)(self.chip, row))
        self.chip.ledger.begin(numbers)
        for queue in self.queues:
            queue.look()

    def _on_ready(self, task: int) -> None:
        if self.chip.tasks.kind[task] == RECV:
            self.chip.messages.post(task)
        else:
            self.queues[int(self.chip.tasks.queue[task])].look()


def run(
    wiring: Wiring,
    tasks: Tasks,
    on_spans: Callable[[np.ndarray], None] | None = None,
    shuffle: random.Random | None = None,
) -> Outcome:
    """Runs the tasks to their end, or until nothing can proceed (then `waiting` says why).

    `on_spans` is given the busy intervals at the end, as int64 rows (track, task, start_ps, end_ps,
    bytes), track by track. `shuffle`: see Machine.
    """
    machine = Machine(wiring, shuffle)
    machine.add(tasks, 0)
    while machine.next_tick() is not None:
        machine.advance()
    if on_spans is not None:
        on_spans(_spans(machine.chip))
    return _outcome(machine)


def _outcome(machine: Machine) -> Outcome:
    chip = machine.chip
    ledger, channel_bytes, link_bytes = chip.ledger, chip.channel_bytes, chip.network.moved
    last_tick = max(ledger.end.max(initial=0), channel_bytes.last_tick, link_bytes.last_tick)
    bin_ticks = bin_length(int(last_tick))
    return Outcome(
        **vars(machine.totals()),
        ready=ledger.ready,
        start=ledger.start,
        end=ledger.end,
        bin_ticks=bin_ticks,
        channel_bins=channel_bytes.bins(bin_ticks),
        link_bins=link_bytes.bins(bin_ticks),
        events=chip.clock.num_events,
        waiting=machine.waiting(),
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
