"""Times kept by signature: exact at corners, linear in between, and few simulations."""

import random
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npusim.graph import batch as batches
from npusim.serving.iteration.memo import (
    LEAST_CONTEXT,
    LEAST_TOKENS,
    Grid,
    Memo,
    edges,
    prompts_of,
)
from npusim.serving.request import Request, Work
from npusim.spec.serving import Buckets

KV_TOKENS = 20_000
MAX_TOKENS = 2048
MAX_REQUESTS = 100


def decode(context):
    return Work(Request(0, 0, context, 9), 1, context, True)


def prompt(new, context=0, samples=True):
    return Work(Request(0, 0, new, 9), new, context, samples)


class Simulator:
    """Ps of a batch: a constant, so much a token, so much a token and token of context, so much
    when something samples; one figure for each stage."""

    def __init__(self, constant=1000, token=7, pair=3, sample=500, stages=2):
        self.factors = constant, token, pair, sample
        self.stages = stages
        self.asked = []

    def exact(self, batch):
        constant, token, pair, sample = self.factors
        tokens = sum(piece.new_tokens for piece in batch)
        pairs = sum(
            piece.new_tokens * piece.context_tokens + piece.new_tokens**2 / 2 for piece in batch
        )
        samples = any(piece.samples for piece in batch)
        whole = constant + token * tokens + pair * pairs + sample * samples
        return tuple(whole * (stage + 1) for stage in range(self.stages))

    def __call__(self, batch, level):
        self.asked.append((batch, level))
        return self.exact(batch)


def memo_of(simulate, **changes):
    limits = {"max_tokens": MAX_TOKENS, "max_requests": MAX_REQUESTS, "kv_tokens": KV_TOKENS}
    return Memo(simulate, Buckets(), **{**limits, **changes})


# ---- edges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "ratio", "expected"),
    [
        (1, 1, 2.0, [1]),
        (1, 2, 2.0, [1, 2]),
        (1, 3, 2.0, [1, 2, 3]),
        (16, 64, 2.0, [16, 32, 64]),
        (16, 65, 2.0, [16, 32, 64, 65]),
        (1, 6, 1.01, [1, 2, 3, 4, 5, 6]),
        (64, 1000, 4.0, [64, 256, 1000]),
        (64, 256, 1024.0, [64, 256]),
    ],
)
def test_edges(first, last, ratio, expected):
    assert edges(first, last, ratio) == expected


@given(st.integers(1, 100), st.integers(0, 10**6), st.floats(1.01, 64))
def test_edges_differ_by_the_ratio_at_most(first, more, ratio):
    found = edges(first, first + more, ratio)
    assert found[0] == first and found[-1] == first + more
    for low, high in pairwise(found):
        assert low < high <= max(low + 1, round(low * ratio))


# ---- the grid -----------------------------------------------------------------------------------


def grid_of(simulate, rows=(1, 4, 10), columns=(0, 100, 200), most=10**9):
    return Grid(
        lambda row, column: (float(simulate(row, column)),), rows, columns, lambda row: most
    )


def test_corners_are_what_was_simulated():
    table = {(row, column): 3 * row**2 + column for row in (1, 4, 10) for column in (0, 100, 200)}
    grid = grid_of(lambda row, column: table[row, column])
    for (row, column), time in table.items():
        assert grid.at(row, column) == (time,)
    assert grid.known == {corner: (time,) for corner, time in table.items()}


@given(
    st.tuples(*[st.floats(-100, 100)] * 4), st.floats(1, 10), st.floats(0, 500),
    st.sampled_from([50, 100, 200]),
)  # fmt: skip
def test_bilinear_times_are_exact_everywhere(factors, row, column, most):
    """a + b row + c column + d row column, columns prolonged beyond the last and beyond `most`."""
    if most == 50:
        most, column = 10**9, min(column, 100)
    a, b, c, d = factors
    grid = grid_of(lambda r, k: a + b * r + c * k + d * r * k, columns=(0, 100, 200), most=most)
    if most == 100:
        grid.columns = (0, 100)
    assert grid.at(row, column)[0] == pytest.approx(a + b * row + c * column + d * row * column,
                                                    abs=1e-6)  # fmt: skip


def test_below_the_first_edge_it_is_that_edge():
    grid = grid_of(lambda row, column: row + column, rows=(2, 4), columns=(64, 128))
    assert grid.at(1, 0) == grid.at(2, 64) == (66,)


def test_beyond_what_fits_columns_are_prolonged_and_not_simulated():
    def simulate(row, column):
        assert row * column <= 400, "does not fit"
        return 10 + row * column

    grid = Grid(lambda r, k: (float(simulate(r, k)),), (1, 2, 4), (50, 100, 200, 400),
                lambda row: 400 / row)  # fmt: skip
    for row in (1, 1.5, 2, 3, 4):
        for column in (50, 75, 100, 200, 300, 400, 800):
            assert grid.at(row, column) == (10 + row * column,)


