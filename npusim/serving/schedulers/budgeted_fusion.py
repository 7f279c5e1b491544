"""Budgeted fusion: decodes and prompts' chunks share the units of an iteration, decodes first."""

from npusim.serving.request import Request, Work
from npusim.serving.schedulers.draft import Draft
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits, Slo

CHUNK_TOKENS = 128


class BudgetedFusion:
    """An iteration has `budget` units: a decode costs 1, a chunk of a prompt `chunk_cost`. Taken
    are requests that decode already, those that have not begun to, unfinished prompts, and new
    requests, in this order. (Multi-core NPU study, arXiv 2510.05632, section on PD fusion.)

    A chunk only uses what decodes leave, so a new request starts only when, with all others in
    their chunks, `chunk_cost` is left: hence those that decode never need more than the budget, and
    a prompt that finds none left waits until one of them ends. A chunk costs at most the whole
    budget, so that it runs when nothing decodes. With pipeline stages each batch has the
    budget; requests are not dealt out evenly over batches.

    Assumes chunks of 128 tokens (the side of the study's largest array) where `chunk_tokens` is not
    given: the study publishes what a chunk costs, not how long it is.
    """

    def __init__(self, queues: Queues, limits: Limits, slo: Slo, num_stages: int = 1) -> None:
        self.queues = queues
        self.limits = limits
        self.num_stages = num_stages
        self._chunk_tokens = limits.chunk_tokens or CHUNK_TOKENS
        self._chunk_cost = min(limits.chunk_cost, limits.budget)

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration; empty when there is nothing to do."""
        draft = Draft(self.queues, self.limits, self.num_stages, share=False)
        left = self.limits.budget
        for request in draft.running(order=stage_of_life):
            cost = self._cost(request)
            if cost <= left and draft.carry_on(request, self._chunk_tokens):
                left -= cost
        waiting = self.queues.waiting
        while waiting and not draft.preempted and (cost := self._cost(waiting[0])) <= left:
            if not draft.admit(waiting[0], self._chunk_tokens):
                break
            left -= cost
        return draft.works

    def _cost(self, request: Request) -> int:
        return 1 if request.decodes else self._chunk_cost


def stage_of_life(request: Request) -> int:
    """0 for one that has decoded before, 1 for one that will for the first time, 2 for a prompt."""
    if not request.decodes:
        return 2
    return 0 if request.generated_tokens > 1 else 1
