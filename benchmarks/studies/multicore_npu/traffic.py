"""Targets 1 and 2: elements that a core sends, by partition, against the study's closed forms.

Counted in the lowered program of one layer at TP 4, without the pipeline's hand-over; nothing is
simulated. Also the same counts of the real Qwen3 layer (grouped K and V, gated FFN).
"""

import numpy as np
from show import Line, Report, Table, Verdict, lines_figure, main, published
from study import CORE, HEAD_DIM, MODELS, block, layer_weights, mapping, prefill

from npusim.graph import batch as batches
from npusim.graph.micro import build_gemm
from npusim.graph.transformer import build
from npusim.passes.pipeline import lower
from npusim.program import SEND, Program
from npusim.spec.load import load_hardware, load_scenario, resolve
from npusim.spec.scenario import Dtypes, Parallel

NAMES = {"k": "K", "mn": "M/N", "mnk": "2-D"}
RING_STEPS = {"k": 24, "mn": 18, "mnk": 10}  # the study's configuration files
# Scratchpads so large that no block of weights is sent in pieces: the closed forms know none.
WHOLE_BLOCKS = [f"{CORE}.scratchpad.capacity_mib=2048"]


def study(quick: bool) -> Report:
    models = ("1.7B",) if quick else ("1.7B", "4B", "8B")
    lengths = (256,) if quick else (256, 1024, 4096)
    report = Report("Traffic of tensor-parallel strategies, TP 4 (targets 1 and 2)")
    counted = {(m, p, t): layer_sends(m, p, t) for m in models for p in NAMES for t in lengths}
    rows = [_row(*key, counted[key]) for key in counted]
    columns = [
        "model  strategy  tokens",
        "closed form",
        "npusim",
        "steps",
        "published",
        "mark",
        "real layer",
    ]
    report.tables.append(Table("Millions of elements sent a core and layer", columns, rows))
    report.verdicts += [_closed_forms(counted), _printed(counted), _limits(quick)]
    panels = {
        m: [
            _line(i, m, p, lengths, counted, exact)
            for i, p in enumerate(NAMES)
            for exact in (False, True)
        ]
        for m in models
    }
    report.figure = lines_figure(
        "Elements sent a core and layer", panels, "prompt tokens", "million elements"
    )
    return report


def closed_form(model: str, partition: str, tokens: int) -> float:
    """Elements sent a core and layer in prefill at TP 4 (fact sheet 4.3, corrected 2-D)."""
    hidden, ffn, heads, _ = MODELS[model]
    width = heads * HEAD_DIM
    weights = layer_weights(model)
    return {
        "k": 1.5 * tokens * (3 * width + 2 * hidden + ffn),
        "mn": 0.75 * weights + 3 * tokens * width,
        "mnk": 0.25 * weights + tokens * (1.75 * width + hidden + 0.25 * ffn),
    }[partition]


def layer_sends(model: str, partition: str, tokens: int, real: bool = False) -> tuple[set, set]:
    """Elements that the cores send in a layer, and messages each: one value each when all do the
    same. int8, so an element is a byte."""
    shape = ["model.num_hidden_layers=1"] if real else block(model, layers=1)
    overrides = [*shape, *WHOLE_BLOCKS, *mapping(partition, pp=1), *prefill(tokens)]
    scenario = load_scenario(None, overrides, model=f"qwen3-{model.lower()}")
    setup = resolve(scenario)
    graph = build(setup.model, batches.prefill(1, tokens), "auto")
    program = lower(graph, setup.hardware, scenario.parallel, "ring", scenario.dtype)
    of_layer = np.array([op.layer >= 0 for op in program.ops])
    return _sent(program, of_layer[program.op])


