"""Requests → instances: arrival, routing, the hand-over from prefill to decode, and the end."""

from collections import deque
from collections.abc import Sequence

import simpy

from npusim.errors import SpecError
from npusim.serve_trace import DONE, REJECTED
from npusim.serving.instance import Instance
from npusim.serving.moves import Handover, Moves
from npusim.serving.request import NEVER, Request, Work
from npusim.serving.routing import Router

FOREVER = 1 << 62
PREFILL_ROLES = ("both", "prefill")


class Cluster:
    """All instances of a scenario and the requests that go through them.

    A request goes to an instance that prefills. If that decodes as well, it stays there; else its
    KV moves to a decode instance as soon as that has room, and until it has arrived it is held on
    both sides.
    """

    def __init__(
        self,
        env: simpy.Environment,
        instances: Sequence[Instance],
        router: Router,
        moves: Moves,
        reject: bool,
        most_positions: int = FOREVER,
    ) -> None:
        self.env = env
        self.instances = list(instances)
        self.router = router
        self.moves = moves
        self.reject = reject
        self.most_positions = most_positions
        self.first_refusal = ""  # why the first request was rejected
        self.num_open = 0
        self._num_upstream = 0  # requests that are not on a decode instance yet
        self._all_arrived = False
        self._prefill = [i for i in self.instances if i.role in PREFILL_ROLES]
        self._decode = [i for i in self.instances if i.role == "decode"]
        self._turns = {"prefill": 0, "decode": 0}
        self._ready: deque[tuple[Request, Instance, int]] = deque()  # KV that waits for room
        self._prompt_start_ps: dict[int, int] = {}
        self._there: dict[int, int] = {}  # tokens that the destination's prefix cache has
        self._planned: dict[int, Instance] = {}  # where KV goes that leaves layer by layer
        for instance in self.instances:
            instance.on_token = self._token
            instance.on_launch = self._launched
            instance.on_done = self._freed
            if instance.role == "decode":
                instance.queues.requeue = self._submit_first

    def serve(self, requests: Sequence[Request]) -> None:
        """Begins the arrivals; the simulation is over when nothing happens any more."""
        self.num_open = self._num_upstream = len(requests)
        self.env.process(self._arrivals(requests))

    def _arrivals(self, requests: Sequence[Request]):
        for request in requests:
            if request.arrival_ps > self.env.now:
                yield self.env.timeout(request.arrival_ps - self.env.now)
            self._arrive(request)
        for instance in self._prefill:
            instance.queues.closed = True
            instance.wake()
        self._all_arrived = True
        self._close_decode()

    def _close_decode(self) -> None:
        """No request will come to decode instances when none is on its way to them, unless they
        drop one themselves, which then comes back."""
        if self._all_arrived and not self._num_upstream:
            self._expect_no_more()

    def _expect_no_more(self) -> None:
        """Decode instances begin with what they have, once all that is under way has arrived."""
        for instance in self._decode:
            if not instance.queues.closed and not instance.num_arriving:
                instance.queues.closed = True
                instance.wake()

    def _arrive(self, request: Request) -> None:
        """Routes a request among the instances that can ever hold it."""
        tokens = request.prompt_tokens + request.output_tokens
        able = self._able(request) if tokens <= self.most_positions else []
        if able:
            self._route(request, able).enqueue(request)
        else:
            self._refuse(request)

    def _able(self, request: Request) -> list[Instance]:
        """Instances that can prefill it and decode it, or hand it over to one that can."""
        held = [i for i in self._prefill if self._holds(i, request)]
        stays = request.output_tokens == 1
        if stays or any(self._holds(i, request) for i in self._decode):
            return held
        return [i for i in held if i.role == "both"]

    def _holds(self, instance: Instance, request: Request) -> bool:
        return instance.queues.cache.fits_ever(self._needed_tokens(instance, request))

    def _needed_tokens(self, instance: Instance, request: Request) -> int:
        """KV that it needs there at its longest."""
        return request.known_tokens if instance.role == "prefill" else request.most_tokens

    def _refuse(self, request: Request) -> None:
        if not self.reject:
            raise SpecError(
                f"{self._why(request)}; shorten it, or set serving.too_long to reject", "traffic"
            )
        request.status = REJECTED
        self.first_refusal = self.first_refusal or self._why(request)
        self.num_open -= 1
        self._num_upstream -= 1

    def _why(self, request: Request) -> str:
        """What a refused request asks for, and what there is."""
        tokens = request.prompt_tokens + request.output_tokens
        if tokens > self.most_positions:
            return (
                f"request {request.request_id} is {tokens} tokens long with its output, the model "
                f"has positions for {self.most_positions}"
            )
        prefills = any(self._holds(i, request) for i in self._prefill)
        short = self._decode if prefills else self._prefill
        best = max(short, key=lambda i: i.queues.cache.longest_tokens)
        return (
            f"request {request.request_id} needs KV for {self._needed_tokens(best, request)} "
            f"tokens, an instance holds {best.queues.cache.longest_tokens}"
        )

    def _route(self, request: Request, able: Sequence[Instance]) -> Instance:
        turn = self._turns["prefill"]
        self._turns["prefill"] += 1
        return self.router(request, able, turn)

    def _submit_first(self, request: Request) -> None:
        """A request whose KV a decode instance has dropped, or moved to swap space, for others."""
        decode = self.instances[request.decode_instance]
        if request.swapped:
            decode.enqueue_first(request)
            return
        decode.load.drop(request)
        self._num_upstream += 1
        self._route(request, self._able(request) or self._prefill).enqueue_first(request)

    def _launched(self, works: Sequence[Work], instance: Instance) -> None:
        if instance.role != "prefill":
            return
        for work in works:
            if work.samples:
                self._prompt_start_ps[work.request.request_id] = int(self.env.now)
                self._plan(work.request, instance)

    def _plan(self, request: Request, source: Instance) -> None:
        """Where KV is to leave layer by layer, the decode instance is chosen when the prompt's last
        iteration begins, if one has room and no one waits for it."""
        last = request.generated_tokens + 1 >= request.output_tokens
        if self.moves.plans_ahead and not last and not self._ready:
            destination = self._reserve(request)
            if destination is not None:
                self.moves.plan(request, source, destination)
                self._planned[request.request_id] = destination
                self._there[request.request_id] = 0  # all of it goes

    def _token(self, request: Request, instance: Instance) -> None:
        """A token is out: the request is finished, goes on here, or goes to a decode instance."""
        if instance.role != "decode" and request.instance == NEVER:
            request.instance = instance.index
        if request.finished:
            self._finish(request, instance)
        elif instance.role == "prefill":
            self._hand_over(request, instance)

    def _finish(self, request: Request, instance: Instance) -> None:
        request.status, request.finish_ps = DONE, int(self.env.now)
        if request.decode_instance == NEVER:
            request.decode_instance = instance.index
        instance.queues.finish(request)
        instance.load.drop(request)
        self.num_open -= 1
        if instance.role != "decode":
            self._num_upstream -= 1
            self._close_decode()

    def _hand_over(self, request: Request, instance: Instance) -> None:
        """Its KV goes where it was planned to, or waits for room."""
        del instance.queues.running[request.request_id]  # its KV stays until it has moved
        instance.load.drop(request)
        start_ps = self._prompt_start_ps.pop(request.request_id)
        if request.request_id in self._planned:
            destination = self._planned.pop(request.request_id)
            self._move(request, instance, destination, start_ps)
        else:
            self._ready.append((request, instance, start_ps))

    def _freed(self, instance: Instance) -> None:
        """An iteration is over: KV that waits for room may move. While it finds none, decode
        instances have no more to wait for."""
        while self._ready:
            request, source, start_ps = self._ready[0]
            destination = self._reserve(request)
            if destination is None:
                self._expect_no_more()
                return
            self._ready.popleft()
            self._move(request, source, destination, start_ps)

    def _reserve(self, request: Request) -> Instance | None:
        """Keeps room for a request at a decode instance, if one has it."""
        able = [i for i in self._decode if self._has_room(i, request)]
        if not able:
            return None
        chosen = self.router(request, able, self._turns["decode"])
        self._turns["decode"] += 1
        computed, cache = request.computed_tokens, chosen.queues.cache
        self._there[request.request_id] = cache.lookup(request)
        cache.admit(request, chosen.queues.reserved_tokens(request))
        request.computed_tokens = computed
        chosen.num_arriving += 1
        chosen.load.count(request)
        return chosen

    def _has_room(self, instance: Instance, request: Request) -> bool:
        """Whether it can take one more; those that were swapped out there come back first."""
        running = len(instance.queues.running) + instance.num_arriving
        if instance.queues.waiting or running >= instance.settled.limits.max_requests:
            return False
        tokens = instance.queues.reserved_tokens(request)
        return instance.queues.cache.can_admit(request, tokens)

    def _move(
        self, request: Request, source: Instance, destination: Instance, start_ps: int
    ) -> None:
        tokens = max(1, request.computed_tokens - self._there.pop(request.request_id))
        num_bytes = tokens * source.settled.row.kv_bytes_per_token
        handover = Handover(request, source, destination, tokens, num_bytes, start_ps)
        arrived = self.moves.start(handover)
        arrived.callbacks.append(lambda _: self._arrived(request, source, destination))

    def _arrived(self, request: Request, source: Instance, destination: Instance) -> None:
        source.queues.cache.release(request)
        source.wake()
        destination.num_arriving -= 1
        request.decode_instance = destination.index
        destination.queues.running[request.request_id] = request
        self._num_upstream -= 1
        destination.queues.closed = bool(self._ready) and not destination.num_arriving
        self._close_decode()
        destination.queues.cache.commit(request)
        destination.wake()
