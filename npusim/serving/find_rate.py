"""A scenario and a goal → the highest arrival rate at which the goal is met, by bisection."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from npusim.errors import SpecError
from npusim.serve_trace import NONE, ServeRun
from npusim.spec.load import Setup
from npusim.spec.traffic import TraceTraffic

MOST_RUNS = 40
Meets = Callable[[ServeRun], bool]
Serve = Callable[[Setup], ServeRun]


@dataclass(frozen=True)
class Found:
    """`rate_per_s` meets the goal with `run` of `setup`, `above_per_s` (None: never tried one that
    does not) does not; `tried`: every rate, in order, and whether it met the goal. `interrupted`:
    Ctrl-C ended the search; without a rate that meets the goal `run` is then that of the last one.
    """

    rate_per_s: float | None
    above_per_s: float | None
    run: ServeRun | None
    setup: Setup
    tried: tuple[tuple[float, bool], ...]
    interrupted: bool = False


def find_rate(setup: Setup, serve: Serve, meets: Meets, tolerance: float = 0.02) -> Found:
    """Doubles or halves the rate from the traffic's own (1/s where it has none) until one meets the
    goal and one does not, then bisects until they are within `tolerance` of each other.

    Assumes that a goal that is met at a rate is met at all lower ones, that it is never met when it
    is not with one request at a time, and at every rate when it is with all requests there before
    the first token. `run` is None when no rate meets it. Raises SpecError for traffic that has no
    rate, KeyboardInterrupt when there is no run yet.
    """
    search = _Search(setup, serve, meets)
    try:
        search.bracket(_own_rate(setup))
        search.bisect(tolerance)
    except KeyboardInterrupt:
        return search.found(interrupted=True)
    return search.found()


class _Search:
    """Runs at rates: `low`, the highest that met the goal, with its run; `high`, the lowest that
    did not; `edge` when no run beyond the last can tell more."""

    def __init__(self, setup: Setup, serve: Serve, meets: Meets) -> None:
        self.setup = setup
        self.serve = serve
        self.meets = meets
        self.tried: list[tuple[float, bool]] = []
        self.low: float | None = None
        self.high: float | None = None
        self.edge = False
        self.best: ServeRun | None = None
        self.last: tuple[float, ServeRun] | None = None

    def bracket(self, rate_per_s: float) -> None:
        """Tries rates until both bounds are known, or one cannot be."""
        self.run_at(rate_per_s)
        factor = 2.0 if self.high is None else 0.5
        while None in (self.low, self.high) and not self.edge and len(self.tried) < MOST_RUNS // 2:
            rate_per_s *= factor
            self.run_at(rate_per_s)

    def bisect(self, tolerance: float) -> None:
        if self.low is None or self.high is None:
            return
        while self.high > self.low * (1 + tolerance) and len(self.tried) < MOST_RUNS:
            self.run_at((self.low + self.high) / 2)

    def run_at(self, rate_per_s: float) -> None:
        run = self.serve(at_rate(self.setup, rate_per_s))
        self.last = rate_per_s, run
        if run.partial:
            raise KeyboardInterrupt
        met = self.meets(run)
        self.tried.append((rate_per_s, met))
        if met:
            self.low, self.best, self.edge = rate_per_s, run, _all_at_once(run)
        else:
            self.high, self.edge = rate_per_s, _one_by_one(run)

    def found(self, interrupted: bool = False) -> Found:
        rate, run = self.low, self.best
        if interrupted and run is None:
            if self.last is None:
                raise KeyboardInterrupt
            rate, run = self.last
        setup = self.setup if rate is None else at_rate(self.setup, rate)
        return Found(self.low, self.high, run, setup, tuple(self.tried), interrupted)


def _one_by_one(run: ServeRun) -> bool:
    """Whether every request was over before the next one came."""
    finish = np.maximum.accumulate(run.requests["finish_ps"])
    return bool((finish[:-1] <= run.requests["arrival_ps"][1:]).all())


def _all_at_once(run: ServeRun) -> bool:
    """Whether all requests were there before the first token came out."""
    first = run.requests["first_token_ps"]
    known = first[first != NONE]
    return not len(known) or bool(run.requests["arrival_ps"].max() < known.min())


def at_rate(setup: Setup, rate_per_s: float) -> Setup:
    """The same requests, arriving at another mean rate."""
    traffic = setup.scenario.traffic
    assert traffic is not None
    update = {"rate_per_s": rate_per_s}
    if isinstance(traffic, TraceTraffic):
        update["time_scale"] = 1.0
    changed = traffic.model_copy(update=update)
    return replace(setup, scenario=setup.scenario.model_copy(update={"traffic": changed}))


def _own_rate(setup: Setup) -> float:
    traffic = setup.scenario.traffic
    assert traffic is not None
    if traffic.kind == "burst":
        raise SpecError("must have a rate, burst has none; use poisson", "traffic.kind")
    return traffic.rate_per_s or 1.0
