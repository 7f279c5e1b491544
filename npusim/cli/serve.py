"""`npusim serve`: a scenario with traffic → requests served, a summary, the files asked for."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from npusim.cli.options import AsJson, Chip, ModelFile, Overrides, Timeline
from npusim.errors import SpecError, pick

if TYPE_CHECKING:
    from npusim.serve_trace import ServeRun
    from npusim.spec.load import Setup

Served = tuple["Setup", "ServeRun", dict[str, Any] | None]  # setup, run, rates that were tried
ITERATIONS = {"live": "live", "memo": "memo", "table": "table", "analytic": "analytic"}
GOALS = {"ttft": "ttft_ms", "tbt": "tbt_ms"}
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
DEFAULT_SCENARIO = "serve"
INTERRUPTED = 130


def serve(
    scenario: Annotated[
        str | None, typer.Argument(help="Scenario with traffic: a file or bundled name.")
    ] = None,
    hw: Chip = None,
    model: ModelFile = None,
    set_: Overrides = None,
    iteration: Annotated[
        str | None, typer.Option(help="memo (default), live, analytic or table.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Scheduler; see `npusim list scheduler`.")
    ] = None,
    slo: Annotated[
        str | None, typer.Option(metavar="ttft=…,tbt=…", help="Goals: ttft=500ms,tbt=50ms.")
    ] = None,
    find_rate: Annotated[
        bool, typer.Option("--find-rate", help="Bisect for the highest rate that meets --slo.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write result.json and CSV tables there.")
    ] = None,
    trace: Timeline = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write plots: one .html page.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Serve a stream of requests; without an argument the bundled one.

    On Ctrl-C what was served so far is written and marked partial.
    """
    _check_outputs(out, trace, plots)
    given = [*_goals(slo), *(set_ or []), *_overrides(iteration, scheduler)]
    setup = _setup(scenario, given, hw, model)
    start_s = time.process_time()
    setup, run, tried = (_at_highest_rate if find_rate else _serve)(setup)
    result, written = _write(setup, run, tried, out, trace, plots)
    _print(result, run, written, time.process_time() - start_s, json)
    if run.partial:
        raise typer.Exit(INTERRUPTED)


def _setup(scenario: str | None, given: list[str], hw: str | None, model: str | None) -> "Setup":
    """The resolved scenario. Raises SpecError for one without traffic."""
    from npusim.cli.run import check_kind
    from npusim.spec.load import load_scenario, resolve

    check_kind(scenario)
    name = DEFAULT_SCENARIO if scenario is None else scenario
    setup = resolve(load_scenario(name, given, hw=hw, model=model))
    if setup.scenario.traffic is None:
        raise SpecError("has a workload and no traffic; npusim run simulates it", name)
    return setup


def _overrides(iteration: str | None, scheduler: str | None) -> list[str]:
    found = []
    if iteration is not None:
        kind = pick(ITERATIONS, iteration, "iteration", "--iteration")
        found.append(f"serving.iteration={kind}")
    if scheduler is not None:
        from npusim.serving.schedulers import SCHEDULERS

        pick(SCHEDULERS, scheduler, "scheduler", "--scheduler")
        found.append(f"serving.scheduler={scheduler}")
    return found


def _goals(text: str | None) -> list[str]:
    """`ttft=500ms,tbt=50ms` as overrides; a number without a unit is ms."""
    found: dict[str, str] = {}
    for item in [] if text is None else text.split(","):
        name, equals, value = item.strip().partition("=")
        if not equals:
            raise SpecError(f"must be ttft=TIME,tbt=TIME, not {text!r}", "--slo")
        key = pick(GOALS, name.strip(), "goal", "--slo")
        if key in found:
            raise SpecError(f"must give {name.strip()} once, not {text!r}", "--slo")
        found[key] = f"serving.slo.{key}={_milliseconds(value.strip())}"
    return list(found.values())


def _milliseconds(text: str) -> float:
    unit = next((u for u in UNITS_MS if text.endswith(u)), "")
    try:
        value = float(text.removesuffix(unit))
    except ValueError:
        raise SpecError(f"must be a time such as 500ms or 2s, not {text!r}", "--slo") from None
    if not 0 < value < float("inf"):
        raise SpecError(f"must be above 0, not {text!r}", "--slo")
    return value * UNITS_MS.get(unit, 1.0)


def _check_outputs(out: Path | None, trace: Path | None, plots: Path | None) -> None:
    from npusim.cli.run import check_outputs, check_writable

    check_outputs(out, trace)
    if plots is None:
        return
    from npusim.report.serve.plots import check_plots

    check_plots()
    if plots.suffix != ".html":
        raise SpecError(f"must end in .html, not '{plots}'", "--plots")
    if plots.is_dir():
        raise SpecError(f"must be a file, '{plots}' is a folder", "--plots")
    check_writable(plots.parent, "--plots")


def _serve(setup: "Setup") -> Served:
    """The run, with a word on stderr about what takes long."""
    from npusim.cli.progress import Progress
    from npusim.serving.serve import serve as serve_requests

    with Progress(sys.stderr, _engine(setup)) as progress:
        return setup, serve_requests(setup, progress=progress.served), None


def _at_highest_rate(setup: "Setup") -> Served:
    """The setup and run at the highest rate that meets the goals, and what was tried."""
    from npusim.cli.serve_rate import serve_at_highest_rate

    return serve_at_highest_rate(setup, _engine(setup))


def _engine(setup: "Setup") -> str:
    """The engine whose kernels the iterations need: none where they are read from a table."""
    table = setup.scenario.serving.iteration == "table"
    return "" if table else setup.scenario.engine


def _write(
    setup: "Setup",
    run: "ServeRun",
    tried: dict[str, Any] | None,
    out: Path | None,
    trace: Path | None,
    plots: Path | None,
) -> tuple[dict[str, Any], list[Path]]:
    """The result, and the paths of the files that were asked for."""
    from npusim.report.serve.metrics import serve_metrics
    from npusim.report.serve.result import serve_result

    slo = setup.scenario.serving.slo
    result = serve_result(setup, run, serve_metrics(run, slo)) | {"find_rate": tried}
    written = []
    if out is not None:
        from npusim.report.result import write_result
        from npusim.report.serve.files import write_csvs

        written += [write_result(result, out), *write_csvs(run, out)]
    if trace is not None:
        from npusim.report.serve.timeline import write_serve_timeline

        written.append(write_serve_timeline(run, trace))
    if plots is not None:
        from npusim.report.serve.plots import write_plots

        written.append(write_plots(run, plots, slo, setup.scenario.model or ""))
    return result, written


def _print(
    result: dict[str, Any], run: "ServeRun", written: list[Path], cpu_s: float, as_json: bool
) -> None:
    from npusim.cli.render import console, print_summary
    from npusim.cli.run import print_json
    from npusim.cli.serve_rate import rate_text
    from npusim.report.serve.summary import summarize_serve

    if as_json:
        print_json(result)
        return
    screen = console()
    print_summary(screen, summarize_serve(result))
    if result["find_rate"]:
        screen.print(f"\n{rate_text(result['find_rate'])}", style="bold", markup=False)
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in run.cpu_s.items())
    screen.print(f"\nCPU {cpu_s:.2f} s ({phases})", style="dim", markup=False)
    for path in written:
        screen.print(f"wrote {path}", markup=False)