def _sent(program: Program, chosen: np.ndarray | None = None) -> tuple[set, set]:
    sends = (program.kind == SEND) & (True if chosen is None else chosen)
    cores = np.unique(program.core)
    elements = np.bincount(program.core[sends], program.bytes[sends], minlength=cores[-1] + 1)
    count = np.bincount(program.core[sends], minlength=cores[-1] + 1)
    return set(elements[cores].tolist()), set(count[cores].tolist())


def _row(model: str, partition: str, tokens: int, found: tuple[set, set]) -> list[object]:
    elements, steps = found
    real, _ = layer_sends(model, partition, tokens, real=True)
    printed = _printed_value(model, partition, tokens)
    return [
        f"{model:5}  {NAMES[partition]:8}  {tokens}",
        f"{closed_form(model, partition, tokens) / 1e6:,.6f}",
        _millions(elements),
        "/".join(str(s) for s in sorted(steps)),
        f"{printed[0]:.2f}",
        printed[1],
        f"{max(real) / 1e6:,.2f}",
    ]


def _millions(elements: set) -> str:
    low, high = min(elements) / 1e6, max(elements) / 1e6
    return f"{low:,.6f}" if low == high else f"{low:,.6f} to {high:,.6f}"


def _printed_value(model: str, partition: str, tokens: int) -> tuple[float, str]:
    key = (model, partition, str(tokens))
    row = next(r for r in published("traffic") if (r["model"], r["partition"], r["tokens"]) == key)
    return float(row["million_elements"]), row["mark"]


def _closed_forms(counted: dict) -> Verdict:
    wrong = [key for key, (elements, _) in counted.items() if elements != {closed_form(*key)}]
    steps = [key for key, (_, count) in counted.items() if count != {RING_STEPS[key[1]]}]
    found = f"{len(counted) - len(wrong)} of {len(counted)} cases equal on every core"
    found += f", ring steps in {len(counted) - len(steps)}"
    why = f"differing: {sorted(set(wrong + steps))}" if wrong or steps else ""
    return Verdict("1", "equal to the closed forms to the element", not wrong + steps, found, why)


def _printed(counted: dict) -> Verdict:
    off = [
        abs(max(elements) / 1e6 - _printed_value(*key)[0]) for key, (elements, _) in counted.items()
    ]
    found = f"largest difference {max(off):.4f} million elements"
    return Verdict(
        "1", "equal to the sheet's table as far as it is printed", max(off) < 0.0051, found
    )


def _limits(quick: bool) -> Verdict:
    """R = 1 of the 2-D grid against K, C = 1 against M/N, on one GEMM."""
    sizes = (4,) if quick else (2, 4, 8, 16)
    bad = [
        (tp, limit)
        for tp in sizes
        for grid, limit in (((1, tp), "k"), ((tp, 1), "mn"))
        if _gemm_sends(tp, "mnk", grid) != _gemm_sends(tp, limit)
    ]
    total = 2 * len(sizes)
    found = f"{total - len(bad)} of {total} limits equal, TP {', '.join(map(str, sizes))}"
    why = f"differing: {bad}" if bad else ""
    return Verdict("2", "2-D with R = 1 equals K, with C = 1 equals M/N", not bad, found, why)


def _gemm_sends(tp: int, partition: str, grid: tuple[int, int] | None = None) -> tuple[set, set]:
    hardware = load_hardware("npu_large_core")
    parallel = Parallel(tp=tp, partition=partition, grid=grid, collective="ring")
    return _sent(lower(build_gemm(96, 480, 240), hardware, parallel, "ring", Dtypes()))


def _line(color: int, model: str, partition: str, lengths, counted: dict, exact: bool) -> Line:
    if exact:
        y = [closed_form(model, partition, t) / 1e6 for t in lengths]
        return Line(f"{NAMES[partition]} closed form", lengths, y, color, dash=True)
    y = [max(counted[model, partition, t][0]) / 1e6 for t in lengths]
    return Line(f"{NAMES[partition]} npusim", lengths, y, color)


if __name__ == "__main__":
    main(__file__, __doc__, study)
