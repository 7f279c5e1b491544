"""Dependencies between tasks: a task ends → which tasks are ready, with the ticks of all three."""

from collections.abc import Callable

import numpy as np

from npusim.engine.reference.clock import Clock
from npusim.engine.tables import INT, NONE, SYNC, Tasks


class Ledger:
    """`ready`, `start`, `end`: tick by task, NONE as long as it has not happened."""

    def __init__(self, clock: Clock, tasks: Tasks):
        self._clock, self._tasks = clock, tasks
        self._waits = [int(waits) for waits in tasks.num_waits]
        self.ready, self.start, self.end = (np.full(len(tasks), NONE, INT) for _ in range(3))
        self._ended: list[int] = []
        self._on_ready: Callable[[int], None] = lambda task: None

    def begin(self, on_ready: Callable[[int], None]) -> None:
        """Calls `on_ready` for each task that is ready, SYNC apart: now, and from now on."""
        self._on_ready = on_ready
        for task in range(len(self._tasks)):
            if self._tasks.num_waits[task] == 0:
                self._make_ready(task)

    def start_task(self, task: int) -> None:
        self.start[task] = self._clock.now

    def end_task(self, task: int) -> None:
        """Ends a task, with all that follows in this tick (a loop, for chains may be long)."""
        self.end[task] = self._clock.now
        self._ended.append(task)
        if len(self._ended) > 1:
            return  # the call that is under way sees to it
        while self._ended:
            self._tell_dependents(self._ended[0])
            self._ended.pop(0)

    def waits_for(self, task: int) -> int:
        """How many dependencies of a task have not ended."""
        return self._waits[task]

    def _tell_dependents(self, task: int) -> None:
        tasks = self._tasks
        first, last = tasks.dependents_start[task], tasks.dependents_start[task + 1]
        for dependent in tasks.dependents[first:last]:
            self._waits[dependent] -= 1
            if self._waits[dependent] == 0:
                self._make_ready(int(dependent))

    def _make_ready(self, task: int) -> None:
        self.ready[task] = self._clock.now
        if self._tasks.kind[task] == SYNC:
            self.start_task(task)
            self.end_task(task)
        else:
            self._on_ready(task)
