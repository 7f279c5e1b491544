"""An instance: requests → batches → iterations, one after the other or one a pipeline stage."""

from array import array
from collections.abc import Callable, Sequence
from typing import Protocol

import simpy

from npusim.serve_trace import ITERATION_COLUMNS
from npusim.serving.request import NEVER, Request, Work
from npusim.serving.schedulers.queues import Queues
from npusim.serving.settle import Settled


class Execution(Protocol):
    """What makes an iteration take its time."""

    def launch(self, works: Sequence[Work]) -> tuple[simpy.Event, simpy.Event]:
        """Begins an iteration: (the next one may begin, all its tokens are out)."""


class Scheduler(Protocol):
    """A policy: see serving/schedulers."""

    def next_batch(self, now_ps: int) -> list[Work]: ...


Log = dict[str, array]


class Instance:
    """Runs iterations as long as its scheduler finds work. `on_token(request, instance)` is called
    for every token that comes out, before the next batch is chosen; it says whether the request
    stays."""

    def __init__(
        self,
        env: simpy.Environment,
        index: int,
        settled: Settled,
        queues: Queues,
        scheduler: Scheduler,
        execution: Execution,
        log: Log,
    ) -> None:
        self.env = env
        self.index = index
        self.settled = settled
        self.queues = queues
        self.scheduler = scheduler
        self.execution = execution
        self.log = log
        self.on_token: Callable[[Request, Instance], bool] = lambda request, instance: True
        self.on_launch: Callable[[Sequence[Work], Instance], None] = lambda works, instance: None
        self.on_done: Callable[[Instance], None] = lambda instance: None
        self.num_in_flight = 0
        self.num_arriving = 0  # requests whose KV is on its way here
