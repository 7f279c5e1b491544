"""The search for the highest rate, against servers that are a formula."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from npusim.cli.serve_rate import rate_text
from npusim.errors import SpecError
from npusim.serving.find_rate import MOST_RUNS, at_rate, find_rate
from npusim.spec.load import Setup
from npusim.spec.scenario import Scenario

LENGTHS = {"prompt": {"kind": "fixed", "tokens": 8}, "output": {"kind": "fixed", "tokens": 2}}


def setup(rate_per_s=8.0, **traffic):
    given = {"kind": "poisson", "rate_per_s": rate_per_s, "requests": 4} | LENGTHS | traffic
    return Setup(Scenario.model_validate({"model": "any", "traffic": given}), None, None)


@dataclass
class FakeRun:
    """Four requests; arrivals overlap their service unless `alone` or `at_once`."""

    rate: float
    partial: str = ""
    alone: bool = False
    at_once: bool = False

    @property
    def requests(self):
        gap = 100 if self.alone else 0 if self.at_once else 5
        arrival = np.arange(4) * gap
        return {
            "arrival_ps": arrival,
            "first_token_ps": arrival + 6,
            "finish_ps": arrival + 20,
        }


def server(**facts):
    """Serves at any rate; what it was asked is in `.rates`."""

    def serve(one):
        serve.rates.append(one.scenario.traffic.rate_per_s)
        return FakeRun(serve.rates[-1], **facts)

    serve.rates = []
    return serve


def up_to(limit):
    return lambda run: run.rate <= limit


def test_a_rate_that_meets_the_goal_is_doubled_then_bisected():
    serve = server()
    found = find_rate(setup(8.0), serve, up_to(24.5), tolerance=0.02)
    assert serve.rates == [8, 16, 32, 24, 28, 26, 25, 24.5, 24.75]
    assert (found.rate_per_s, found.above_per_s) == (24.5, 24.75)
    assert found.tried == tuple((rate, rate <= 24.5) for rate in serve.rates)
    assert found.run.rate == 24.5 and not found.interrupted


def test_a_rate_that_misses_the_goal_is_halved_then_bisected():
    serve = server()
    found = find_rate(setup(8.0), serve, up_to(1.5), tolerance=0.25)
    assert serve.rates == [8, 4, 2, 1, 1.5, 1.75]
    assert (found.rate_per_s, found.above_per_s) == (1.5, 1.75)


@pytest.mark.parametrize("limit", [0.003, 0.7, 8.0, 8.01, 93.7, 70_000.0])
def test_the_rate_found_meets_the_goal_and_the_one_above_does_not(limit):
    found = find_rate(setup(8.0), server(), up_to(limit))
    assert found.rate_per_s <= limit < found.above_per_s <= found.rate_per_s * 1.02
    assert len(found.tried) <= 1 + abs(math.ceil(math.log2(limit / 8))) + 7
    assert found.setup.scenario.traffic.rate_per_s == found.rate_per_s


def test_a_goal_that_is_always_met_ends_when_all_requests_are_there_at_once():
    serve = server(at_once=True)
    found = find_rate(setup(8.0), serve, lambda run: True)
    assert serve.rates == [8] and (found.rate_per_s, found.above_per_s) == (8, None)


def test_a_goal_that_is_never_met_ends_with_one_request_at_a_time():
    serve = server(alone=True)
    found = find_rate(setup(8.0), serve, lambda run: False)
    assert serve.rates == [8] and (found.rate_per_s, found.run) == (None, None)


@pytest.mark.parametrize("met", [True, False])
def test_a_search_ends_even_when_no_edge_comes(met):
    serve = server()
    find_rate(setup(), serve, lambda run: met)
    assert len(serve.rates) == MOST_RUNS // 2


def test_a_search_without_tolerance_ends():
    serve = server()
    find_rate(setup(), serve, up_to(9.3), tolerance=0.0)
    assert len(serve.rates) == MOST_RUNS


def interrupted_at(number, partial):
    """A server that is interrupted in its run `number`: with a partial run, or with none."""
    serve = server()

    def interrupted(one):
        run = serve(one)
        if len(serve.rates) < number:
            return run
        if not partial:
            raise KeyboardInterrupt
        return FakeRun(run.rate, partial="interrupted")

    return interrupted


@pytest.mark.parametrize("partial", [True, False])
def test_an_interrupted_search_keeps_the_best_run_so_far(partial):
    found = find_rate(setup(8.0), interrupted_at(4, partial), up_to(20))
    assert found.interrupted and found.rate_per_s == found.run.rate == 16
    assert [rate for rate, _ in found.tried] == [8, 16, 32]


def test_a_search_interrupted_in_its_first_run_gives_that_one_back():
    found = find_rate(setup(8.0), interrupted_at(1, True), up_to(20))
    assert found.interrupted and found.rate_per_s is None and found.run.partial
    assert found.setup.scenario.traffic.rate_per_s == 8


def test_a_search_interrupted_before_any_run_is_just_interrupted():
    with pytest.raises(KeyboardInterrupt):
        find_rate(setup(8.0), interrupted_at(1, False), up_to(20))


def test_a_trace_is_scaled_by_rate_in_place_of_its_time_scale():
    trace = {"traffic": {"kind": "csv", "path": "any.csv", "time_scale": 4.0}, "model": "any"}
    given = Setup(Scenario.model_validate(trace), None, None)
    serve = server()
    find_rate(given, serve, up_to(1.0), tolerance=1.0)
    assert serve.rates == [1, 2]
    assert at_rate(given, 3.0).scenario.traffic.time_scale == 1.0


def test_burst_has_no_rate():
    with pytest.raises(SpecError, match=r"traffic.kind: must have a rate, burst has none"):
        find_rate(setup(None, kind="burst"), server(), up_to(1))


@pytest.mark.parametrize(("served", "warns"), [(9.1, False), (8.9, True)])
def test_a_burst_that_looks_like_a_high_rate_is_told(served, warns):
    """At 10/s offered: with less than 9/s served the requests were too few to queue up."""
    facts = {"rate_per_s": 10.0, "served_per_s": served, "not_met_per_s": 11.0, "tried": [1, 2]}
    text = rate_text(facts)
    assert text.startswith("highest rate that meets the goals: 10 requests/s; at 11/s it does not")
    assert ("raise traffic.requests" in text) == warns
