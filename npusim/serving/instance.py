"""An instance: requests → batches → iterations, one after the other or one a pipeline stage."""

from collections.abc import Callable, Sequence
from typing import Protocol

import simpy

from npusim.serving.load import Load
from npusim.serving.log import Log, add_row
from npusim.serving.request import NEVER, Request, Work
from npusim.serving.schedulers import Scheduler
from npusim.serving.schedulers.progress import Watch
from npusim.serving.schedulers.queues import Queues
from npusim.serving.settle import Settled
from npusim.units import transfer_ps


class Execution(Protocol):
    """What makes an iteration take its time."""

    def launch(self, works: Sequence[Work], delay_ps: int = 0) -> tuple[simpy.Event, simpy.Event]:
        """Begins an iteration in `delay_ps`: (the next may begin, all its tokens are out)."""


class Instance:
    """Runs iterations as long as its scheduler finds work.

    The cluster is told of `on_launch` of a batch, `on_token`, every token that comes out before the
    next batch is chosen, and `on_done` of an iteration; the log of moves of `on_swap`.
    """

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
        self.on_token: Callable[[Request, Instance], None] = lambda request, instance: None
        self.on_launch: Callable[[Sequence[Work], Instance], None] = lambda works, instance: None
        self.on_done: Callable[[Instance], None] = lambda instance: None
        self.on_swap: Callable[[Request, Instance, int, int, int, bool], None] = lambda *_: None
        self.num_in_flight = 0
        self.num_arriving = 0  # requests whose KV is on its way here
        self._wake: simpy.Event | None = None
        self._seen_preemptions = 0
        self.load = Load()
        self._swap_ps = 0  # what the next iteration has to wait for
        queues.on_swap = self._swap
        queues.requeue = self.enqueue_first
        self.watch = Watch(settled.row.scheduler, queues)
        env.process(self._run())

    @property
    def role(self) -> str:
        return self.settled.row.role

    def enqueue(self, request: Request) -> None:
        """A request that waits for its prefill here."""
        self.queues.waiting.append(request)
        self.load.count(request)
        self.wake()

    def enqueue_first(self, request: Request) -> None:
        """A preempted request, which waits before all others."""
        self.queues.waiting.appendleft(request)
        self.load.count(request)
        self.wake()

    def wake(self) -> None:
        """Something has changed: the scheduler is asked again."""
        if self._wake is not None and not self._wake.triggered:
            self._wake.succeed()

    def _run(self):
        while True:
            works = self._next_batch()
            if works:
                yield self._launch(works)
            else:
                self._wake = self.env.event()
                yield self._until_asked()

    def _next_batch(self) -> list[Work]:
        if self.num_in_flight >= self.settled.row.pp:
            return []
        return self.scheduler.next_batch(int(self.env.now))

    def _until_asked(self) -> simpy.Event:
        """Until something changes, or the time that the scheduler has named."""
        assert self._wake is not None
        wake_ps = getattr(self.scheduler, "wake_ps", None)
        if wake_ps is None or wake_ps <= self.env.now:
            return self._wake
        return self._wake | self.env.timeout(wake_ps - self.env.now)

    def _launch(self, works: Sequence[Work]) -> simpy.Event:
        self.num_in_flight += 1
        self.watch.feed(works)
        row = self._begin(works)
        self.on_launch(works, self)
        free, done = self.execution.launch(works, self._swap_ps)
        self._swap_ps = 0
        if free is not done:
            free.callbacks.append(lambda _: self._note(row, "free_ps"))
        done.callbacks.append(lambda _: self._end(works, row))
        return free

    def _begin(self, works: Sequence[Work]) -> int:
        """Counts the iteration; returns its row."""
        now, queues = int(self.env.now), self.queues
        decodes = context = tokens = 0
        for work in works:
            if work.request.scheduled_ps == NEVER:
                work.request.scheduled_ps = now
            if work.decodes:
                decodes += 1
            else:
                tokens += work.new_tokens
            context += work.context_tokens
        values = {
            "instance": self.index,
            "start_ps": now,
            "end_ps": NEVER,
            "free_ps": NEVER,
            "prefill_tokens": tokens,
            "decodes": decodes,
            "requests": len(works),
            "context_tokens": context,
            "waiting": len(queues.waiting),
            "kv_blocks": queues.cache.used_blocks,
            "preemptions": queues.num_preemptions - self._seen_preemptions,
        }
        self._seen_preemptions = queues.num_preemptions
        return add_row(self.log, values)

    def _swap(self, request: Request, num_blocks: int) -> None:
        """Blocks leave for swap space, or come back (negative). Assumes that the iteration that
        makes or needs the room waits for them, one after the other."""
        row, kv = self.settled.row, self.queues.kv
        num_bytes = abs(num_blocks) * row.block_tokens * row.kv_bytes_per_token
        took_ps = transfer_ps(num_bytes, kv.swap_gb_s)
        start_ps = int(self.env.now) + self._swap_ps
        self._swap_ps += took_ps
        self.on_swap(request, self, start_ps, start_ps + took_ps, num_bytes, num_blocks > 0)

    def _note(self, row: int, name: str) -> None:
        self.log[name][row] = int(self.env.now)

    def _end(self, works: Sequence[Work], row: int) -> None:
        """The tokens of an iteration come out."""
        now, cache = int(self.env.now), self.queues.cache
        self.log["end_ps"][row] = now
        if self.log["free_ps"][row] == NEVER:
            self.log["free_ps"][row] = now
        self.num_in_flight -= 1
        shares = self.queues.kv.prefix_cache
        for work in works:
            request = work.request
            request.in_flight -= 1
            if shares and not (work.decodes and request.generated_tokens):
                cache.commit(request)
            if work.samples:
                request.generated_tokens += 1
                request.token_ps.append(now)
            self.load.count(request)
            if work.samples:
                self.on_token(request, self)
        observe = getattr(self.scheduler, "observe", None)
        if observe is not None:
            observe(works, now - self.log["start_ps"][row])
        self.on_done(self)
        self.wake()
