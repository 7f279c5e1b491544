"""Published latencies and throughputs of LLMs on real chips, against simulated ones."""

from collections.abc import Callable

from npusim.errors import NpusimError
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.measured.figures import FIGURES
from npusim.validate.measured.rows import CHIPS, MODELS, Row, Served, read_measured
from npusim.validate.measured.steps import StepTimes

DECODE, PREFILL = Goal("mape", 0.10), Goal("mape", 0.15)

# (part of the source, what its rows are called here)
SOURCES = {
    "TensorRT-LLM docs/source/performance.md": "trtllm-static",
    "perf-overview.md": "trtllm-inflight",
    "NeMo": "nemo",
    "LLM-Inference-Bench": "inference-bench",
    "NIM": "nim",
    "2502.04563": "wafer-gpu",
}
PHASES = {
    "ttft": ("first token", PREFILL),
    "prefill_TPR": ("prefill", PREFILL),
    "latency": ("latency", DECODE),
    "output_tput": ("throughput", DECODE),
    "output_tput_per_gpu": ("throughput", DECODE),
    "output_tput_total": ("throughput", DECODE),
    "itl": ("token gap", DECODE),
}


def run(full: bool, progress: Callable[[str], None]) -> list[Family]:
    times: dict[Served, StepTimes] = {}
    found: dict[str, list[Comparison]] = {}
    goals: dict[str, Goal] = {}
    for row in simulated_rows(full):
        progress(row.name)
        steps = times.setdefault(row.served, StepTimes(row.served))
        label, goals_of = family_of(row)
        try:
            ours = FIGURES[row.metric](row, steps)
        except NpusimError as error:
            raise type(error)(f"{row.name}: {error}") from error
        name = f"{row.model} {row.dtype} {row.layout} b{row.batch}"
        name += f" {row.input_tokens}/{row.output_tokens} {row.metric}"
        found.setdefault(label, []).append(Comparison(name, ours, row.value, row.unit))
        goals[label] = goals_of
    return [
        Family("measured", label, "silicon", tuple(rows), goals[label])
        for label, rows in found.items()
    ]


def family_of(row: Row) -> tuple[str, Goal]:
    source = next(name for part, name in SOURCES.items() if part in row.source)
    phase, goal = PHASES[row.metric]
    return f"{source} {row.hardware.split('-')[0]} {phase}", goal


def simulated_rows(full: bool) -> list[Row]:
    """Rows on chips and of models that we have; quick: one chip, dense models of one chip."""
    rows = [
        row
        for row in read_measured()
        if row.hardware in CHIPS
        and row.model in MODELS
        and row.metric in FIGURES
        and any(part in row.source for part in SOURCES)
    ]
    return rows if full else [row for row in rows if row.served.tp == row.served.pp == 1][:12]
