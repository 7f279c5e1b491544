"""Chip-to-chip collectives: times by hand, distances by breadth-first search."""

from collections import deque
from dataclasses import dataclass, field
from itertools import product

import pytest

from npusim.cost.interconnect import (
    FABRICS,
    LOADS,
    RING,
    fabric_of,
    link_collective_ps,
    link_protocol,
)

MIB = 1 << 20


@dataclass(frozen=True)
class Estimate:
    alpha_us: float
    step_us: float
    gb_s: float


@dataclass(frozen=True)
class Row:
    alpha_us: float = 0.0
    step_us: float = 0.0
    efficiency_fraction: float = 1.0
    ops: tuple = tuple(RING)
    algorithm: str = "ring"
    own_gb_s: float | None = None
    reduce_gb_s: float | None = None
    max_bytes: int | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Links:
    topology: str = "switch"
    link_gb_s: float = 100.0
    grid: tuple | None = None
    protocols: dict = field(default_factory=lambda: {"only": Row()})


def test_all_reduce_is_alpha_steps_and_bytes():
    row = Row(alpha_us=5, step_us=2, efficiency_fraction=0.5)
    # 6 steps of 250 bytes at 50 bytes/ns
    expected = 5_000_000 + 6 * 2_000_000 + 6 * 250 * 20
    assert link_collective_ps("all_reduce", 1000, 4, Links(protocols={"a": row})) == expected


def test_own_piece_and_additions_take_their_time():
    row = Row(own_gb_s=10, reduce_gb_s=50)
    # link 2 * 750 B at 100, own 250 B at 10, 750 B added at 50 bytes/ns
    expected = 15_000 + 25_000 + 15_000
    assert link_collective_ps("all_reduce", 1000, 4, Links(protocols={"a": row})) == expected


def test_gather_and_scatter_make_an_all_reduce():
    links = Links(protocols={"a": Row(step_us=3)})
    times = {
        op: link_collective_ps(op, 4 * MIB, 8, links)
        for op in ("all_gather", "reduce_scatter", "all_reduce")
    }
    assert times["all_reduce"] == times["all_gather"] + times["reduce_scatter"]


@pytest.mark.parametrize("op", RING)
def test_one_chip_or_no_bytes_take_no_time(op):
    links = Links(protocols={"a": Row(alpha_us=5)})
    assert link_collective_ps(op, 1000, 1, links) == 0
    assert link_collective_ps(op, 0, 4, links) == 0


@pytest.mark.parametrize("topology", FABRICS)
@pytest.mark.parametrize("op", RING)
@pytest.mark.parametrize("n", [2, 3, 8])
def test_more_bytes_never_take_less_time(topology, op, n):
    links = Links(topology, protocols={"a": Row(1, 1, 0.9, own_gb_s=7, reduce_gb_s=7)})
    times = [link_collective_ps(op, size, n, links) for size in (1, 1000, MIB, 8 * MIB)]
    assert times == sorted(times) and times[0] >= 2_000_000


@pytest.mark.parametrize("algorithm, op", [(a, o) for a in LOADS for o in LOADS[a]])
def test_no_collective_beats_its_bytes(algorithm, op):
    """Every chip must send or receive what it lacks."""
    n, size = 4, 12 * MIB
    least = {"broadcast": size, "point_to_point": size, "all_to_all": size}
    least |= {"all_reduce": 2 * size * (n - 1) // n}
    row = Row(algorithm=algorithm, ops=(op,))
    found = link_collective_ps(op, size, n, Links(protocols={"a": row}))
    assert found >= least.get(op, size * (n - 1) // n) * 10


def test_one_shot_reads_every_vector():
    row = Row(algorithm="one_shot", step_us=1)
    links = Links(protocols={"a": row})
    assert link_collective_ps("all_reduce", 1000, 4, links) == 3 * 1_000_000 + 3 * 10_000


def searched_hops(grid):
    """Distance of every place of a torus to the first, by breadth-first search."""
    start = (0,) * len(grid)
    found, queue = {start: 0}, deque([start])
    while queue:
        place = queue.popleft()
        for axis, step in product(range(len(grid)), (1, -1)):
            there = list(place)
            there[axis] = (there[axis] + step) % grid[axis]
            if tuple(there) not in found:
                found[tuple(there)] = found[place] + 1
                queue.append(tuple(there))
    return sorted(found.values())[1:]


@pytest.mark.parametrize("grid", [(2, 2), (4, 4), (3, 5), (4, 4, 4), (2, 3, 4)])
def test_torus_hops_are_shortest_paths(grid):
    n = 1
    for size in grid:
        n *= size
    fabric = fabric_of(Links("torus", grid=grid), n)
    assert sorted(fabric.hops) == searched_hops(grid)
    assert fabric.line_steps == sum(grid) - len(grid)


@pytest.mark.parametrize("n", [2, 3, 4, 9])
def test_ring_hops_are_shortest_paths(n):
    assert sorted(fabric_of(Links("ring"), n).hops) == searched_hops((n,))


def test_part_of_a_torus_is_a_ring_that_leaves_links_idle():
    whole = link_collective_ps("all_gather", 8 * MIB, 4, Links("ring"))
    part = link_collective_ps("all_gather", 8 * MIB, 4, Links("torus", grid=(4, 4, 4)))
    assert part == 3 * whole


def test_message_uses_one_of_the_links():
    for topology, links_a_chip in (("switch", 1), ("ring", 2), ("fully_connected", 7)):
        found = link_collective_ps("point_to_point", 1000, 8, Links(topology))
        assert found == links_a_chip * 10_000


def test_all_to_all_shares_the_links_of_relays():
    # 8 chips in a two-way ring: 1+2+3+4+3+2+1 hops of 100 bytes, over all links of a chip
    assert link_collective_ps("all_to_all", 700, 8, Links("ring")) == 16 * 100 * 10
    assert link_collective_ps("all_to_all", 700, 8, Links("one_way_ring")) == 28 * 100 * 10


def test_protocol_is_taken_by_the_librarys_estimate():
    slow = Row(alpha_us=50, estimate=Estimate(1, 0, 100))
    quick = Row(alpha_us=1, estimate=Estimate(2, 0, 100))
    links = Links(protocols={"slow": slow, "quick": quick})
    assert link_protocol("all_reduce", 1000, 4, links) == "slow"


def test_protocols_of_one_estimate_or_none_are_taken_by_time():
    same = Estimate(1, 0, 100)
    rows = {"slow": Row(50, estimate=same), "quick": Row(10, estimate=same)}
    assert link_protocol("all_reduce", 1000, 4, Links(protocols=rows)) == "quick"
    rows["plain"] = Row(5)
    assert link_protocol("all_reduce", 1000, 4, Links(protocols=rows)) == "plain"


def test_limit_of_a_protocol_is_the_last_size_it_takes():
    links = Links(protocols={"small": Row(max_bytes=1000), "any": Row(alpha_us=9)})
    assert link_protocol("all_reduce", 1000, 4, links) == "small"
    assert link_protocol("all_reduce", 1001, 4, links) == "any"


def test_no_protocol_is_an_error():
    links = Links(protocols={"small": Row(max_bytes=10)})
    with pytest.raises(KeyError, match="no protocol for all_reduce of 11 bytes"):
        link_collective_ps("all_reduce", 11, 4, links)
