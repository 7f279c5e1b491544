"""`npusim run`: scenario and options → a simulation, its summary and the files asked for."""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from npusim.cli.options import AsJson, Chip, ModelFile, Overrides, Timeline
from npusim.errors import SpecError, pick

ENGINES = {"fast": "fast", "simpy": "simpy"}
FIDELITIES = {"transaction": "transaction", "analytic": "analytic", "both": "both"}


def run(
    scenario: Annotated[
        str | None, typer.Argument(help="Scenario: a file or bundled name.")
    ] = None,
    hw: Chip = None,
    model: ModelFile = None,
    set_: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write result.json there.")
    ] = None,
    trace: Timeline = None,
    json: AsJson = False,
    engine: Annotated[str | None, typer.Option(help="fast (default) or simpy.")] = None,
    reuse: Annotated[bool, typer.Option("--reuse", help="Simulate equal layers once.")] = False,
    fidelity: Annotated[
        str | None,
        typer.Option(help="transaction (default), analytic, or both: their error and speed-up."),
    ] = None,
) -> None:
    """Simulate one scenario; without an argument the bundled quickstart.

    A scenario is an LLM iteration or generation, or one micro-operation; `npusim list scenario`
    shows the bundled ones. Any key can be replaced, those of the chip too:
    --set workload.prompt_tokens=128 --set hw.noc.link_bytes_per_cycle=64
    """
    from npusim.spec.load import load_scenario, resolve

    check_outputs(out, trace)
    overrides = [*(set_ or []), *_overrides(engine, reuse, fidelity)]
    _check_levels(fidelity, set_ or [])
    check_kind(scenario)
    setup = resolve(load_scenario(scenario, overrides, hw=hw, model=model))
    start_s = time.process_time()
    done, result = _simulate(setup, record_spans=trace is not None, both=fidelity == "both")
    written = _write(setup, done, result, out, trace)
    if json:
        print_json(result)
    else:
        _print_summary(setup, done, result, written, time.process_time() - start_s)


def _overrides(engine: str | None, reuse: bool, fidelity: str | None) -> list[str]:
    """The options that stand for keys of the scenario."""
    found = []
    if engine is not None:
        found.append(f"engine={pick(ENGINES, engine, 'engine', '--engine')}")
    if reuse:
        found.append("reuse=true")
    if fidelity is not None:
        level = pick(FIDELITIES, fidelity, "fidelity", "--fidelity")
        if level != "both":
            found += [f"fidelity.memory={level}", f"fidelity.noc={level}"]
    return found


def _check_levels(fidelity: str | None, overrides: list[str]) -> None:
    """SpecError for a level of one subsystem beside a level of all; `both` compares with it."""
    for text in overrides:
        key = text.partition("=")[0].strip()
        if fidelity in ("transaction", "analytic") and key.partition(".")[0] == "fidelity":
            raise SpecError(
                f"{fidelity} is for memory and noc, leave out --set {key}", "--fidelity"
            )


def check_kind(scenario: str | None) -> None:
    """SpecError for a chip or a model where a scenario belongs."""
    if scenario is None or not Path(scenario).is_file():
        return
    from npusim.cli.files import is_chip

    if scenario.endswith(".json"):
        raise SpecError("must be a scenario; give a model to --model", scenario)
    if is_chip(Path(scenario)):
        raise SpecError("must be a scenario; give a chip to --hw", scenario)


def check_outputs(out: Path | None, trace: Path | None) -> None:
    """SpecError before any work is done for a place that cannot be written."""
    if out is not None:
        if out.exists() and not out.is_dir():
            raise SpecError(f"must be a folder, '{out}' is a file", "--out")
        check_writable(out, "--out")
    if trace is not None:
        from npusim.report.timeline import check_path

        check_path(trace)
        if trace.is_dir():
            raise SpecError(f"must be a file, '{trace}' is a folder", "--trace")
        check_writable(trace.parent, "--trace")


def check_writable(folder: Path, option: str) -> None:
    """The folder, or the nearest one above it that exists, must be a folder we may write in."""
    existing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path("/"))
    if not existing.is_dir():
        raise SpecError(f"'{existing}' is a file, not a folder", option)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise SpecError(f"cannot write in '{existing}': {error.strerror}", option) from None


def _simulate(setup: Any, record_spans: bool, both: bool) -> tuple[Any, dict]:
    """The run and its result, with a word on stderr about what takes long. `both`: the run with
    every transaction, compared in its result with the analytic one."""
    from npusim.cli.progress import Progress
    from npusim.report.fidelity import compare_levels
    from npusim.report.result import result_dict
    from npusim.simulate import simulate, simulate_both

    with Progress(sys.stderr, setup.scenario.engine) as progress:
        if not both:
            done = simulate(setup, record_spans=record_spans, progress=progress.update)
            return done, result_dict(setup, done)
        _prepare_kernels(setup.scenario.engine)
        done, coarse = simulate_both(setup, record_spans=record_spans, progress=progress.update)
    compared = compare_levels(done, coarse, setup.scenario.fidelity.coarse)
    return done, result_dict(_at_transactions(setup), done) | {"fidelity": compared}


def _prepare_kernels(engine: str) -> None:
    """Compiles or loads the kernels, so that neither run's CPU time has it."""
    from npusim.cli.progress import announce_compilation

    announce_compilation(engine)
    if engine == "fast":
        warm_up()


def _at_transactions(setup: Any) -> Any:
    """The setup of the first of both runs."""
    from npusim.spec.scenario import Fidelity

    return replace(setup, scenario=setup.scenario.model_copy(update={"fidelity": Fidelity()}))


def _write(setup: Any, done: Any, result: dict, out: Path | None, trace: Path | None) -> list[Path]:
    """Writes the files asked for; returns their paths."""
    written = []
    if out is not None:
        from npusim.report.result import write_result

        written.append(write_result(result, out))
    if trace is not None:
        from npusim.report.timeline import write_timeline

        written.append(write_timeline(setup, done, trace))
    return written


def print_json(result: dict) -> None:
    """The same bytes that --out writes."""
    from npusim.report.result import write_result

    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(write_result(result, folder).read_text())


def _print_summary(setup: Any, done: Any, result: dict, written: list[Path], cpu_s: float) -> None:
    from npusim.cli.render import console, print_summary, print_table
    from npusim.report.fidelity import NOTE, fidelity_tables
    from npusim.report.summary import summarize

    screen = console()
    print_summary(screen, summarize(setup, done, result))
    if result["fidelity"]:
        for table in fidelity_tables(result["fidelity"]):
            print_table(screen, table)
        screen.print(f"\n{NOTE}", markup=False)
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in done.cpu_s.items())
    screen.print(f"\nCPU {cpu_s:.2f} s ({phases})", style="dim", markup=False)
    for path in written:
        screen.print(f"wrote {path}", markup=False)


def warmup() -> None:
    """Compile the kernels now, so that no later run has to wait for it."""
    from npusim.cli.progress import announce_compilation

    announce_compilation("fast")
    warm_up()
    print("kernels are compiled and cached")


def warm_up() -> None:
    """Loads or compiles all kernels of the fast engine, by a small simulation."""
    from npusim.simulate import simulate
    from npusim.spec.load import load_scenario, resolve

    simulate(resolve(load_scenario("transfer")))
