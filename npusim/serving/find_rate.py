"""A scenario and a goal → the highest arrival rate at which the goal is met, by bisection."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from npusim.errors import SpecError
from npusim.serve_trace import ServeRun
from npusim.spec.load import Setup

MOST_RUNS = 40
Meets = Callable[[ServeRun], bool]
Serve = Callable[[Setup], ServeRun]


@dataclass(frozen=True)
class Found:
    """`rate_per_s` meets the goal with `run`, `above_per_s` (None: never tried one that does not)
    does not; `tried`: every rate, in order, and whether it met the goal."""

    rate_per_s: float | None
    above_per_s: float | None
    run: ServeRun | None
    tried: tuple[tuple[float, bool], ...]


def find_rate(setup: Setup, serve: Serve, meets: Meets, tolerance: float = 0.02) -> Found:
    """Doubles or halves the rate from the traffic's own (1/s where it has none) until one meets the
    goal and one does not, then bisects until they are within `tolerance` of each other.

    Assumes that a goal that is met at a rate is met at all lower ones. `run` is None when no rate
    meets it. Raises SpecError for traffic that has no rate.
    """
    search = _Search(setup, serve, meets)
    rate = _own_rate(setup)
    low, high = (rate, None) if search.met(rate) else (None, rate)
    while high is None and len(search.tried) < MOST_RUNS // 2:
        rate *= 2
        low, high = (rate, None) if search.met(rate) else (low, rate)
    while low is None and len(search.tried) < MOST_RUNS // 2:
        rate /= 2
        low, high = (rate, high) if search.met(rate) else (None, rate)
    while low and high and high > low * (1 + tolerance) and len(search.tried) < MOST_RUNS:
        middle = (low + high) / 2
        low, high = (middle, high) if search.met(middle) else (low, middle)
    return Found(low, high, search.best, tuple(search.tried))


class _Search:
    """Runs at rates; keeps the run of the highest one that met the goal."""

    def __init__(self, setup: Setup, serve: Serve, meets: Meets) -> None:
        self.setup = setup
        self.serve = serve
        self.meets = meets
        self.tried: list[tuple[float, bool]] = []
        self.best: ServeRun | None = None
        self._best_rate = 0.0

    def met(self, rate_per_s: float) -> bool:
        run = self.serve(at_rate(self.setup, rate_per_s))
        if run.partial:
            raise KeyboardInterrupt
        met = self.meets(run)
        self.tried.append((rate_per_s, met))
        if met and rate_per_s > self._best_rate:
            self.best, self._best_rate = run, rate_per_s
        return met


def at_rate(setup: Setup, rate_per_s: float) -> Setup:
    """The same requests, arriving at another mean rate."""
    traffic = setup.scenario.traffic
    assert traffic is not None
    update = {"rate_per_s": rate_per_s}
    if hasattr(traffic, "time_scale"):
        update["time_scale"] = 1.0
    changed = traffic.model_copy(update=update)
    return replace(setup, scenario=setup.scenario.model_copy(update={"traffic": changed}))


def _own_rate(setup: Setup) -> float:
    traffic = setup.scenario.traffic
    assert traffic is not None
    if traffic.kind == "burst":
        raise SpecError("must have a rate, burst has none; use poisson", "traffic.kind")
    return traffic.rate_per_s or 1.0
