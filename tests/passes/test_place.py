"""Placement: the study's lists exactly, and laws that every policy keeps on every mesh."""

from itertools import pairwise

import numpy as np
import pytest

from npusim.cost.paths import Grid
from npusim.errors import SpecError
from npusim.passes.place import PLACEMENTS, place, place_with_note
from npusim.passes.place_search import placement_cost, search
from npusim.spec.hardware import Hardware


def chip(rows, columns):
    core = {
        "clock_mhz": 500,
        "arrays": {"rows": 8, "columns": 8},
        "vector": {"lanes": 8},
        "sfu": {"lanes": 8},
        "scratchpad": {"capacity_mib": 1},
    }
    return Hardware(
        name="test",
        mesh={"rows": rows, "columns": columns},
        core_groups=[{"name": "all", "core": core}],
        noc={"clock_mhz": 500, "link_bytes_per_cycle": 16},
    )


EIGHT = chip(8, 8)
# Section 5 of arXiv 2510.05632, 8 columns.
PUBLISHED = {
    ("linear_seq", 4): [0, 1, 2, 3],
    ("linear_interleave", 4): [0, 1, 3, 2],
    ("mesh2d", 4): [0, 1, 8, 9],
    ("ring", 4): [0, 1, 9, 8],
    ("linear_seq", 16): list(range(16)),
    ("linear_interleave", 16): [0, 2, 4, 6, 15, 13, 11, 9, 8, 10, 12, 14, 7, 5, 3, 1],
    ("mesh2d", 16): [*range(4), *range(8, 12), *range(16, 20), *range(24, 28)],
    ("ring", 16): [*range(8), *reversed(range(8, 16))],
}
HOPS = {  # maximum, mean
    ("linear_seq", 4): (3, 1.5),
    ("linear_interleave", 4): (2, 1.5),
    ("mesh2d", 4): (2, 1.5),
    ("ring", 4): (1, 1.0),
    ("linear_seq", 16): (8, 1.875),
    ("linear_interleave", 16): (2, 1.875),
    ("mesh2d", 16): (6, 1.875),
    ("ring", 16): (1, 1.0),
}


def ring_hops(group, columns):
    places = [divmod(core, columns) for core in group]
    following = places[1:] + places[:1]
    return [abs(a - c) + abs(b - d) for (a, b), (c, d) in zip(places, following, strict=True)]


@pytest.mark.parametrize(("policy", "tp"), PUBLISHED)
def test_the_first_group_is_the_published_one(policy, tp):
    group = place(policy, EIGHT, tp, 1, 1)[0][0]
    assert group == PUBLISHED[policy, tp]
    found = ring_hops(group, 8)
    assert (max(found), np.mean(found)) == HOPS[policy, tp]


@pytest.mark.parametrize(("policy", "tp"), PUBLISHED)
def test_other_groups_repeat_the_pattern(policy, tp):
    stages = place(policy, EIGHT, tp, 64 // tp, 1)[0]
    assert sorted(core for group in stages for core in group) == list(range(64))
    for group in stages:
        assert [core - group[0] for core in group] == PUBLISHED[policy, tp]


@pytest.mark.parametrize("policy", ["ring", "mesh2d", "linear_seq"])
def test_consecutive_stages_are_neighbours(policy):
    stages = np.array(place(policy, EIGHT, 4, 16, 1)[0])
    for one, two in pairwise(stages):
        rows, columns = np.abs(one // 8 - two // 8), np.abs(one % 8 - two % 8)
        assert set(rows + columns) <= ({4, 1} if policy == "linear_seq" else {2})


@pytest.mark.parametrize(("rows", "columns", "tp"), [(8, 8, 64), (16, 16, 256), (4, 4, 16)])
def test_a_ring_over_the_whole_mesh_is_a_hamiltonian_cycle(rows, columns, tp):
    group = place("ring", chip(rows, columns), tp, 1, 1)[0][0]
    assert sorted(group) == list(range(tp))
    assert set(ring_hops(group, columns)) == {1}


@pytest.mark.parametrize("tp", [2, 4, 6, 8, 10, 12, 14, 16, 24, 32, 40, 48, 56, 64])
def test_even_rings_that_fit_are_of_single_hops(tp):
    assert set(ring_hops(place("ring", EIGHT, tp, 1, 1)[0][0], 8)) == {1}


@pytest.mark.parametrize("tp", [3, 5, 7, 9, 15, 21, 25, 35, 49])
def test_odd_rings_have_steps_of_at_most_two_hops(tp):
    assert max(ring_hops(place("ring", EIGHT, tp, 1, 1)[0][0], 8)) == 2


@pytest.mark.parametrize("policy", PLACEMENTS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 8), (8, 1), (2, 3), (3, 5), (4, 8)])
@pytest.mark.parametrize(
    "degrees", [(1, 1, 1), (2, 1, 1), (3, 2, 1), (5, 1, 3), (4, 2, 4), (1, 6, 1)]
)
def test_no_core_is_used_twice_or_invented(policy, rows, columns, degrees):
    tp, pp, dp = degrees
    if tp * pp * dp > rows * columns:
        with pytest.raises(SpecError, match=r"needs \d+ cores, there are \d+; lower tp, pp or dp"):
            place(policy, chip(rows, columns), tp, pp, dp)
        return
    groups = place(policy, chip(rows, columns), tp, pp, dp)
    assert (len(groups), {len(r) for r in groups}) == (dp, {pp})
    used = [core for replica in groups for group in replica for core in group]
    assert all(len(group) == tp for replica in groups for group in replica)
    assert len(set(used)) == len(used) == tp * pp * dp
    assert set(used) <= set(range(rows * columns))


