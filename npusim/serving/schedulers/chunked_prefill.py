"""Chunked prefill: every iteration has all decodes and as much of prompts as its tokens allow."""

from npusim.serving.request import Work
from npusim.serving.schedulers.draft import Draft
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits, Slo


class ChunkedPrefill:
    """Running requests first, in order of admission: a decode takes one token, an unfinished prompt
    its next chunk. Then waiting ones, first come first served; none when something was preempted.
    (Agrawal et al., Sarathi-Serve, OSDI 2024; the order is that of vLLM's V1 scheduler.)"""

    def __init__(self, queues: Queues, limits: Limits, slo: Slo, num_stages: int = 1) -> None:
        self.queues = queues
        self.limits = limits
        self.num_stages = num_stages

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration; empty when there is nothing to do."""
        draft, chunk = Draft(self.queues, self.limits, self.num_stages), self.limits.chunk_tokens
        for request in draft.running():
            draft.carry_on(request, chunk)
        waiting = self.queues.waiting
        while waiting and not draft.preempted and draft.admit(waiting[0], chunk):
            pass
        return draft.works
