"""Drawn requests: exact where the law is, else within 4 standard errors of its closed form."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from npusim.errors import SpecError
from npusim.serving.traffic import requests_of
from npusim.serving.traffic.lengths import draw_lengths
from npusim.serving.traffic.row import MAX_ARRIVAL_PS
from npusim.serving.traffic.synthetic import ARRIVALS
from npusim.spec.traffic import Lengths, SyntheticTraffic, Traffic

COUNT = 40_000
FIXED = {"kind": "fixed", "tokens": 7}


def traffic_of(kind="poisson", requests=1000, **keys):
    tree = {"kind": kind, "requests": requests, "prompt": FIXED, "output": FIXED, **keys}
    if kind != "burst":
        tree.setdefault("rate_per_s", 4.0)
    if kind == "gamma":
        tree.setdefault("cv", 2.0)
    return TypeAdapter(Traffic).validate_python(tree)


def gaps_of(traffic, seed=0):
    return np.diff([request.arrival_ps for request in requests_of(traffic, seed)])


def test_constant_gaps_do_not_drift():
    requests = requests_of(traffic_of("constant", rate_per_s=3.0), seed=0)
    exact = [(2 * index * 10**12 + 3) // 6 for index in range(1000)]  # i / 3 s, to the nearest ps
    assert [request.arrival_ps for request in requests] == exact
    assert requests[999].arrival_ps == 333 * 10**12


def test_a_rate_is_the_decimal_number_that_was_written():
    requests = requests_of(traffic_of("constant", requests=8, rate_per_s=0.7), seed=0)
    assert requests[7].arrival_ps == 10 * 10**12


def test_a_burst_arrives_at_0():
    assert {r.arrival_ps for r in requests_of(traffic_of("burst"), seed=0)} == {0}


def test_gaps_of_poisson_are_exponential():
    gaps_s = np.sort(gaps_of(traffic_of("poisson", COUNT + 1))) / 1e12
    assert gaps_s.mean() == pytest.approx(0.25, abs=4 * 0.25 / math.sqrt(COUNT))
    law = 1 - np.exp(-4 * gaps_s)
    distance = np.abs(law - np.arange(1, COUNT + 1) / COUNT).max()
    assert distance < 1.95 / math.sqrt(COUNT)  # Kolmogorov and Smirnov, 0.1 %


@pytest.mark.parametrize("cv", [0.25, 1.0, 2.0, 4.0])
def test_gaps_of_gamma_have_the_mean_and_the_coefficient_of_variation(cv):
    gaps_s = gaps_of(traffic_of("gamma", COUNT + 1, cv=cv)) / 1e12
    assert gaps_s.mean() == pytest.approx(0.25, abs=4 * cv * 0.25 / math.sqrt(COUNT))
    # delta method with skewness 2 cv and kurtosis 3 + 6 cv²
    error = cv * math.sqrt((1 + cv**2) / (2 * COUNT))
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, abs=4 * error)


def test_twice_the_rate_halves_every_gap():
    slow = gaps_of(traffic_of(rate_per_s=4.0))
    fast = gaps_of(traffic_of(rate_per_s=8.0))
    assert np.abs(slow - 2 * fast).max() <= 1  # ps, of the rounding


def lengths_of(law, count=COUNT):
    return draw_lengths(TypeAdapter(Lengths).validate_python(law), np.random.default_rng(0), count)


def test_fixed_lengths():
    assert set(lengths_of(FIXED, 10)) == {7}


def test_uniform_lengths_have_all_values_alike():
    values, counts = np.unique(
        lengths_of({"kind": "uniform", "min": 3, "max": 12}), return_counts=True
    )
    assert values.tolist() == list(range(3, 13))
    error = math.sqrt(COUNT * 0.1 * 0.9)
    assert np.abs(counts - COUNT / 10).max() < 4 * error


def test_logarithms_of_lognormal_lengths_are_normal():
    law = {"kind": "lognormal", "median": 5000, "sigma": 0.5, "max": 10_000_000}
    logs = np.log(lengths_of(law))
    assert logs.mean() == pytest.approx(math.log(5000), abs=4 * 0.5 / math.sqrt(COUNT))
    assert logs.std() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2 * COUNT))


def test_lognormal_lengths_outside_the_bounds_become_the_bounds():
    law = {"kind": "lognormal", "median": 100, "sigma": 1.0, "min": 100, "max": 200}
    lengths = lengths_of(law)
    assert (lengths.min(), lengths.max()) == (100, 200)
    error = math.sqrt(COUNT / 4)
    assert (lengths == 100).sum() > COUNT / 2 - 4 * error  # those below the median, and 100 itself


def test_widest_lognormal_lengths_stay_within_the_bounds():
    lengths = lengths_of({"kind": "lognormal", "median": 1, "sigma": 10.0, "max": 50})
    assert (lengths.min(), lengths.max()) == (1, 50)


def test_lengths_of_a_table_have_its_weights():
    law = {"kind": "table", "tokens": [10, 20, 30, 40], "weights": [1, 3, 4, 0]}
    lengths = lengths_of(law)
    assert set(lengths) == {10, 20, 30}
    for tokens, share in ((10, 1 / 8), (20, 3 / 8), (30, 4 / 8)):
        error = math.sqrt(share * (1 - share) / COUNT)
        assert (lengths == tokens).mean() == pytest.approx(share, abs=4 * error)


def test_a_table_without_weights_has_all_alike():
    lengths = lengths_of({"kind": "table", "tokens": [5, 6]})
    assert (lengths == 5).mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(COUNT))


def test_a_fraction_shares_prefixes_of_groups_dealt_alike():
    prefix = {"groups": 4, "tokens": 100, "fraction": 0.6}
    requests = requests_of(traffic_of("burst", COUNT, prefix=prefix), seed=0)
    sharing = [request for request in requests if request.prefix]
    error = math.sqrt(0.6 * 0.4 / COUNT)
    assert len(sharing) / COUNT == pytest.approx(0.6, abs=4 * error)
    for group in range(4):
        share = sum(request.prefix == (group,) for request in requests) / COUNT
        assert share == pytest.approx(0.15, abs=4 * math.sqrt(0.15 * 0.85 / COUNT))
    assert {request.prefix_block_tokens for request in sharing} == {100}
    assert {r.prefix_block_tokens for r in requests if not r.prefix} == {0}


@pytest.mark.parametrize(("fraction", "sharing"), [(0.0, 0), (1.0, 1000)])
def test_none_or_all_share(fraction, sharing):
    requests = requests_of(traffic_of(prefix={"tokens": 5, "fraction": fraction}), seed=0)
    assert sum(request.prefix == (0,) for request in requests) == sharing


def test_priorities_are_dealt_in_turn():
    requests = requests_of(traffic_of(requests=7, priorities=3), seed=0)
    assert [request.priority for request in requests] == [0, 1, 2, 0, 1, 2, 0]


def drawn(traffic, seed=0):
    return {
        "arrivals": [request.arrival_ps for request in requests_of(traffic, seed)],
        "prompts": [request.prompt_tokens for request in requests_of(traffic, seed)],
        "outputs": [request.output_tokens for request in requests_of(traffic, seed)],
        "prefixes": [request.prefix for request in requests_of(traffic, seed)],
    }


BASE = {
    "prompt": {"kind": "uniform", "min": 1, "max": 1000},
    "output": {"kind": "uniform", "min": 1, "max": 1000},
    "prefix": {"groups": 10, "tokens": 20, "fraction": 0.5},
}


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ("arrivals", {"kind": "gamma"}),
        ("prompts", {"prompt": {"kind": "lognormal", "median": 100, "sigma": 1.0}}),
        ("outputs", {"output": {"kind": "table", "tokens": [1, 2]}}),
        ("prefixes", {"prefix": {"groups": 3, "tokens": 20}}),
    ],
)
def test_another_law_leaves_the_other_draws_as_they_are(changed, keys):
    before, after = drawn(traffic_of(**BASE)), drawn(traffic_of(**{**BASE, **keys}))
    assert {name for name in before if before[name] != after[name]} == {changed}


def test_prompts_and_outputs_of_one_law_are_drawn_apart():
    found = drawn(traffic_of(**BASE))
    assert abs(np.corrcoef(found["prompts"], found["outputs"])[0, 1]) < 4 / math.sqrt(1000)


def test_the_same_seed_gives_the_same_and_another_seed_others():
    traffic = traffic_of(**BASE)
    assert drawn(traffic, 5) == drawn(traffic, 5)
    assert all(drawn(traffic, 5)[name] != drawn(traffic, 6)[name] for name in drawn(traffic))


@pytest.mark.parametrize("kind", ARRIVALS)
def test_more_requests_only_append(kind):
    few, many = (drawn(traffic_of(kind, count, **BASE)) for count in (100, 1000))
    assert {name: values[:100] for name, values in many.items()} == few


def test_arrivals_beyond_64_bit_picoseconds_are_refused():
    text = (
        r"traffic: the last request arrives 1e\+10 s after the first, of at most 4,611,686 s; "
        "raise rate_per_s or lower requests"
    )
    with pytest.raises(SpecError, match=f"^{text}$"):
        requests_of(traffic_of("poisson", 11, rate_per_s=1e-9), seed=0)


def test_a_rate_next_to_0_is_refused_and_a_single_request_has_none():
    smallest = traffic_of("gamma", 2, rate_per_s=5e-324)
    with pytest.raises(SpecError, match="the last request arrives"):
        requests_of(smallest, seed=0)
    assert requests_of(traffic_of("gamma", 1, rate_per_s=5e-324), 0)[0].arrival_ps == 0


LENGTHS = st.one_of(
    st.builds(lambda tokens: {"kind": "fixed", "tokens": tokens}, st.integers(1, 10_000_000)),
    st.builds(
        lambda a, b: {"kind": "uniform", "min": min(a, b), "max": max(a, b)},
        st.integers(1, 10_000_000),
        st.integers(1, 10_000_000),
    ),
    st.builds(
        lambda median, sigma: {"kind": "lognormal", "median": median, "sigma": sigma},
        st.integers(1, 131_072),
        st.floats(0, 10),
    ),
    st.builds(
        lambda rows: {
            "kind": "table",
            "tokens": [tokens for tokens, _ in rows],
            "weights": [weight for _, weight in rows],
        },
        st.lists(
            st.tuples(st.integers(1, 10_000_000), st.floats(1e-9, 1e9)), min_size=1, max_size=9
        ),
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(ARRIVALS)),
    requests=st.integers(1, 60),
    rate_per_s=st.floats(1e-3, 1e9),
    cv=st.floats(0.001, 100),
    prompt=LENGTHS,
    output=LENGTHS,
    seed=st.integers(0, 2**63 - 1),
)
def test_any_traffic_is_sorted_and_within_its_bounds(
    kind, requests, rate_per_s, cv, prompt, output, seed
):
    keys = {} if kind == "burst" else {"rate_per_s": rate_per_s}
    keys |= {"cv": cv} if kind == "gamma" else {}
    traffic = traffic_of(kind, requests, prompt=prompt, output=output, **keys)
    assert isinstance(traffic, SyntheticTraffic)
    found = requests_of(traffic, seed)
    arrivals = [request.arrival_ps for request in found]
    assert arrivals[0] == 0 and arrivals == sorted(arrivals) and arrivals[-1] <= MAX_ARRIVAL_PS
    assert [request.request_id for request in found] == list(range(requests))
    for request in found:
        for value in (request.arrival_ps, request.prompt_tokens, request.output_tokens):
            assert type(value) is int
        for law, tokens in ((prompt, request.prompt_tokens), (output, request.output_tokens)):
            choices = law.get("tokens", ())
            if law["kind"] in ("fixed", "table"):
                assert tokens in (choices if isinstance(choices, list) else [choices])
            assert law.get("min", 1) <= tokens <= law.get("max", 10_000_000)
