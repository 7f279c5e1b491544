"""A batch in the making: schedulers add requests to it, within the limits and the KV memory."""

from collections.abc import Callable, Iterator
from typing import Any

from npusim.serving.request import Request, Work
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits
from npusim.units import ceil_div


class Draft:
    """`works` so far and `tokens_left` of `limits.max_tokens`. Whatever is added is under way from
    then on: its tokens count as computed, and it cannot be preempted.

    With `num_stages` pipeline stages, a batch holds a stage's share of `limits.max_requests`; with
    `share` it also takes only its part of the running requests, so that as many batches as stages
    are under way.
    """

    def __init__(
        self, queues: Queues, limits: Limits, num_stages: int = 1, share: bool = True
    ) -> None:
        self.queues = queues
        self.works: list[Work] = []
        self.tokens_left = limits.max_tokens
        self._most_running = limits.max_requests
        self._most_admitted = ceil_div(limits.max_requests, num_stages)
        part = ceil_div(len(queues.running), num_stages)
        self._most_carried = part if share else self._most_admitted
        self._num_prompts = 0
        self._preemptions = queues.num_preemptions

    @property
    def preempted(self) -> bool:
        """Whether room had to be made by a preemption."""
        return self.queues.num_preemptions > self._preemptions

    def running(self, order: Callable[[Request], Any] | None = None) -> Iterator[Request]:
        """Running requests that may be added, in order of admission (or by the key `order`), until
        the batch is full; not those that are preempted meanwhile."""
        running = self.queues.running
        requests = running.values() if order is None else sorted(running.values(), key=order)
        for request in list(requests):
            if not self.tokens_left or len(self.works) >= self._most_carried:
                return
            if request.remaining_tokens and request.request_id in running:
                yield request

    def carry_on(self, request: Request, most_tokens: int | None = None) -> bool:
        """Adds a running request: its next token, or up to `most_tokens` of its prompt; preempts
        others when there is no room. False when it was not added."""
        if len(self.works) >= self._most_carried:
            return False
        remaining = request.remaining_tokens
        new = remaining if remaining < self.tokens_left else self.tokens_left
        if most_tokens is not None and new > most_tokens:
            new = most_tokens
        if new <= 0 or not self.queues.make_room(request, request.computed_tokens + new):
            return False
        self._add(request, new, new == remaining)
        return True

    def admit(self, request: Request, most_tokens: int | None = None, whole: bool = False) -> bool:
        """Adds a waiting request, with up to `most_tokens` of its prompt; with `whole` only all of
        it, unless it is the first prompt of the batch. False, and nothing changed, when there is no
        room in the batch or for its KV."""
        if len(self.works) >= self._most_admitted or not self.tokens_left:
            return False
        if len(self.queues.running) >= self._most_running:
            return False
        left = self.tokens_left if most_tokens is None else min(most_tokens, self.tokens_left)
        if whole and self._num_prompts and not request.swapped:
            uncached = request.known_tokens - self.queues.cache.lookup(request)
            if uncached > left:
                return False
        if left <= 0 or not self.queues.admit(request, left):
            return False
        remaining = request.remaining_tokens
        self._add(request, min(remaining, left), remaining <= left)
        return True

    def admit_in_order(self, most_tokens: int | None = None, whole: bool = False) -> None:
        """Adds waiting requests, first come first served, till one finds no room; none when
        something was preempted, which would be the first of them."""
        waiting = self.queues.waiting
        while waiting and not self.preempted and self.admit(waiting[0], most_tokens, whole):
            pass

    def _add(self, request: Request, new_tokens: int, samples: bool) -> None:
        self.works.append(Work(request, new_tokens, request.computed_tokens, samples))
        self.tokens_left -= new_tokens
        request.computed_tokens += new_tokens
        request.in_flight += 1
        if new_tokens > 1 or not request.generated_tokens:
            self._num_prompts += 1
