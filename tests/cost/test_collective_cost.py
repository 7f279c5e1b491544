from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.cost.collective import (
    LINE_COSTS,
    MESH_COSTS,
    Cost,
    collective_cost,
    collective_ps,
    gemm_traffic,
)

CORES = st.integers(1, 20)
SIZES = st.integers(0, 100_000)


def pieces(size, parts):
    return [size // parts + (i < size % parts) for i in range(parts)]


def walked_ring_gather(size, cores):
    """Every core passes on the piece it got last, until all have all."""
    sizes = pieces(size, cores)
    have = [{i} for i in range(cores)]
    sent, steps, serial = [0] * cores, 0, 0
    newest = list(range(cores))
    while any(len(h) < cores for h in have):
        moved = list(newest)
        for core, piece in enumerate(moved):
            sent[core] += sizes[piece]
            have[(core + 1) % cores].add(piece)
            newest[(core + 1) % cores] = piece
        steps, serial = steps + 1, serial + max(sizes)
    return Cost(steps, max(sent), serial, sum(sent))


@given(SIZES, CORES)
def test_ring_gather_equals_a_walk_round_the_ring(size, cores):
    assert collective_cost("all_gather", "ring", size, cores) == walked_ring_gather(size, cores)


@given(SIZES, CORES)
def test_tree_broadcast_equals_a_walk_down_the_tree(size, cores):
    have, sent, steps = 1, [0] * cores, 0
    while have < cores:
        for core in range(min(have, cores - have)):
            sent[core] += size
        have, steps = min(2 * have, cores), steps + 1
    expected = Cost(steps, max(sent), steps * size, sum(sent))
    assert collective_cost("broadcast", "tree", size, cores) == expected


def test_all_reduce_is_scatter_and_gather():
    # 2 (n - 1) / n of the vector a core
    assert collective_cost("all_reduce", "ring", 1 << 20, 4) == Cost(6, 3 << 19, 3 << 19, 6 << 20)


@pytest.mark.parametrize("op", MESH_COSTS)
def test_mesh_sends_as_much_as_a_ring_in_fewer_steps(op):
    ring = collective_cost(op, "ring", 6400, 64)
    mesh = collective_cost(op, "mesh2d", 6400, 64, (8, 8))
    assert (mesh.sent, mesh.total) == (ring.sent, ring.total)
    assert mesh.steps == ring.steps * 14 // 63


@pytest.mark.parametrize("op", MESH_COSTS)
def test_mesh_of_one_row_is_a_ring(op):
    assert collective_cost(op, "mesh2d", 700, 7, (1, 7)) == collective_cost(op, "ring", 700, 7)
    assert collective_cost(op, "mesh2d", 700, 7, (7, 1)) == collective_cost(op, "ring", 700, 7)


@pytest.mark.parametrize("algorithm, op", [(a, o) for a in LINE_COSTS for o in LINE_COSTS[a]])
def test_one_core_sends_nothing(algorithm, op):
    assert collective_cost(op, algorithm, 1000, 1) == Cost(0, 0, 0, 0)


def test_no_form_is_none():
    assert collective_cost("all_to_all", "tree", 1000, 4) is None


def test_time_is_alpha_a_step_and_beta_a_byte():
    cost = collective_cost("all_reduce", "ring", 4000, 4)
    # 6 steps of 1000 bytes at 10 bytes/ns
    assert collective_ps(cost, alpha_ps=500, gb_s=10) == 6 * 500 + 6 * 100_000


def test_gemm_traffic_limits_are_the_one_dimensional_rows():
    m, k, n, cores = 100, 60, 80, 4
    by_k = gemm_traffic(m, k, n, 1, cores)
    assert by_k.sent == Fraction(2 * 3, 4) * m * n and by_k.steps == 6
    by_mn = gemm_traffic(m, k, n, cores, 1)
    assert by_mn.sent == Fraction(3, 4) * k * n and by_mn.steps == 3


@pytest.mark.parametrize("tokens", [256, 1024, 4096])
@pytest.mark.parametrize("hidden, ffn, heads", [(2048, 6144, 16), (2560, 9728, 32)])
def test_block_of_the_multicore_study(tokens, hidden, ffn, heads):
    """arXiv 2510.05632's released block on 4 cores: fused QKV and the first FFN matrix stay
    scattered. K: 1.5 T (3A + 2H + F); 2-D: 0.25 (4AH + 2HF) + T (1.75A + H + 0.25F), of which
    A T re-shards the activations around attention and is no GEMM's."""
    a = heads * 128
    gemms = [(hidden, 3 * a), (a, hidden), (hidden, ffn), (ffn, hidden)]
    one_d = sum(gemm_traffic(tokens, k, n, 1, 4).sent for k, n in gemms)
    assert one_d == Fraction(3, 2) * tokens * (3 * a + 2 * hidden + ffn)
    weights = sum(gemm_traffic(tokens, k, n, 4, 1).sent for k, n in gemms)
    assert weights == Fraction(3, 4) * (4 * a * hidden + 2 * hidden * ffn)
    scattered = [True, False, True, False]
    grid = [gemm_traffic(tokens, k, n, 2, 2, s) for (k, n), s in zip(gemms, scattered, strict=True)]
    expected = Fraction(1, 4) * (4 * a * hidden + 2 * hidden * ffn) + tokens * (
        Fraction(3, 4) * a + hidden + Fraction(ffn, 4)
    )
    assert sum(g.sent for g in grid) == expected
    assert sum(g.steps for g in grid) == 10


@pytest.mark.parametrize("cores", [1, 2, 8, 32])
def test_halving_sends_a_rings_bytes_in_log_steps(cores):
    """Each core holds its piece; partners at distance 1, 2, 4, … pool what they have."""
    have, steps, sent = [{i} for i in range(cores)], 0, 0
    while len(have[0]) < cores:
        sent += len(have[0])
        have = [have[i] | have[i ^ (1 << steps)] for i in range(cores)]
        steps += 1
    assert all(h == set(range(cores)) for h in have)
    size = 100 * cores
    expected = Cost(steps, 100 * sent, 100 * sent, 100 * sent * cores)
    assert collective_cost("all_gather", "halving", size, cores) == expected
    both = collective_cost("all_reduce", "halving", size, cores)
    assert both == Cost(*(2 * value for value in expected))
