"""The real run alone → stretches of decode iterations whose batches and number are known.

Two requests whose first tokens came at one time, and that were never preempted, end as many
iterations apart as their outputs differ. Only the end of the run is looked at: all requests have
been admitted, and the KV of all fits from then on, so that each is in every iteration. A pair with
one that was preempted before shows by this: requests only leave, so iterations become no longer; it
is left out when the gap it gives is longer than that of a stretch that neither began nor ended
later. Nothing of ours is asked for all this.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from npusim.serving.iteration.table import BatchShape
from npusim.validate.serving.replay import Served

BLOCK_TOKENS = 16
NUM_BLOCKS = 2588
SLACK = 1.001  # of gaps that are equal but for the rounding of times


@dataclass(frozen=True)
class Stretch:
    """`num` iterations from `start_s` to `end_s`, between the ends of requests `first`, `last`."""

    first: int
    last: int
    num: int
    start_s: float
    end_s: float

    @property
    def gap_s(self) -> float:
        return (self.end_s - self.start_s) / self.num

    def after(self, other: "Stretch") -> bool:
        """Whether `other` neither began nor ended later."""
        return other.start_s <= self.start_s and other.end_s <= self.end_s


def stretches(run: Served) -> list[Stretch]:
    """All of them, by start."""
    found: list[Stretch] = []
    quiet_s = quiet_from_s(run)
    for stretch in sorted(_pairs(run), key=lambda one: one.start_s):
        if stretch.start_s < quiet_s:
            continue
        limit_s = min([one.gap_s for one in found if stretch.after(one)], default=stretch.gap_s)
        if stretch.gap_s <= limit_s * SLACK:
            found.append(stretch)
    return found


def quiet_from_s(run: Served) -> float:
    """The first end of a request after the last first token from which on the KV of all that are
    left fits: nobody waits or is preempted."""
    last_first_s = run.first_token_s.max()
    gap_s = float(run.tpot_s[run.first_token_s == last_first_s].mean())
    ends = np.unique(run.last_token_s[run.last_token_s > last_first_s])
    too_full = [_blocks_held(run, end_s, gap_s) > NUM_BLOCKS for end_s in ends]
    return float(ends[np.flatnonzero([True, *too_full])[-1]])


def _blocks_held(run: Served, at_s: float, gap_s: float) -> int:
    """KV blocks of the requests that end after `at_s`, at a token every `gap_s`."""
    left = run.last_token_s > at_s
    to_come = (run.last_token_s[left] - at_s) / gap_s
    contexts = run.prompt_tokens[left] + run.output_tokens[left] - 1 - to_come
    return int(np.ceil(contexts / BLOCK_TOKENS).sum())


def _pairs(run: Served) -> Iterator[Stretch]:
    for pair in combinations(range(len(run.output_tokens)), 2):
        if run.first_token_s[pair[0]] == run.first_token_s[pair[1]]:
            first, last = sorted(pair, key=lambda index: run.output_tokens[index])
            num = int(run.output_tokens[last] - run.output_tokens[first])
            if num:
                ends = run.last_token_s
                yield Stretch(first, last, num, float(ends[first]), float(ends[last]))


def shapes(run: Served, stretch: Stretch) -> list[tuple[float, BatchShape]]:
    """(share of the stretch's time, batch) between each two ends of requests, contexts at its
    middle: what a request is to put out until its end lies before it at the stretch's gap."""
    ends = run.last_token_s
    inside = ends[(ends > stretch.start_s) & (ends < stretch.end_s)]
    edges = np.unique([stretch.start_s, *inside, stretch.end_s])
    found = []
    for start_s, end_s in pairwise(edges.tolist()):
        runs = ends >= end_s
        to_come = (ends[runs] - (start_s + end_s) / 2) / stretch.gap_s
        contexts = run.prompt_tokens[runs] + run.output_tokens[runs] - 1 - to_come
        decodes = int(runs.sum())
        shape = BatchShape(decodes, decodes, decodes, round(contexts.sum()), [])
        found.append(((end_s - start_s) / (stretch.end_s - stretch.start_s), shape))
    return found
