"""A resolved setup → a Run: graph, program and machine for each iteration of the workload."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from npusim.errors import CapacityError, SpecError
from npusim.graph.batch import Batch
from npusim.graph.micro import build_gemm
from npusim.graph.transformer import build
from npusim.machine.system import run as run_machine
from npusim.passes import micro, repeat
from npusim.passes.pipeline import lower
from npusim.passes.share import WHOLE, Share
from npusim.passes.shared.chip import sustained
from npusim.passes.shared.lower import lower_kernels
from npusim.spec.load import Setup
from npusim.spec.scenario import Fidelity
from npusim.steps import Step, steps_of
from npusim.trace import Iteration, Program, Run, Trace

Progress = Callable[[str, int, int], None]  # label, done, in all
KEPT_REPETITIONS = (1, 2, 4, 8)  # tried in this order before a program is simulated whole


@dataclass
class Context:
    """What all steps of one simulate() share."""

    setup: Setup
    record_spans: bool
    progress: Progress
    num_steps: int
    programs: dict[Step, Program] | None = None  # lowered so far, for runs that share them
    share: Share = WHOLE
    tolerance: float = repeat.TOLERANCE
    num_begun: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def begin(self, step: Step) -> None:
        """Tells the user that the machine starts on `step`: what can be refused was not."""
        self.progress(step.label, self.num_begun, self.num_steps)
        self.num_begun += 1

    def note(self, text: str) -> None:
        """Keeps `text` unless it is there, or says the same with another estimate: that of a decode
        step changes with its context."""
        said = {note.split(", estimated")[0] for note in self.notes}
        if text.split(", estimated")[0] not in said:
            self.notes.append(text)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the CPU seconds of the block to `phase`."""
        start_s = time.process_time()
        yield
        self.cpu_s[phase] = self.cpu_s.get(phase, 0.0) + time.process_time() - start_s


def simulate(setup: Setup, *, record_spans: bool = False, progress: Progress | None = None) -> Run:
    """Simulates every iteration of the scenario's workload.

    Assumes that iterations run one after the other, each on an idle machine: token i + 1 needs
    token i. Raises SpecError, CapacityError or DeadlockError.
    """
    steps = steps_of(setup.scenario.workload)
    return _simulate(Context(setup, record_spans, progress or (lambda *_: None), len(steps)), steps)


def simulate_both(
    setup: Setup, *, record_spans: bool = False, progress: Progress | None = None
) -> tuple[Run, Run]:
    """The same programs twice: every transaction (with spans, if asked for), and at the scenario's
    `fidelity.coarse`. Only the first run spends time on lowering. Raises as simulate()."""
    steps, watch = steps_of(setup.scenario.workload), progress or (lambda *_: None)
    programs: dict[Step, Program] = {}
    runs: list[Run] = []
    for level in (Fidelity(), setup.scenario.fidelity.coarse):
        one = replace(setup, scenario=setup.scenario.model_copy(update={"fidelity": level}))
        context = Context(one, record_spans and not runs, watch, len(steps), programs)
        runs.append(_simulate(context, steps))
    return runs[0], runs[1]


def simulate_batch(
    setup: Setup, batch: Batch, share: Share, tolerance: float = repeat.TOLERANCE
) -> Iteration:
    """One iteration of `batch` on an instance's share of the chip, which is idle but for it; with
    the engine, fidelity and `reuse` of the scenario, layers being reused when two in a row, or the
    means of some, agree within `tolerance`. Raises as simulate()."""
    context = Context(setup, False, lambda *_: None, 1, share=share, tolerance=tolerance)
    return _simulate_step(context, Step("batch", batch))


def lower_batch(setup: Setup, batch: Batch, share: Share) -> Program:
    """The program of an iteration of `batch` on an instance's share of the chip."""
    context = Context(setup, False, lambda *_: None, 1, share=share)
    return _lower_llm(context, Step("batch", batch))


def _simulate(context: Context, steps: list[Step]) -> Run:
    setup, level = context.setup, context.setup.scenario.fidelity
    if level != Fidelity():
        context.note(f"fidelity: memory {level.memory}, noc {level.noc}")
    if setup.scenario.reuse and len(steps) > 3:
        prompt, *decodes = steps
        iterations = [_simulate_step(context, prompt), *_interpolated(context, decodes)]
    else:
        iterations = []
        for step in steps:
            iterations.append(_simulate_step(context, step))
            _check_memory(iterations[-1], len(steps))
    _set_starts(iterations)
    return Run(iterations, context.notes, context.cpu_s)


def _check_memory(done: Iteration, num_steps: int) -> None:
    """CapacityError when the traces of so many steps like this one need over half of the memory."""
    program, trace = done.trace.program, done.trace
    arrays = [*program.columns.values(), program.deps, program.dep_start]
    arrays += [trace.ready_ps, trace.start_ps, trace.end_ps]
    needed = sum(array.nbytes for array in arrays) * num_steps
    bound = memory_bytes() // 2
    if num_steps > 1 and needed > bound:
        raise CapacityError(
            f"the traces of {num_steps} iterations need {needed / 2**30:.1f} GiB, half of this "
            f"machine's memory is {bound / 2**30:.1f} GiB; use --reuse, which simulates few of them"
        )


