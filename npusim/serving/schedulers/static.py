"""Static batching: a batch is gathered, prefilled together and decoded until all are done."""

from itertools import islice

from npusim.serving.request import Request, Work
from npusim.serving.schedulers.draft import Draft
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits, Slo
from npusim.units import PS_PER_MS


class Static:
    """Waits for `batch_size` requests, or until the first of them has waited for `wait_ms`, or no
    more will come. Their prompts are computed first, whole ones, in as many iterations as
    `max_tokens` asks for; then all decode, one token each an iteration; nobody joins before the
    last is done. Those that find no KV at the start are left to the next batch. `wake_ps`: when to
    ask again if nothing happens. (Request-level batching, as FasterTransformer and Triton do; Yu et
    al., Orca, OSDI 2022, section 2 describes it.)

    Assumes that a request is answered when it is done and is not padded until the longest one is.
    """

    def __init__(self, queues: Queues, limits: Limits, slo: Slo, num_stages: int = 1) -> None:
        self.queues = queues
        self.limits = limits
        self.num_stages = num_stages
        self.wake_ps: int | None = None
        self._wait_ps = None if limits.wait_ms is None else round(limits.wait_ms * PS_PER_MS)
        self._batch: dict[int, Request] = {}

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration; empty when there is nothing to do."""
        self.wake_ps = None
        held = self.queues.running.keys() | {request.request_id for request in self._waiting()}
        self._batch = {key: member for key, member in self._batch.items() if key in held}
        if not self._batch:
            self._gather(now_ps)
        works = self._works()
        if not works and self._is_shut_out():
            running = islice(self.queues.running.items(), self.limits.batch_size)
            self._batch = dict(running)
            works = self._works()
        return works

    def _works(self) -> list[Work]:
        draft = Draft(self.queues, self.limits, self.num_stages)
        self._prefill(draft)
        if not draft.works:
            self._decode(draft)
        return draft.works

    def _is_shut_out(self) -> bool:
        """Whether all members wait for KV that others hold, who came to a decode instance since."""
        running = self.queues.running.keys()
        return bool(self._batch and running) and self._batch.keys().isdisjoint(running)

    def _waiting(self) -> list[Request]:
        """The head of those that wait: members, preempted ones first, stand before all others."""
        return list(islice(self.queues.waiting, max(self.limits.batch_size, len(self._batch))))

    def _gather(self, now_ps: int) -> None:
        """A new batch, when it is time; a decode instance finds its requests running already."""
        size = self.limits.batch_size
        members = [*islice(self.queues.running.values(), size), *self._waiting()][:size]
        if not members:
            return
        if len(members) < size and not self.queues.closed:
            self.wake_ps = self._until_ps(members)
            if self.wake_ps is None or now_ps < self.wake_ps:
                return
            self.wake_ps = None
        self._batch = {member.request_id: member for member in members}

    def _until_ps(self, members: list[Request]) -> int | None:
        if self._wait_ps is None:
            return None
        came_ps = min(r.token_ps[-1] if r.token_ps else r.arrival_ps for r in members)
        return came_ps + self._wait_ps

    def _prefill(self, draft: Draft) -> None:
        for request in draft.running():
            if request.request_id in self._batch and not request.decodes:
                draft.carry_on(request)
        for request in self._waiting():
            if request.request_id in self._batch and (
                draft.preempted or not draft.admit(request, whole=True)
            ):
                break

    def _decode(self, draft: Draft) -> None:
        for request in self._waiting():
            if not request.num_preemptions:  # it found no KV at the start
                self._batch.pop(request.request_id, None)
        for request in draft.running():
            if request.request_id in self._batch:
                draft.carry_on(request)
