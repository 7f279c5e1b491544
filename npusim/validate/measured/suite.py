"""Published latencies and throughputs of LLMs on real chips, against simulated ones.

Families are named by source, chip and phase. Rows that a stack's constant was fitted on are marked
and counted apart (`stacks.py`); rows that cannot be simulated are counted with their reasons
(`unsimulated.py`) in the note of the arithmetic family.
"""

from collections.abc import Callable

from npusim.errors import NpusimError
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.measured.arithmetic import arithmetic_family
from npusim.validate.measured.experts import expert_families
from npusim.validate.measured.figures import FIGURES
from npusim.validate.measured.kernels import kernel_families
from npusim.validate.measured.operators import operator_family
from npusim.validate.measured.rows import CHIPS, MODELS, Row, Served, read_measured, use_of
from npusim.validate.measured.stacks import Stack, is_fit, stacks
from npusim.validate.measured.steps import StepTimes
from npusim.validate.measured.tools import tool_families
from npusim.validate.measured.unsimulated import reason

DECODE, PREFILL = Goal("mape", 0.10), Goal("mape", 0.15)

# (part of the source, what its rows are called here)
SOURCES = {
    "TensorRT-LLM docs/source/performance.md": "trtllm-static",
    "perf-overview.md": "trtllm-inflight",
    "NeMo": "nemo",
    "LLM-Inference-Bench": "inference-bench",
    "NIM": "nim",
    "2502.04563": "sglang",
    "CENT": "cent-baseline",
    "tt-metal": "tt-metal",
}
PHASES = {
    "ttft": ("first token", PREFILL),
    "prefill_TPR": ("prefill", PREFILL),
    "latency": ("latency", DECODE),
    "output_tput": ("throughput", DECODE),
    "output_tput_per_gpu": ("throughput", DECODE),
    "output_tput_total": ("throughput", DECODE),
    "decode_tput": ("decode", DECODE),
    "decode_speed_per_user": ("decode", DECODE),
    "itl": ("token gap", DECODE),
}
NOTES = {
    "inference-bench A100 PP": "measured latencies grow as if stages did not overlap; ours overlap",
    "inference-bench A100": "chip taken as the 40 GB part, as the KV capacity suggests",
    "inference-bench H100": "largest where a vocabulary of 128,256 meets batches: sampling there",
    "inference-bench Gaudi2": "batch 1 set the memory fraction (fit); KV heads may be copied there",
    "sglang A100": "models above 13B on few layers, scaled, by the source",
    "sglang A100 TP8": "measured 1.2 to 2.3 times TP1; its links are not stated, ours are NVLink",
    "cent-baseline A100": "baseline of a paper on another machine, a fifth of its own roofline",
    "nim H100 first token": "first tokens pass a server; ours do not",
    "trtllm-static H100 first token": "v0.5 had attention of prompts in 16 bit, ours is in 8",
    "trtllm-static L40S": "no published rate of products for Ada: A100's sustained fraction",
    "trtllm-inflight RTX6000Pro": "perhaps as NVFP4 with its scales has 4.5 bits, embeddings 16",
    "trtllm-inflight RTX6000Pro PP": "stages work on unequal batches there, on equal ones here",
    "tt-metal n150": "weights as fp8; there a mix of bfp8 and bfp4, shares unknown",
    "trtllm-inflight RTX6000Pro MoE": "attention by heads, not by requests as there",
}
# (group, size of the model): rows of it in a quick run
QUICK = {
    ("inference-bench H100", "7B"): 3,
    ("nemo A100", "7B"): 2,
    ("nemo H100", "7B"): 2,
    ("trtllm-static A100", "7B"): 2,
    ("trtllm-static H100", "6B"): 3,
    ("trtllm-static L40S", "7B"): 1,
}


def run(full: bool, progress: Callable[[str], None]) -> list[Family]:
    """Families of kernels, of other tools' figures and of published runs, as `full` or quick."""
    progress("kernel tables of A100")
    families = [*kernel_families(full), operator_family()]
    progress("one iteration by other tools")
    families += tool_families()
    families += row_families(simulated_rows(full), progress)
    return [*families, *expert_families(), arithmetic_family()]


def row_families(rows: list[Row], progress: Callable[[str], None]) -> list[Family]:
    """One family a group and phase. Raises what a simulation raises, with the row's name."""
    times: dict[Served, StepTimes] = {}
    found: dict[tuple[str, str], list[Comparison]] = {}
    goals: dict[tuple[str, str], Goal] = {}
    for row in rows:
        progress(row.name)
        steps = times.setdefault(row.served, StepTimes(row.served))
        group, (phase, goal) = group_of(row), PHASES[row.metric]
        found.setdefault((group, phase), []).append(_comparison(row, steps))
        goals[group, phase] = goal
    return [
        Family(
            "measured",
            f"{group} {phase}",
            _reference(group, goals[group, phase]),
            tuple(rows),
            goals[group, phase],
            NOTES.get(f"{group} {phase}", NOTES.get(group, "")),
        )
        for (group, phase), rows in found.items()
    ]


def _reference(group: str, goal: Goal) -> str:
    """`published runs on H100: prompts`: the chip is the second word of a group."""
    kind = "prompts" if goal is PREFILL else "decode, whole runs"
    return f"published runs on {group.split()[1]}: {kind}"


def _comparison(row: Row, steps: StepTimes) -> Comparison:
    source = source_of(row)
    stack = stacks().get(source, Stack())
    try:
        ours = FIGURES[row.metric](row, steps, stack)
    except NpusimError as error:
        raise type(error)(f"{row.name}: {error}") from error
    name = f"{row.model} {row.dtype} {row.layout} b{row.batch}"
    name += f" {row.input_tokens}/{row.output_tokens} {row.metric}"
    return Comparison(name, ours, row.value, row.unit, use_of(is_fit(source, row)))


def source_of(row: Row) -> str:
    """What a row's source is called here. KeyError for others."""
    found = [name for part, name in SOURCES.items() if part in row.source]
    if not found:
        raise KeyError(row.source)
    return found[0]


def group_of(row: Row) -> str:
    """Source and chip; what is cut in another way than by tensors stands apart."""
    group = f"{source_of(row)} {row.hardware.split('-')[0]}"
    if row.model.startswith(("Mixtral", "Qwen3-30B")):
        return f"{group} MoE"
    if row.layout == "TP8 SGLang":
        return f"{group} TP8"
    return f"{group} PP" if row.served.pp > 1 else group


def simulated_rows(full: bool) -> list[Row]:
    """Rows on chips and of models that we have; quick: a few rows of small models on one chip."""
    rows = [
        row
        for row in read_measured()
        if row.hardware in CHIPS
        and row.model in MODELS
        and row.metric in FIGURES
        and any(part in row.source for part in SOURCES)
        and reason(row) is None
    ]
    return rows if full else quick_rows(rows)


def quick_rows(rows: list[Row]) -> list[Row]:
    """The first rows of each key of QUICK that need few simulated points."""
    left, found = dict(QUICK), []
    for row in rows:
        key = (group_of(row), row.model[-2:])
        is_short = row.output_tokens <= 128 and (row.batch.isdigit() and int(row.batch) <= 64)
        if row.num_chips == 1 and is_short and left.get(key, 0):
            left[key] -= 1
            found.append(row)
    return found