@pytest.mark.parametrize(
    ("most", "columns"),
    [
        (40, [50]), (50, [50]), (51, [50, 51]), (99, [50, 99]), (100, [50, 100]),
        (199, [50, 100]), (200, [50, 100, 200]), (399, [50, 100, 200]),
        (400, [50, 100, 200, 400]), (10**9, [50, 100, 200, 400, 3200]),
    ],
)  # fmt: skip
def test_the_most_that_fits_is_a_column_where_others_are_far(most, columns):
    asked = set()
    grid = grid_of(lambda row, column: asked.add(column) or column,
                   columns=(50, 100, 200, 400, 3200), most=most)  # fmt: skip
    for column in range(0, 3300, 10):
        grid.at(1, column)
    assert sorted(asked) == columns


def test_what_fits_is_told_by_level():
    simulate = Simulator(stages=1)
    memo = memo_of(simulate, kv_tokens_at=lambda level: 1000 * (level + 1))
    for level in range(4):
        memo.stage_ps([decode(5000)], level)
    assert [batch[0].context_tokens for batch, level in simulate.asked if level == 0] == [256, 1000]
    assert all(batch[0].context_tokens <= 1000 * (level + 1) for batch, level in simulate.asked)


def test_only_the_corners_around_are_simulated():
    asked = []
    grid = grid_of(lambda row, column: asked.append((row, column)) or 1)
    grid.at(4, 100)
    assert asked == [(4, 100)]
    grid.at(5, 100)
    assert asked == [(4, 100), (10, 100)]
    grid.at(5, 150)
    grid.at(5, 150)
    assert asked == [(4, 100), (10, 100), (4, 200), (10, 200)]


@given(st.lists(st.integers(0, 1000), min_size=9, max_size=9), st.data())
def test_monotone_where_corners_are(steps, data):
    rows, columns = (1, 4, 10), (0, 100, 200)
    table = {}
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            below = [table[rows[a], columns[b]] for a in range(i + 1) for b in range(j + 1)
                     if (a, b) != (i, j)]  # fmt: skip
            table[row, column] = max(below, default=0) + steps[3 * i + j]
    grid = grid_of(lambda row, column: table[row, column])
    low = data.draw(st.tuples(st.floats(1, 10), st.floats(0, 200)))
    high = data.draw(st.tuples(st.floats(low[0], 10), st.floats(low[1], 200)))
    assert grid.at(*low)[0] <= grid.at(*high)[0] + 1e-6


# ---- batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 8, 100])
@pytest.mark.parametrize("context", [64, 256, 150])
def test_decodes_at_a_corner_are_what_was_simulated(count, context):
    simulate = Simulator()
    memo = memo_of(simulate)
    exact = simulate.exact(batches.decode(count, context))
    assert memo.stage_ps([decode(context)] * count) == tuple(round(ps) for ps in exact)


@given(st.lists(st.integers(LEAST_CONTEXT, 300), min_size=1, max_size=MAX_REQUESTS))
def test_decodes_of_any_length_are_exact_when_time_is_linear(contexts):
    simulate = Simulator(pair=4)
    found = memo_of(simulate).stage_ps([decode(context) for context in contexts])
    whole = 1000 + 7 * len(contexts) + 4 * (sum(contexts) + len(contexts) / 2) + 500
    assert found == pytest.approx((whole, 2 * whole), abs=1)


prompts = st.lists(
    st.tuples(st.integers(64, 400), st.integers(0, 3000)), min_size=1, max_size=5
).filter(lambda rows: sum(n * (2 * c + n) for n, c in rows) >= 128 * sum(n for n, _ in rows))


@given(prompts, st.booleans())
def test_prompts_are_exact_when_time_is_linear(rows, samples):
    """So much a token, and so much a pair of tokens that attend to one another."""
    works = [prompt(new, context, samples) for new, context in rows]
    found = memo_of(Simulator(stages=1)).stage_ps(works)[0]
    tokens = sum(new for new, _ in rows)
    pairs = sum(new * context + new * new / 2 for new, context in rows)
    whole = 1000 + 7 * tokens + 3 * pairs + 500 * samples
    # lengths and contexts of a corner are whole: half a token of context at most
    assert found == pytest.approx(whole, rel=0.02)


