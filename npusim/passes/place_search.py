"""Groups of cores → what a placement costs, and a better one found by swapping cores."""

from collections.abc import Callable

import numpy as np

from npusim.cost.paths import Grid, hops, max_link_load

# A hop against a chunk's time on a link. Assumes chunks of about ten hops' worth of bytes.
HOP_WEIGHT = 0.1
# Breaks ties between placements with equal worst cases.
MEAN_WEIGHT = 0.01
MAX_TRIALS = 600


def placement_cost(
    groups: np.ndarray, pp: int, grid: Grid, ring_weight: float, stage_weight: float
) -> float:
    """Cost of a ring step of all groups at once plus a hand-over between all stages at once, 1.0
    being one message a link over one hop.

    `groups` (replicas × pp, tp): core ids in ring-rank order, stages of a replica in a row.
    """
    num_groups, tp = groups.shape
    total = 0.0
    if tp > 1:
        total += ring_weight * _phase_cost(groups.ravel(), np.roll(groups, -1, 1).ravel(), grid)
    if pp > 1:
        stages = groups.reshape(num_groups // pp, pp, tp)
        src, dst = stages[:, :-1].ravel(), stages[:, 1:].ravel()
        total += stage_weight * _phase_cost(src, dst, grid)
    return total


def _phase_cost(src: np.ndarray, dst: np.ndarray, grid: Grid) -> float:
    """1.0 at best: messages on the busiest link, with extra for hops beyond the first."""
    distance = hops(src, dst, grid)
    extra = HOP_WEIGHT * (int(distance.max()) - 1) + MEAN_WEIGHT * (float(distance.mean()) - 1)
    return max_link_load(src, dst, grid) + extra


def search(
    groups: list[list[int]], cost: Callable[[list[list[int]]], float]
) -> tuple[list[list[int]], int]:
    """Swaps two cores as long as that lowers the cost, in an order fixed by a seed; the groups and
    the number of swaps kept."""
    order = np.random.default_rng(0)
    cells = np.array(groups)
    best, kept = cost(groups), 0
    for _ in range(MAX_TRIALS if cells.size > 2 else 0):
        i, j = order.choice(cells.size, 2, replace=False)
        trial = cells.copy()
        trial.flat[[i, j]] = cells.flat[[j, i]]
        value = cost(trial.tolist())
        if value < best:
            cells, best, kept = trial, value, kept + 1
    return cells.tolist(), kept
