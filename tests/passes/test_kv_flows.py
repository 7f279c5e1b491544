"""Who holds what of a KV cache, and who sends it to whom."""

from hypothesis import given
from hypothesis import strategies as st

from npusim.cost.paths import Grid
from npusim.passes.cut.heads import kv_heads_of, spread_heads
from npusim.passes.kv_flows import RowShape, flows

MESH = Grid(8, 8)


def held_by(heads, per_kv, ranks):
    """Rank → the (KV head, index, parts) that it holds: query heads one by one, as dealt."""
    found = [set() for _ in range(ranks)]
    if ranks <= heads:
        sizes = [heads // ranks + (rank < heads % ranks) for rank in range(ranks)]
        query = iter(range(heads))
        for rank, size in enumerate(sizes):
            found[rank] = {(next(query) // per_kv, 0, 1) for _ in range(size)}
        return found
    rank = 0
    for head in range(heads):
        size = ranks // heads + (head < ranks % heads)
        for index in range(size):
            found[rank] = {(head // per_kv, index, size)}
            rank += 1
    return found


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 30))
def test_kv_heads_of_a_rank(kv_heads, per_kv, ranks):
    heads = spread_heads(kv_heads * per_kv, kv_heads, ranks)
    for rank, held in enumerate(held_by(kv_heads * per_kv, per_kv, ranks)):
        assert set(kv_heads_of(heads, rank)) == {head for head, _, _ in held}


@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 14), st.integers(1, 14), st.integers(1, 40)
)
def test_every_rank_gets_what_it_holds_from_one_that_has_it(kv_heads, per_kv, src, dst, tokens):
    shape = RowShape(kv_heads * 4, kv_heads * per_kv, kv_heads, latent=False)
    cores = tuple(range(src)), tuple(range(32, 32 + dst))
    found = flows(shape, tokens, 16, *cores, MESH)
    have, need = (held_by(kv_heads * per_kv, per_kv, n) for n in (src, dst))

    def pairs(held):
        return {(h, t) for h, i, n in held for t in range(tokens) if t % n == i}

    for rank, core in enumerate(cores[1]):
        wanted = pairs(need[rank])
        arriving = [flow for flow in found if flow.dst == core]
        assert sum(flow.num_bytes for flow in arriving) == 8 * len(wanted)
        for flow in arriving:
            common = wanted & pairs(have[flow.src])
            assert 0 < flow.num_bytes <= 8 * len(common)
            assert flow.offset_bytes + flow.num_bytes <= flow.cache_bytes
            assert flow.cache_bytes == 8 * len(pairs(have[flow.src]))


def test_a_replicated_head_comes_from_the_nearest_holder():
    shape = RowShape(4, 8, 1, latent=False)  # one KV head, on all four ranks
    (flow,) = flows(shape, 10, 16, (0, 7, 56, 63), (54,), MESH)
    assert flow.src == 63 and flow.num_bytes == 10 * 4 * 2
