"""The requests of one instance: those that wait, those that have KV, and how room is made."""

from collections import deque
from collections.abc import Callable

from npusim.serving.kv.cache import KvCache
from npusim.serving.request import Request
from npusim.spec.serving import Kv


class Queues:
    """`waiting` by arrival, preempted ones first; `running` by admission: they hold KV.

    Schedulers read both, and change them through a Draft. `closed`: no request will come any
    more. `victim` picks the request to preempt; a scheduler may replace it. `requeue` takes a
    preempted one, `on_swap` the blocks that swapping moves (out: positive).
    """

    def __init__(self, cache: KvCache, kv: Kv) -> None:
        self.cache = cache
        self.kv = kv
        self.waiting: deque[Request] = deque()
        self.running: dict[int, Request] = {}
        self.closed = False
        self.num_preemptions = 0
        self.victim: Callable[[Queues], Request | None] = youngest
        self.requeue: Callable[[Request], None] = self.waiting.appendleft
        self.on_swap: Callable[[Request, int], None] = lambda request, blocks: None
        self.on_preempt: Callable[[Request], None] = lambda request: None
        self.on_admit: Callable[[Request], None] = lambda request: None

    def admit(self, request: Request, new_tokens: int) -> bool:
        """Moves a waiting request among the running ones, with room as `kv.reserve` says; its
        cached prefix then counts as computed. False, and nothing changed, when there is none."""
        if request.swapped:
            return self._swap_in(request)
        tokens = self.reserved_tokens(request)
        if self.kv.reserve == "chunk":
            tokens = min(tokens, self.cache.lookup(request) + new_tokens)
        if not self.cache.admit(request, tokens):
            return False
        self._start(request)
        return True

    def reserved_tokens(self, request: Request) -> int:
        """Tokens that it finds room for at once where its prompt is admitted, or arrives, whole."""
        return request.most_tokens if self.kv.reserve == "output" else request.known_tokens

    def make_room(self, request: Request, tokens: int) -> bool:
        """Room for `tokens` tokens of a running request, preempting others, at last itself; False
        when it was preempted or must wait for others that are under way."""
        while not self.cache.grow(request, tokens):
            victim = self.victim(self)
            if victim is None:
                return False
            self.preempt(victim)
            if victim is request:
                return False
        return True

    def preempt(self, request: Request) -> None:
        """Takes the KV of a running request; it waits again, before all others."""
        del self.running[request.request_id]
        request.num_preemptions += 1
        self.num_preemptions += 1
        self.on_preempt(request)
        moved = self.cache.swap_out(request) if self.kv.preemption == "swap" else None
        if moved is None:
            self.cache.release(request)
            request.computed_tokens = 0
        else:
            request.swapped = True
            self.on_swap(request, moved)
        self.requeue(request)

    def finish(self, request: Request) -> None:
        """A running request has put out its last token, or its KV has gone elsewhere."""
        self.running.pop(request.request_id, None)
        self.cache.release(request)

    def _swap_in(self, request: Request) -> bool:
        moved = self.cache.swap_in(request)
        if moved is None:
            return False
        request.swapped = False
        self.on_swap(request, -moved)
        self._start(request)
        return True

    def _start(self, request: Request) -> None:
        if self.waiting[0] is request:
            self.waiting.popleft()
        else:
            self.waiting.remove(request)
        self.running[request.request_id] = request
        self.on_admit(request)


def youngest(queues: Queues) -> Request | None:
    """The running request that was admitted last and is not under way."""
    return next((r for r in reversed(queues.running.values()) if not r.in_flight), None)