@pytest.mark.parametrize("policy", PLACEMENTS)
@pytest.mark.parametrize("cores", [range(42, 63), range(21), [0, 7, 56, 63]])
def test_only_the_cores_given_are_used(policy, cores):
    groups = place(policy, EIGHT, 2, 2, 1, cores=list(cores))
    assert {core for group in groups[0] for core in group} <= set(cores)


def test_auto_takes_the_ring_where_it_is_ideal():
    groups, note = place_with_note("auto", EIGHT, 4, 16, 1)
    assert groups == place("ring", EIGHT, 4, 16, 1)
    assert note.startswith("placement auto: ring, cost 1.")


@pytest.mark.parametrize(("tp", "pp", "dp"), [(3, 5, 1), (7, 3, 2), (13, 2, 1), (64, 1, 1)])
def test_auto_is_never_worse_than_a_policy_and_repeats(tp, pp, dp):
    def cost(groups):
        flat = np.array(groups).reshape(pp * dp, tp)
        return placement_cost(flat, pp, Grid(8, 8), 1.0, 0.1)

    found = place("auto", EIGHT, tp, pp, dp)
    assert found == place("auto", EIGHT, tp, pp, dp)
    assert all(cost(found) <= cost(place(name, EIGHT, tp, pp, dp)) for name in PLACEMENTS)


def test_the_cost_of_two_groups_by_hand():
    # Rings 0-1-9-8 and 2-3-11-10: one hop, one message a link. Hand-over: two hops, two messages
    # on the link between the blocks.
    groups = np.array([[0, 1, 9, 8], [2, 3, 11, 10]])
    assert placement_cost(groups, 1, Grid(8, 8), 1.0, 0.1) == 1.0
    assert placement_cost(groups, 2, Grid(8, 8), 0.0, 1.0) == pytest.approx(2 + 0.1 + 0.01)


def test_the_search_mends_a_crossed_ring():
    def cost(groups):
        return placement_cost(np.array(groups), 1, Grid(8, 8), 1.0, 0.0)

    groups, num_swaps = search([[0, 9, 1, 8]], cost)
    assert num_swaps > 0 and cost(groups) == 1.0 and sorted(groups[0]) == [0, 1, 8, 9]


def test_unknown_policies_are_refused():
    with pytest.raises(SpecError, match=r"placement must be one of .*; did you mean 'ring'\?"):
        place("rings", EIGHT, 4, 1, 1)


def test_auto_sees_the_wrap_around_links_of_a_torus():
    whole_row = np.arange(8).reshape(1, 8)  # the ring's last step goes round
    assert placement_cost(whole_row, 1, Grid(8, 8, "torus"), 1.0, 0.1) == 1.0
    assert placement_cost(whole_row, 1, Grid(8, 8), 1.0, 0.1) > 1.5
