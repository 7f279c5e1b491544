"""A tiny instance: requests that arrive → batches of a scheduler, with times that a test gives."""

from collections import deque

import pytest

from npusim.serving.kv.cache import KV_CACHES, KvSize
from npusim.serving.request import Request
from npusim.serving.schedulers import SCHEDULERS
from npusim.serving.schedulers.progress import Watch
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Kv, Limits, Slo


def blocks(count, tokens=1, swap=0):
    """Room for `count` blocks of so many tokens."""
    return KvSize(num_blocks=count, sram_blocks=0, block_tokens=tokens, swap_blocks=swap)


class Bench:
    """An instance whose iterations take `time(works)` ps (a number: always so long). `run()` gives
    [(start_ps, {request_id: new tokens}), …]; after it, requests know when their tokens came."""

    def __init__(self, name, *, time=10, size=None, stages=1, limits=None, kv=None, slo=None):
        self.limits = Limits(**(limits or {}))
        self.kv = Kv(**{"watermark_fraction": 0.0, **(kv or {})})
        self.cache = KV_CACHES[self.kv.layout](size or blocks(10**6), self.kv)
        self.queues = Queues(self.cache, self.kv)
        args = (self.queues, self.limits, Slo(**(slo or {})), stages)
        self.scheduler = SCHEDULERS[name](*args)
        self.watch = Watch(name, self.queues)
        self.time = time if callable(time) else lambda works: time
        self.stages = stages
        self.flying = deque()  # (end_ps, start_ps, works)
        self.batches = []
        self.on_batch = lambda works: None

    def run(self, requests):
        arrivals, now, free = deque(requests), 0, 0
        while True:
            while arrivals and arrivals[0].arrival_ps <= now:
                self.queues.waiting.append(arrivals.popleft())
            self.queues.closed = not arrivals
            while self.flying and self.flying[0][0] <= now:
                self.end(*self.flying.popleft())
            if now >= free and len(self.flying) < self.stages:
                free = max(free, self.begin(now))
            times = [a.arrival_ps for a in list(arrivals)[:1]] + [f[0] for f in self.flying]
            times += [t for t in (free, getattr(self.scheduler, "wake_ps", None)) if t is not None]
            later = [t for t in times if t > now]
            if not later:
                self.watch.at_end()
                return self.batches
            now = min(later)

    def begin(self, now):
        """Asks for a batch; when the first stage is free again."""
        works = self.scheduler.next_batch(now)
        self.watch.feed(works)
        self.cache.check()
        if not works:
            return 0
        self.on_batch(works)
        self.batches.append((now, {w.request.request_id: w.new_tokens for w in works}))
        took = self.time(works)
        end = max([now + took] + [flying[0] for flying in self.flying])
        self.flying.append((end, now, works))
        return now + took // self.stages

    def end(self, now, start, works):
        """All tokens of an iteration come out."""
        for work in works:
            request = work.request
            request.in_flight -= 1
            if not work.decodes:
                self.cache.commit(request)
            if work.samples:
                request.generated_tokens += 1
                request.token_ps.append(now)
            if request.finished:
                request.finish_ps = now
                self.queues.finish(request)
        if hasattr(self.scheduler, "observe"):
            self.scheduler.observe(works, now - start)
        self.cache.check()


def deal(*rows):
    """Requests 0, 1, … from (arrival_ps, prompt_tokens, output_tokens[, priority])."""
    return [Request(i, *row[:3], priority=(*row, 0)[3]) for i, row in enumerate(rows)]


@pytest.fixture
def bench():
    return Bench


@pytest.fixture
def requests_of():
    return deal


@pytest.fixture
def blocks_of():
    return blocks
