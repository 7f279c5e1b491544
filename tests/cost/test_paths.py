"""Hops and link loads against a walk, link by link."""

from collections import Counter

import numpy as np
import pytest

from npusim.cost.paths import Grid, hops, line_steps, max_link_load

GRIDS = [Grid(5, 8), Grid(5, 8, "torus"), Grid(4, 10, "torus"), Grid(5, 8, "torus", one_way=True)]


def step(grid: Grid, here: int, goal: int, size: int) -> int:
    """Direction of the next link on a line."""
    if grid.topology == "mesh":
        return 1 if goal > here else -1
    if grid.one_way:
        return -1
    return 1 if (goal - here) % size <= (here - goal) % size else -1


def walk(grid: Grid, src: int, dst: int) -> list[tuple]:
    """Links of a route: along the row first."""
    sizes, links = (grid.rows, grid.columns), []
    at, goal = list(divmod(src, grid.columns)), divmod(dst, grid.columns)
    for axis in (1, 0):
        while at[axis] != goal[axis]:
            way = step(grid, at[axis], goal[axis], sizes[axis])
            links.append((*at, axis, way))
            at[axis] = (at[axis] + way) % sizes[axis]
    return links


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("grid", GRIDS)
def test_link_loads_equal_a_walk_hop_by_hop(grid, seed):
    src, dst = np.random.default_rng(seed).integers(0, 40, (2, 30))
    ways = [walk(grid, a, b) for a, b in zip(src.tolist(), dst.tolist(), strict=True)]
    loads = Counter(link for way in ways for link in way)
    assert max_link_load(src, dst, grid) == max(loads.values())
    assert hops(src, dst, grid).tolist() == [len(way) for way in ways]


def test_a_torus_goes_the_shorter_way_round():
    torus = Grid(1, 6, "torus")
    assert line_steps(0, np.arange(6), 6, torus).tolist() == [0, 1, 2, 3, -2, -1]


def test_requests_and_responses_of_a_one_way_torus_go_round_opposite_ways():
    torus, goals = Grid(1, 6, "torus", one_way=True), np.arange(6)
    assert line_steps(2, goals, 6, torus, request=True).tolist() == [4, 5, 0, 1, 2, 3]
    assert line_steps(2, goals, 6, torus).tolist() == [-2, -1, 0, -5, -4, -3]


def test_on_a_crossbar_only_the_ends_are_shared():
    crossbar = Grid(2, 3, "crossbar")
    src, dst = np.array([0, 1, 2, 3]), np.array([4, 4, 4, 5])
    assert hops(src, dst, crossbar).tolist() == [0] * 4
    assert max_link_load(src, dst, crossbar) == 3
