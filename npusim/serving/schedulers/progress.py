"""Batches of an instance, one after the other → StarvationError when requests get nowhere."""

from collections.abc import Sequence

from npusim.errors import StarvationError
from npusim.serving.request import Request, Work
from npusim.serving.schedulers.queues import Queues
from npusim.units import ceil_div

MOST_IDLE = 10_000


class Watch:
    """Watches an instance: `feed` it every batch that is chosen, ask `at_end` when nothing is
    under way and nothing will happen any more.

    A batch is idle when no token comes out of it and no prompt gets further than it ever was since
    the last token, as when requests preempt one another in turn and compute anew what they lost.
    """

    def __init__(self, scheduler: str, queues: Queues, most_idle: int = MOST_IDLE) -> None:
        self.scheduler = scheduler
        self.queues = queues
        self.most_idle = most_idle
        self._num_idle = 0
        self._furthest: dict[int, int] = {}

    def feed(self, works: Sequence[Work]) -> None:
        """One more batch. Raises StarvationError after `most_idle` idle ones."""
        if not works:
            return
        if self._advances(works):
            self._num_idle = 0
            return
        self._num_idle += 1
        if self._num_idle >= self.most_idle:
            request = max((work.request for work in works), key=lambda r: r.num_preemptions)
            raise StarvationError(
                f"{self._text(request)}; {self._num_idle} iterations in a row brought no token and "
                f"no prompt further; it was preempted {request.num_preemptions} times"
            )

    def at_end(self) -> None:
        """Raises StarvationError when requests are left that the scheduler does not take."""
        left = [*self.queues.waiting, *self.queues.running.values()]
        if left:
            raise StarvationError(
                f"{self._text(left[0])}; nothing is under way or to come; {len(left)} requests left"
            )

    def _advances(self, works: Sequence[Work]) -> bool:
        furthest, advances = self._furthest, False
        for work in works:
            if work.samples:
                furthest.clear()
                return True
            end = work.context_tokens + work.new_tokens
            if end > furthest.get(work.request.request_id, 0):
                furthest[work.request.request_id] = end
                advances = True
        return advances

    def _text(self, request: Request) -> str:
        cache = self.queues.cache
        needed = ceil_div(request.most_tokens, cache.size.block_tokens)
        waits = "runs" if request.request_id in self.queues.running else "waits"
        return (
            f"scheduler {self.scheduler} starves request {request.request_id}, which {waits}: it "
            f"needs up to {needed} KV blocks, {cache.free_blocks} of {cache.num_blocks} are free; "
            "raise serving.kv room, lower limits.max_requests, or set kv.reserve to output"
        )
