"""Chunked prefill: every iteration has all decodes and as much of prompts as its tokens allow."""

from npusim.serving.request import Work
from npusim.serving.schedulers.draft import Draft
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits, Slo


class ChunkedPrefill:
    """Running requests first, in order of admission: a decode takes one token, an unfinished prompt
    its next chunk. When one finds no KV, the youngest are preempted; when it must wait itself, so
    do all behind it. Then waiting ones, first come first served; none when something was
    preempted. (Agrawal et al., Sarathi-Serve, OSDI 2024; the order is that of vLLM's V1 scheduler,
    where `chunk_tokens` is called long_prefill_token_threshold, and which reserves KV by `chunk`
    with a watermark of 0.)

    Assumes that with pipeline stages a batch takes its part of the running requests; vLLM lets the
    first batch take all that are free.
    """

    def __init__(self, queues: Queues, limits: Limits, slo: Slo, num_stages: int = 1) -> None:
        self.queues = queues
        self.limits = limits
        self.num_stages = num_stages

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration; empty when there is nothing to do."""
        draft, chunk = Draft(self.queues, self.limits, self.num_stages), self.limits.chunk_tokens
        for request in draft.running():
            if not draft.carry_on(request, chunk):
                break
        draft.admit_in_order(chunk)
        return draft.works
