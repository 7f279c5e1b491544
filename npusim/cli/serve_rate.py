"""`npusim serve --find-rate`: goals → the run at the highest arrival rate that meets them."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from npusim.errors import CapacityError, SpecError

KEEPS_UP = 0.9  # served of offered, below which a run tells of a burst

if TYPE_CHECKING:
    from npusim.serve_trace import ServeRun
    from npusim.serving.find_rate import Found
    from npusim.spec.load import Setup


def serve_at_highest_rate(
    setup: "Setup", engine: str
) -> tuple["Setup", "ServeRun", dict[str, Any]]:
    """The setup at that rate, its run (marked partial when Ctrl-C ended the search), and what was
    tried.

    Raises SpecError without goals or rate, CapacityError when no rate meets the goals.
    """
    from npusim.cli.progress import Progress
    from npusim.report.serve.metrics import serve_metrics
    from npusim.serving.find_rate import find_rate
    from npusim.serving.iteration.times import Timings
    from npusim.serving.serve import serve as serve_requests

    slo = setup.scenario.serving.slo
    if slo.ttft_ms is None and slo.tbt_ms is None:
        raise SpecError("needs goals: --slo ttft=500ms,tbt=50ms", "--find-rate")
    timings = Timings(setup)
    with Progress(sys.stderr, engine) as progress:
        found = find_rate(
            setup,
            lambda one: serve_requests(one, progress=progress.served, timings=timings),
            lambda run: serve_metrics(run, slo)["goodput"]["fraction"] >= slo.attain_fraction,
        )
    if found.run is None:
        raise CapacityError(
            f"--find-rate: no rate meets the goals, tried down to {found.tried[-1][0]:.3g}/s; "
            f"loosen them, or lower serving.slo.attain_fraction {slo.attain_fraction}"
        )
    run = found.run
    if found.interrupted:
        run = replace(run, partial="interrupted while rates were tried")
    return found.setup, run, _facts(found, serve_metrics(run, slo)["requests_s"])


def _facts(found: "Found", served_per_s: float | None) -> dict[str, Any]:
    """`served_per_s`: requests by the makespan of the run at that rate."""
    return {
        "rate_per_s": found.rate_per_s,
        "served_per_s": served_per_s,
        "not_met_per_s": found.above_per_s,
        "tried": [{"rate_per_s": rate, "met": met} for rate, met in found.tried],
    }


def rate_text(facts: dict[str, Any]) -> str:
    """One line on what the search found."""
    rate, above = facts["rate_per_s"], facts["not_met_per_s"]
    tried = f"({len(facts['tried'])} rates tried; the tables above are of this rate)"
    if rate is None:
        return "no rate was found that meets the goals; the tables above are of the last one tried"
    served = facts["served_per_s"] or 0.0
    if served < KEEPS_UP * rate:
        tried = (
            f"{tried}; but only {served:.4g}/s were served: so few requests are a burst, raise "
            "traffic.requests to see what can be kept up"
        )
    bound = f"; at {above:.4g}/s it does not" if above else "; no rate was too high"
    return f"highest rate that meets the goals: {rate:.4g} requests/s{bound} {tried}"
