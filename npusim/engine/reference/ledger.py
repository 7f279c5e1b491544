"""Dependencies between tasks: a task ends → which tasks are ready, with the ticks of all three."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from npusim.engine.reference.clock import Clock
from npusim.engine.reference.streams import join, no_tasks
from npusim.engine.tables import INT, NONE, SYNC, Tasks


class Ledger:
    """`tasks`: all that were handed over, in order. `ready`, `start`, `end`: tick by task, NONE as
    long as it has not happened."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self.tasks = no_tasks()
        self._waits: list[int] = []
        self.ready, self.start, self.end = (np.empty(0, INT) for _ in range(3))
        self._group: list[int] = []
        self._group_left: Counter[int] = Counter()
        self.ended_groups: list[int] = []  # until somebody takes them
        self._ended: list[int] = []
        self.on_ready: Callable[[int], None] = lambda task: None  # for each that is, SYNC apart

    def add(self, tasks: Tasks, groups: list[int]) -> None:
        """Hands over tasks, of the given groups."""
        self.tasks = join(self.tasks, tasks)
        self._waits += [int(waits) for waits in tasks.num_waits]
        never = np.full(len(tasks), NONE, INT)
        self.ready, self.start, self.end = (
            np.concatenate([times, never]) for times in (self.ready, self.start, self.end)
        )
        self._group += groups
        self._group_left.update(groups)

    def begin(self, tasks: range) -> None:
        """Those of these tasks that wait for no other are ready."""
        for task in tasks:
            if self.tasks.num_waits[task] == 0:
                self._make_ready(task)

    def start_task(self, task: int) -> None:
        self.start[task] = self._clock.now

    def end_task(self, task: int) -> None:
        """Ends a task, with all that follows in this tick (a loop, for chains may be long)."""
        self.end[task] = self._clock.now
        self._leave_group(self._group[task])
        self._ended.append(task)
        if len(self._ended) > 1:
            return  # the call that is under way sees to it
        while self._ended:
            self._tell_dependents(self._ended[0])
            self._ended.pop(0)

    def waits_for(self, task: int) -> int:
        """How many dependencies of a task have not ended."""
        return self._waits[task]

    def _leave_group(self, group: int) -> None:
        self._group_left[group] -= 1
        if self._group_left[group] == 0:
            self.ended_groups.append(group)

    def _tell_dependents(self, task: int) -> None:
        tasks = self.tasks
        first, last = tasks.dependents_start[task], tasks.dependents_start[task + 1]
        for dependent in tasks.dependents[first:last]:
            self._waits[dependent] -= 1
            if self._waits[dependent] == 0:
                self._make_ready(int(dependent))

    def _make_ready(self, task: int) -> None:
        self.ready[task] = self._clock.now
        if self.tasks.kind[task] == SYNC:
            self.start_task(task)
            self.end_task(task)
        else:
            self.on_ready(task)
