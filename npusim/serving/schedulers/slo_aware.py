"""SLO-aware priority: the most urgent class first, in it who has the least time to spare."""

from collections import deque
from math import inf

from npusim.serving.request import Request, Work
from npusim.serving.schedulers.draft import Draft
from npusim.serving.schedulers.line import Line
from npusim.serving.schedulers.pace import Pace
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits, Slo
from npusim.units import PS_PER_MS

AGEING = 4  # late requests move up a class with every 4 times the SLO's TTFT (else its TBT)
LEAST_TOKENS = 16  # of prompts, in an iteration whose decodes leave no time for any


class SloAware:
    """Requests are ranked by class (`priority`), then by slack: the time left until their next
    token is due, less what computing their prompt takes. The first token is due a TTFT after the
    arrival, the n-th one n - 1 TBT after the first. Those that can no longer be in time go behind
    all others of their class; so that they do not starve, they move up a class with every AGEING
    times the TTFT that they are late.

    An iteration has all decodes, by rank; then unfinished and waiting prompts, by rank, in chunks
    of up to `chunk_tokens`. Their tokens are bounded so that the iteration ends before the decodes'
    next tokens are due, or within a TBT where one is late; at least LEAST_TOKENS go on. How long
    they take is learnt: an instance tells every iteration to `observe`. Who ranks last is preempted
    first. Nobody is preempted to admit another, and nobody is admitted before a more urgent one.

    Without an SLO this is strict priority, first come first served in a class. (Classes and victims
    as the `priority` policy of vLLM; least slack first: Liu and Layland, JACM 1973, for deadlines,
    Mok, 1983, for slack; chunks bounded by the TBT: Agrawal et al., Sarathi-Serve, OSDI 2024.)
    """

    def __init__(self, queues: Queues, limits: Limits, slo: Slo, num_stages: int = 1) -> None:
        self.queues = queues
        self.limits = limits
        self.num_stages = num_stages
        self._ttft_ps = None if slo.ttft_ms is None else round(slo.ttft_ms * PS_PER_MS)
        self._tbt_ps = None if slo.tbt_ms is None else round(slo.tbt_ms * PS_PER_MS)
        self._ageing_ps = AGEING * (self._ttft_ps or self._tbt_ps or 1)
        self._pace = Pace()
        self._now_ps = 0
        self._line = Line(queues.waiting, self._due_ps, self._latest_ps)
        queues.victim = self._least_urgent

    def observe(self, works: list[Work], duration_ps: int) -> None:
        """An iteration of `works` took `duration_ps`, from its start until its tokens were out."""
        self._pace.observe(works, duration_ps)

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration; empty when there is nothing to do."""
        self._now_ps = now_ps
        draft = Draft(self.queues, self.limits, self.num_stages)
        for request in draft.running(order=self._rank):
            if request.decodes:
                draft.carry_on(request)
        self._add_prompts(draft)
        return draft.works

    def _add_prompts(self, draft: Draft) -> None:
        """Unfinished and waiting prompts by rank; one that finds no room lets nobody else in."""
        tokens, admitting = self._prompt_tokens(draft.works), True
        running = self.queues.running.values()
        prompts = deque(sorted((r for r in running if is_unfinished(r)), key=self._rank))
        while tokens > 0 and draft.tokens_left:
            left, chunk = draft.tokens_left, min(tokens, self.limits.chunk_tokens or tokens)
            first = self._line.head(self._now_ps, self._rank) if admitting else None
            if first is not None and (not prompts or self._rank(first) < self._rank(prompts[0])):
                admitting = not draft.preempted and draft.admit(first, chunk)
                if admitting:
                    self._line.pop(first)
            elif prompts:
                request = prompts.popleft()
                if request.request_id in self.queues.running:  # not preempted meanwhile
                    draft.carry_on(request, chunk)
            else:
                return
            tokens -= left - draft.tokens_left

    def _prompt_tokens(self, decodes: list[Work]) -> int:
        """Prompt tokens beside these decodes that let them keep their TBT."""
        if self._tbt_ps is None or not decodes:
            return self.limits.max_tokens
        due_ps = min(self._due_ps(work.request) for work in decodes)
        tokens = self._pace.prompt_tokens(int(max(due_ps - self._now_ps, self._tbt_ps)))
        return self.limits.max_tokens if tokens is None else max(tokens, LEAST_TOKENS)

    def _due_ps(self, request: Request) -> float:
        """When its next token is due; never without an SLO."""
        if not request.token_ps:
            return inf if self._ttft_ps is None else request.arrival_ps + self._ttft_ps
        if self._tbt_ps is None:
            return inf
        return request.token_ps[0] + request.generated_tokens * self._tbt_ps

    def _latest_ps(self, request: Request) -> float:
        """When its prompt must begin, at the latest, for its next token to be in time."""
        return self._due_ps(request) - self._pace.prompt_ps(request.remaining_tokens)

    def _rank(self, request: Request) -> tuple[float, ...]:
        """The lower, the more urgent."""
        slack_ps = self._latest_ps(request) - self._now_ps
        if slack_ps >= 0:
            return request.priority, 0, slack_ps, request.arrival_ps, request.request_id
        moved_up, due_ps = -slack_ps // self._ageing_ps, self._due_ps(request)
        return request.priority - moved_up, 1, due_ps, request.arrival_ps, request.request_id

    def _least_urgent(self, queues: Queues) -> Request | None:
        """The running request that ranks last and is not under way."""
        free = (request for request in queues.running.values() if not request.in_flight)
        return max(free, key=self._rank, default=None)


def is_unfinished(request: Request) -> bool:
    """Whether it has a part of its prompt that is in no iteration yet."""
    return request.remaining_tokens > 0 and not request.decodes