def test_a_prompt_at_a_corner_is_what_was_simulated():
    simulate = Simulator(stages=1)
    memo = memo_of(simulate)
    for new, context in [(16, 56), (512, 0), (2048, 0), (128, 0), (128, 192)]:
        (exact,) = simulate.exact(prompts_of(new, context + new // 2))
        assert memo.stage_ps([prompt(new, context)]) == (round(exact),)


@given(
    st.integers(16, 1000), st.integers(0, 4000), st.lists(st.integers(64, 200), max_size=90)
)  # fmt: skip
def test_decodes_beside_a_prompt_take_no_less_than_without(new, context, contexts):
    memo = memo_of(Simulator())
    alone = memo.stage_ps([prompt(new, context)])
    both = memo.stage_ps([prompt(new, context), *map(decode, contexts)])
    assert all(b >= a - 1 for a, b in zip(alone, both, strict=True))


def test_decodes_beside_a_prompt_by_hand():
    """128 prompt tokens and 72 decodes at 164: 200 tokens' worth, and the attention of 72."""
    works = [prompt(128, 192)] + [decode(164)] * 72
    pairs = 128 * 192 + 128 * 128 / 2 + 72 * 100  # above the least context, 64
    expected = 1000 + 7 * 200 + 3 * pairs + 500
    assert memo_of(Simulator(stages=1)).stage_ps(works)[0] == pytest.approx(expected, rel=0.01)


def test_the_order_of_a_batch_does_not_matter():
    works = [prompt(100), decode(300), decode(77), prompt(31, 400, samples=False)]
    memo = memo_of(Simulator())
    assert len({memo.stage_ps(list(order)) for order in permutations(works)}) == 1


def bent(batch, level):
    """Ps that no straight line gives, so that every other corner would show."""
    tokens = sum(piece.new_tokens for piece in batch)
    context = sum(piece.new_tokens * piece.context_tokens for piece in batch)
    samples = any(piece.samples for piece in batch)
    return (1e6 + tokens**1.3 + context**0.7 + 99 * samples + level,)


def test_times_do_not_depend_on_what_was_asked_before():
    rng = random.Random(3)
    asked = []
    for _ in range(60):
        works = [decode(rng.randrange(1, 9000)) for _ in range(rng.randrange(0, 60))]
        if rng.random() < 0.5 or not works:
            works.append(prompt(rng.randrange(1, 2000), rng.randrange(0, 9000), rng.random() < 0.5))
        asked.append((tuple(works), rng.randrange(3)))
    alone = {batch: memo_of(bent).stage_ps(*batch) for batch in asked}
    for _ in range(5):
        rng.shuffle(asked)
        memo = memo_of(bent)
        assert {batch: memo.stage_ps(*batch) for batch in asked} == alone


def test_a_chunk_that_puts_out_no_token_has_no_head():
    memo = memo_of(Simulator(stages=1))
    with_head = memo.stage_ps([prompt(512)])[0]
    assert with_head - memo.stage_ps([prompt(512, samples=False)])[0] == 500


def test_a_time_is_at_least_a_ps():
    assert memo_of(Simulator(0, 0, 0, 0)).stage_ps([decode(64)]) == (1, 1)


def test_more_context_than_the_memory_holds_is_not_simulated():
    simulate = Simulator(stages=1)
    memo = memo_of(simulate)
    memo.stage_ps([decode(KV_TOKENS // 50)] * 50)
    memo.stage_ps([decode(5000)] * 90)
    memo.stage_ps([prompt(2048, KV_TOKENS - 2048)])
    for batch, _ in simulate.asked:
        held = sum(piece.new_tokens + piece.context_tokens for piece in batch)
        assert held <= max(KV_TOKENS, LEAST_CONTEXT * len(batch)) + len(batch)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_simulations_are_bounded_by_corners(seed):
    rng = random.Random(seed)
    simulate = Simulator(stages=1)
    memo = memo_of(simulate)
    for _ in range(200):
        works = [decode(rng.randrange(1, 4000)) for _ in range(rng.randrange(0, 60))]
        works += [prompt(rng.randrange(1, 500), rng.randrange(0, 3000)) for _ in range(2)]
        memo.stage_ps(works)
    rows = len(edges(LEAST_TOKENS, MAX_TOKENS, 2.0)) + len(edges(1, MAX_REQUESTS, 2.0))
    columns = len(edges(LEAST_CONTEXT, KV_TOKENS, 4.0))
    assert memo.num_simulated == len(simulate.asked) <= rows * (columns + 1) + 1
    assert len({batch for batch, _ in simulate.asked}) >= 0.8 * len(simulate.asked)


def test_levels_are_apart():
    simulate = Simulator()
    memo = memo_of(simulate)
    memo.stage_ps([decode(64)], 0)
    memo.stage_ps([decode(64)], 3)
    memo.stage_ps([decode(64)], 3)
    assert [level for _, level in simulate.asked] == [0, 3]


@given(st.integers(1, 4096), st.integers(1, 30_000))
def test_prompts_of_a_corner_have_its_tokens(tokens, attended):
    batch = prompts_of(tokens, attended)
    assert sum(piece.new_tokens for piece in batch) == tokens
    assert all(piece.new_tokens > 0 and piece.context_tokens >= 0 for piece in batch)


@given(st.integers(16, 4096), st.integers(64, 30_000))
def test_prompts_of_a_corner_attend_to_what_is_asked(tokens, attended):
    """To a token; of equal fresh prompts, whose number is whole, that number is the nearest."""
    batch = prompts_of(tokens, attended)
    pairs = sum(s.new_tokens * s.context_tokens + s.new_tokens**2 / 2 for s in batch)
    if 2 * attended >= tokens:
        assert abs(pairs / tokens - attended) <= 0.5
    else:
        assert abs(len(batch) - tokens / (2 * attended)) <= 0.5
        assert max(s.new_tokens for s in batch) - min(s.new_tokens for s in batch) <= 1