def memory_bytes() -> int:
    """Memory of the machine that npusim runs on."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _simulate_step(context: Context, step: Step) -> Iteration:
    known = {} if context.programs is None else context.programs
    if step not in known:
        known[step] = LOWERINGS[context.setup.scenario.workload.kind](context, step)
    program = known[step]
    for note in program.notes:
        context.note(note)
    context.begin(step)
    if context.setup.scenario.reuse:
        reused = _with_reused_layers(context, step, program)
        if reused:
            return reused
    trace = _run(context, program)
    return _iteration(step, trace, trace.makespan_ps)


def _iteration(step: Step, trace: Trace, makespan_ps: int, **extra: Any) -> Iteration:
    return Iteration(
        label=step.label,
        start_ps=0,
        makespan_ps=makespan_ps,
        trace=trace,
        new_tokens=step.new_tokens,
        output_tokens=step.output_tokens,
        **extra,
    )


def _run(context: Context, program: Program) -> Trace:
    scenario = context.setup.scenario
    with context.timed("simulation"):
        return run_machine(
            program,
            sustained(context.setup.hardware),
            engine=scenario.engine,
            record_spans=context.record_spans,
            fidelity=scenario.fidelity,
        )


def _with_reused_layers(context: Context, step: Step, program: Program) -> Iteration | None:
    """The step from a program with equal layers taken out; None when there is nothing to take
    out or the layers' times do not settle."""
    # a decode step's first layer loads while nothing else does, and never takes as long as others
    decodes = step.new_tokens == len(step.batch)
    for keep in KEPT_REPETITIONS[decodes:]:
        with context.timed("lowering"):
            shortened = repeat.shorten(program, keep)
        if shortened is None:
            break
        trace = _run(context, shortened.program)
        added_ps, spread = repeat.added_ps(shortened, trace.end_ps)
        if spread <= context.tolerance:
            reuse = {
                "simulated_layers": shortened.kept_layers,
                "reused_layers": shortened.removed_layers,
                "spread_fraction": spread,
            }
            context.note(
                f"{step.label}: simulated {shortened.kept_layers} layers, "
                f"reused {shortened.removed_layers}, spread {spread:.1%}"
            )
            return _iteration(step, trace, trace.makespan_ps + added_ps, reuse=reuse)
    context.note("layers: none could be reused, all were simulated")
    return None


def _interpolated(context: Context, steps: list[Step]) -> list[Iteration]:
    """Decode steps of growing context, some simulated, the rest interpolated in between."""
    done: dict[int, Iteration] = {}

    def measure(index: int) -> int:
        done[index] = _simulate_step(context, steps[index])
        return done[index].makespan_ps

    makespans_ps, spread = repeat.interpolate(len(steps), measure)
    context.note(
        f"decode: simulated {len(done)} steps, interpolated {len(steps) - len(done)}, "
        f"spread {spread:.1%}"
    )
    iterations: list[Iteration] = []
    source = 0
    for index, step in enumerate(steps):
        if index in done:
            source = index
            iterations.append(done[index])
            continue
        shared = {"reuse": done[source].reuse, "reused_from": source + 1}  # + 1: the prefill
        iterations.append(_iteration(step, done[source].trace, makespans_ps[index], **shared))
    return iterations


def _set_starts(iterations: list[Iteration]) -> None:
    start_ps = 0
    for iteration in iterations:
        iteration.start_ps = start_ps
        start_ps += iteration.makespan_ps


def _lower_llm(context: Context, step: Step) -> Program:
    setup = context.setup
    if setup.model is None:
        raise SpecError("workload kind llm needs a model", "model")
    with context.timed("graph"):
        graph = build(setup.model, step.batch, setup.scenario.parallel.mla)
    return _lower_graph(context, graph)


def _lower_gemm(context: Context, step: Step) -> Program:
    workload: Any = context.setup.scenario.workload
    with context.timed("graph"):
        graph = build_gemm(workload.m, workload.k, workload.n)
    return _lower_graph(context, graph)


def _lower_graph(context: Context, graph: Any) -> Program:
    scenario, hardware = context.setup.scenario, context.setup.hardware
    with context.timed("lowering"):
        if hardware.kernels is not None:
            return lower_kernels(graph, hardware, scenario.parallel, scenario.dtype)
        mapping = (scenario.parallel, scenario.placement, scenario.dtype)
        return lower(graph, hardware, *mapping, context.share)


def _lower_micro(function: Callable[..., Program], names: tuple[str, ...]):
    """A lowering that takes the hardware, the workload and these keys of the scenario."""

    def lowering(context: Context, step: Step) -> Program:
        scenario = context.setup.scenario
        if context.setup.hardware.kernels and scenario.workload.kind in ("transfer", "collective"):
            context.note("messages go between the cores of one chip, not between chips")
        with context.timed("lowering"):
            return function(
                context.setup.hardware, scenario.workload, *(getattr(scenario, n) for n in names)
            )

    return lowering


LOWERINGS: dict[str, Callable[[Context, Step], Program]] = {
    "llm": _lower_llm,
    "serve": _lower_llm,
    "gemm": _lower_gemm,
    "transfer": _lower_micro(micro.lower_transfer, ()),
    "collective": _lower_micro(micro.lower_collective, ("placement",)),
    "memory": _lower_micro(micro.lower_memory, ("seed",)),
}
