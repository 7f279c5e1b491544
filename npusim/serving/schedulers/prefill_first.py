"""Continuous batching, prompts first: iterations of whole prompts, and decodes when none waits."""

from npusim.serving.request import Work
from npusim.serving.schedulers.draft import Draft
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits, Slo


class PrefillFirst:
    """While prompts wait and have room, an iteration is of whole prompts only, first come first
    served, as many as `max_tokens` allows; otherwise of all decodes. A request that was swapped out
    comes back with decodes, and before any new prompt. (Iteration-level scheduling: Yu et al.,
    Orca, OSDI 2022; the order is that of vLLM's first scheduler, V0: Kwon et al., SOSP 2023.)

    Assumes that a prompt longer than `max_tokens` is computed alone in several iterations of
    prompts; vLLM V0 refuses it.
    """

    def __init__(self, queues: Queues, limits: Limits, slo: Slo, num_stages: int = 1) -> None:
        self.queues = queues
        self.limits = limits
        self.num_stages = num_stages

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration; empty when there is nothing to do."""
        draft, waiting = Draft(self.queues, self.limits, self.num_stages), self.queues.waiting
        for request in draft.running():
            if not request.decodes:
                draft.carry_on(request)
        while waiting and not waiting[0].swapped and not draft.preempted:
            if not draft.admit(waiting[0], whole=True):
                break
        if not draft.works:
            self._decode(draft)
        return draft.works

    def _decode(self, draft: Draft) -> None:
        for request in draft.running():
            if request.decodes:
                draft.carry_on(request)
        waiting = self.queues.waiting
        while waiting and waiting[0].swapped and not draft.preempted:
            if not draft.admit(waiting[0]):
                break
