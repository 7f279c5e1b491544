"""One iteration of a 7B or 8B model on A100 as other tools give it → families, by what they give.

`ideal`: all efficiencies 1, memory's too (no refreshes, no rows), and no cost of a kernel start,
against tools that take ideal rates. `silicon`: the preset as it is, against sums of measured
kernels. Models with overheads of their own stand apart: they are no measurements.
"""

from functools import cache

from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.measured.rows import Served
from npusim.validate.measured.steps import StepTimes
from npusim.validate.measured.tables import TOOL_TOKENS, TOOLS, ToolLatency, tool_latencies

FRACTIONS = ("compute", "attention", "memory")
IDEAL = (
    "hw.kernels.start_us=0.0",
    "hw.kernels.attention_tile_us=0.0",
    *(f"hw.kernels.{name}_efficiency_fraction=1.0" for name in FRACTIONS),
    "hw.kernels.overlapped_softmax=true",
    "hw.memories.0.efficiency_fraction=1.0",
)
GOALS = {
    ("roofline", "decode"): Goal("mape", 0.03),
    ("silicon", "decode"): Goal("mape", 0.20),
    ("silicon", "prefill"): Goal("mape", 0.20),
}
REFERENCES = {
    "roofline": "ideal rates: GenZ 0.0.16, LLM-Viewer, aiconfigurator's speed of light",
    "silicon": "summed from kernels measured on A100 (aiconfigurator, vidur)",
    "model": "LLMCompass, without and with its launch overheads",
}
NOTES = {
    "roofline": "ours with all efficiencies 1; latencies and tiles stay",
    "silicon": "two sums of the same iteration differ by up to 23 % from one another",
    "model": "another simulator, not silicon",
}


@cache
def step_times(model: str, ideal: bool) -> StepTimes:
    """Iteration times of a bundled model on one A100 in bf16, at ideal rates or of the preset."""
    return StepTimes(Served("a100_sxm_80", model, ("bf16",) * 3), IDEAL if ideal else ())


def tool_families() -> list[Family]:
    """By kind of tool and phase."""
    found: dict[tuple[str, str], list[Comparison]] = {}
    for row in tool_latencies():
        kind = TOOLS[row.tool]
        if kind != "part":
            found.setdefault((kind, row.phase), []).append(_comparison(row, kind == "roofline"))
    return [
        Family(
            "measured",
            f"a100 iteration, {kind}, {phase}",
            REFERENCES[kind],
            tuple(rows),
            GOALS.get((kind, phase)),
            NOTES[kind],
        )
        for (kind, phase), rows in found.items()
    ]


def _comparison(row: ToolLatency, ideal: bool) -> Comparison:
    steps = step_times(row.model, ideal)
    if row.phase == "prefill":
        time_s = steps.prefill_s(row.batch, TOOL_TOKENS)
    else:
        time_s = steps.decode_s(row.batch, TOOL_TOKENS)
    return Comparison(f"{row.model} b{row.batch} {row.tool}", 1e3 * time_s, row.time_ms, "ms")
