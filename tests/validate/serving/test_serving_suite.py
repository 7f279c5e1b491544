"""The replay of a real server: its published figures, what it tells by itself, our errors."""

import numpy as np
import pytest

from npusim.spec.files import find
from npusim.validate.compare import errors_of
from npusim.validate.data import read_rows
from npusim.validate.serving.gaps import NUM_BLOCKS, quiet_from_s, shapes, stretches
from npusim.validate.serving.replay import TRAFFIC, Served, our_run, rank_correlation, real_run
from npusim.validate.serving.suite import replayed


@pytest.fixture(scope="module")
def real() -> Served:
    return real_run()


@pytest.fixture(scope="module")
def families():
    return {family.name: family for family in replayed(progress=lambda text: None)}


def test_the_run_has_its_published_figures(real):
    """The summary that the run's authors publish; their TTFT and latency count from vllm_queued."""
    queued_s = np.array(
        [float(r["vllm_queued_s"]) for r in read_rows(str(find("traffic", TRAFFIC)))]
    )
    ttft_ms = 1e3 * (real.first_token_s - queued_s)
    assert (len(queued_s), real.prompt_tokens.sum(), real.output_tokens.sum()) == (
        300,
        257239,
        195753,
    )
    assert round(ttft_ms.mean(), 1) == 65456.6
    assert np.median(ttft_ms) == pytest.approx(60110.9, abs=0.1)
    assert round(1e3 * (real.last_token_s - queued_s).mean(), 1) == 86578.3
    assert round(1e3 * real.tpot_s.mean(), 2) == 32.45
    assert round(real.makespan_s, 2) == 183.57
    assert 1 < real.ttft_s.mean() / ttft_ms.mean() * 1e3 < 1.0005


def test_means_and_ranks_are_within_the_goals(families):
    for name in ("replay, means", "replay, rank correlation", "decode iterations"):
        assert errors_of(families[name].comparisons).within(families[name].goal), name
    means = {c.name: c.error_fraction for c in families["replay, means"].comparisons}
    assert abs(means["mean TTFT"]) < 0.02 and abs(means["mean TPOT"]) < 0.01


def test_every_request_is_compared(families):
    for name in ("TTFT", "latency", "TPOT"):
        rows = families[f"replay, {name} of each request"].comparisons
        assert len(rows) == 300
        mean = families["replay, means"].comparisons
        ours = next(c.ours for c in mean if c.name == f"mean {name}")
        assert sum(c.ours for c in rows) / 300 == pytest.approx(ours)


def test_no_time_of_the_host_is_added_and_more_of_it_makes_all_later():
    ours, slower = our_run(), our_run(("serving.host_us=1000.0",))
    assert slower.makespan_s > ours.makespan_s + 5  # 6,169 iterations of 1 ms
    assert slower.ttft_s.mean() > ours.ttft_s.mean()


def test_rank_correlation_by_hand():
    assert rank_correlation(np.array([1.0, 5.0, 9.0]), np.array([2.0, 3.0, 70.0])) == 1
    assert rank_correlation(np.array([1.0, 5.0, 9.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(
        -1
    )
    # ranks 1, 2, 3, 4 and 1, 3, 2, 4: 1 - 6 (0 + 1 + 1 + 0) / (4 (16 - 1))
    assert rank_correlation(np.arange(4.0), np.array([0.0, 2.0, 1.0, 3.0])) == pytest.approx(0.8)
    # ranks 1.5, 1.5, 3 and 1, 2, 3: covariance 1.5 of variances 1.5 and 2
    tied = rank_correlation(np.array([4.0, 4.0, 6.0]), np.arange(3.0))
    assert tied == pytest.approx(1.5 / np.sqrt(1.5 * 2))


def steady(late_s: float = 0.0) -> Served:
    """Five requests of one first token at 1 s, a token every 10 ms; the fourth's end is late."""
    outputs = np.array([11, 21, 41, 61, 101])
    last_s = 1 + 0.01 * (outputs - 1) + [0, 0, 0, late_s, 0]
    none = np.zeros(5)
    return Served(np.full(5, 100), outputs, none, none + 1, last_s)


def test_stretches_of_a_steady_run_by_hand():
    found = {(one.first, one.last): one for one in stretches(steady())}
    assert len(found) == 10
    assert found[0, 4].num == 90 and found[0, 4].gap_s == pytest.approx(0.01)
    (first, one), (second, two) = shapes(steady(), found[1, 3])
    assert (first, second) == pytest.approx((0.5, 0.5))
    assert (one.decodes, two.decodes, one.prefills) == (3, 2, [])
    # of 40 tokens the third put out 20, 10 iterations before its end, and so on for the others
    assert one.decode_context_tokens == 3 * (100 + 30)
    assert two.decode_context_tokens == 2 * (100 + 50)


def test_a_pair_with_a_preempted_request_is_left_out():
    found = {(one.first, one.last) for one in stretches(steady(late_s=0.1))}
    assert {(0, 1), (0, 2), (1, 2), (0, 4), (1, 4), (2, 4)} <= found
    assert not {(0, 3), (1, 3), (2, 3)} & found


def test_a_run_is_quiet_once_its_kv_fits(real):
    assert quiet_from_s(steady()) == pytest.approx(1.1)
    crowded = steady()
    full = Served(np.full(5, NUM_BLOCKS * 4), *list(vars(crowded).values())[1:])
    assert quiet_from_s(full) == pytest.approx(1.2)  # four of a quarter each do not fit, three do
    assert real.first_token_s.max() < quiet_from_s(real) < 168
