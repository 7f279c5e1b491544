"""Stages: contiguous, complete, balanced."""

from itertools import combinations

import pytest

from npusim.errors import SpecError
from npusim.passes.stage import assign_stages


def lengths(*args):
    return [len(r) for r in assign_stages(*args)]


@pytest.mark.parametrize("num_layers", [1, 7, 32, 36, 61, 80, 126])
@pytest.mark.parametrize("pp", [1, 2, 3, 5, 7, 16, 64])
def test_stages_cover_all_layers_in_order_and_differ_by_one(num_layers, pp):
    if pp > num_layers:
        pytest.skip("more stages than layers")
    stages = assign_stages(num_layers, pp)
    assert [layer for stage in stages for layer in stage] == list(range(num_layers))
    assert len(stages) == pp and {len(s) for s in stages} <= {
        num_layers // pp,
        -(-num_layers // pp),
    }


def test_the_remainder_goes_to_the_middle_and_early():
    assert lengths(7, 2) == [4, 3]
    assert lengths(9, 4) == [2, 3, 2, 2]
    assert lengths(36, 16) == [2] * 6 + [3] * 4 + [2] * 6


def test_unequal_layers_are_balanced_by_weight():
    assert lengths(4, 2, [30, 10, 10, 10]) == [1, 3]
    assert lengths(3, 3, [1, 1, 100]) == [1, 1, 1]
    assert lengths(4, 2, [5, 5, 5, 5]) == [2, 2]


@pytest.mark.parametrize("weights", [[3, 1, 4, 1, 5, 9, 2, 6], [9, 1, 1, 1, 1, 1, 1, 9], [1, 0, 7]])
@pytest.mark.parametrize("pp", [1, 2, 3])
def test_the_heaviest_stage_is_as_light_as_brute_force_finds(weights, pp):
    best = min(
        max(sum(weights[a:b]) for a, b in zip((0, *cuts), (*cuts, len(weights)), strict=True))
        for cuts in combinations(range(1, len(weights)), pp - 1)
    )
    stages = assign_stages(len(weights), pp, weights)
    assert [layer for stage in stages for layer in stage] == list(range(len(weights)))
    assert all(len(s) for s in stages)
    assert max(sum(weights[i] for i in s) for s in stages) == best


def test_more_stages_than_layers_is_refused():
    with pytest.raises(SpecError, match=r"^pp must be at most the 4 layers of the model, not 5$"):
        assign_stages(4, 5)
