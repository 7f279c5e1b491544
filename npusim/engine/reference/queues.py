"""A core's units: their tasks, in table order → when each starts, is issued, ends (phase B)."""

import simpy

from npusim.engine.reference.chip import Chip
from npusim.engine.reference.clock import Bell, Phase, Steps
from npusim.engine.reference.journeys import JOURNEYS
from npusim.engine.reference.split import Unit, units_of
from npusim.engine.tables import NONE, REQUEST_NETWORK, SEND


class Queue:
    """What both kinds have: a task in turn, and a bell that makes it look again in phase B."""

    def __init__(self, chip: Chip, row: int):
        self._chip, self._row = chip, row
        self.core = int(chip.tasks.queue_core[row])
        self._num_taken = 0
        self.current: int | None = None  # the task it works at or waits for
        self._bell = Bell(chip.clock, Phase.QUEUES)
        chip.clock.start(self._run())

    def look(self) -> None:
        """Something has changed for this queue."""
        self._bell.ring()

    def _run(self) -> Steps:
        while True:
            self.current = self._next()
            while self.current is None:
                yield from self._bell.wait()
                self.current = self._next()
            self._num_taken += 1
            yield self._phase_of_queues()
            while self._chip.ledger.ready[self.current] == NONE:
                yield from self._bell.wait()
            yield from self._work(self.current)

    def _next(self) -> int | None:
        """The first task of the queue that has not been taken."""
        tasks = self._chip.tasks
        place = int(tasks.queue_start[self._row]) + self._num_taken
        return int(tasks.queue_tasks[place]) if place < tasks.queue_start[self._row + 1] else None

    def _phase_of_queues(self) -> simpy.Event:
        return self._chip.clock.at(self._chip.clock.now, Phase.QUEUES)

    def _work(self, task: int) -> Steps:
        raise NotImplementedError


class ComputeQueue(Queue):
    """An array or vector unit; its tasks are stretched by what the scratchpad port gives others."""

    def __init__(self, chip: Chip, row: int):
        super().__init__(chip, row)
        self.stretch_ticks = 0

    def _work(self, task: int) -> Steps:
        clock, tasks, port = self._chip.clock, self._chip.tasks, self._chip.ports[self.core]
        self._chip.ledger.start_task(task)
        start, granted_before = clock.now, port.granted_bytes
        planned_end = end = start + max(1, int(tasks.ticks[task]))
        while clock.now < end:
            yield clock.at(end)
            own = int(tasks.bytes[task])
            moved = own + port.granted_bytes - granted_before if own else 0
            end = max(end, start + port.ticks(moved))
        self.stretch_ticks += end - planned_end
        self._chip.ledger.end_task(task)


class DmaQueue(Queue):
    """A DMA engine: issues the units of its tasks one by one."""

    def __init__(self, chip: Chip, row: int):
        super().__init__(chip, row)
        self._engine = int(chip.tasks.queue_engine[row])
        self._max_under_way = int(chip.wiring.dma_outstanding[self.core])
        self._issue_ticks = int(chip.wiring.dma_issue_ticks[self.core])
        self._next_issue_tick = 0
        self._num_under_way = 0
        self._units_left: dict[int, int] = {}  # by task
        self._acknowledged = False

    def _work(self, task: int) -> Steps:
        is_send = self._chip.tasks.kind[task] == SEND
        handshake = is_send and self._chip.wiring.handshake
        if handshake:
            yield from self._request(task)
        units = units_of(task, self._chip.tasks, self._chip.wiring)
        self._units_left[task] = len(units)
        for unit in units:
            yield from self._turn()
            if unit is units[0] and not handshake:
                self._start(task)
            self._issue(unit)

    def _turn(self) -> Steps:
        """Waits until one more may be issued, and takes the turn."""
        clock = self._chip.clock
        while True:
            if self._num_under_way >= self._max_under_way:
                yield from self._bell.wait()
            elif clock.now < self._next_issue_tick:
                yield clock.at(self._next_issue_tick, Phase.QUEUES)
            else:
                break
        self._next_issue_tick = clock.now + self._issue_ticks

    def _start(self, task: int) -> None:
        ledger, tasks = self._chip.ledger, self._chip.tasks
        ledger.start_task(task)
        if tasks.kind[task] == SEND:
            ledger.start_task(int(tasks.match[task]))

    def _request(self, task: int) -> Steps:
        """Asks the receiver of a message and waits for its acknowledge."""
        yield from self._turn()
        self._start(task)
        self._acknowledged = False
        source = self._chip.source(self.core, REQUEST_NETWORK, self._engine)
        self._chip.messages.request(task, source, self._on_acknowledge)
        while not self._acknowledged:
            yield from self._bell.wait()

    def _on_acknowledge(self) -> None:
        self._acknowledged = True
        self.look()

    def _issue(self, unit: Unit) -> None:
        self._num_under_way += 1
        journey = JOURNEYS[int(self._chip.tasks.kind[unit.key[0]])]
        self._chip.clock.start(journey(self._chip, unit, self.core, self._engine, self._done))

    def _done(self, unit: Unit) -> None:
        task = unit.key[0]
        self._num_under_way -= 1
        self._units_left[task] -= 1
        if self._units_left[task] == 0:
            self._chip.ledger.end_task(task)
        self.look()
