"""Continuous batching, decodes first: all decodes, and whole prompts with the tokens left."""

from npusim.serving.request import Work
from npusim.serving.schedulers.draft import Draft
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Limits, Slo


class DecodeFirst:
    """Every iteration has all decodes; whole prompts join, first come first served, as many as fit
    in what the decodes leave of `max_tokens`. (Prompts and decodes in one iteration: Yu et al.,
    Orca, OSDI 2022.)

    A prompt that alone is longer than what decodes leave is not kept waiting: it is the only one of
    its iterations and takes what is left in each. When decodes leave nothing, no prompt starts
    until one of them ends, which happens, as nothing joins them.
    """

    def __init__(self, queues: Queues, limits: Limits, slo: Slo, num_stages: int = 1) -> None:
        self.queues = queues
        self.limits = limits
        self.num_stages = num_stages

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration; empty when there is nothing to do."""
        draft = Draft(self.queues, self.limits, self.num_stages)
        for request in draft.running():
            if request.decodes:
                draft.carry_on(request)
        for request in draft.running():
            if not request.decodes:
                draft.carry_on(request)
        draft.admit_in_order(whole=True)
        return draft.works
