"""Targets 9 and 10: scratchpad size x array size x HBM bandwidth, one request, TP 4 x PP 16, INT8.

The study gives prefill:decode 5:1 and no lengths. Its differences between HBM bandwidths are about
35 loads of the weights that do not fit (32B: 8.7 s between 30 and 120 GB/s, 0.25 s a load), so 180
tokens in and 36 out are run, by partition K. Absolute times depend on that guess.
"""

from dataclasses import dataclass
from itertools import pairwise, product

from show import Line, Report, Table, Verdict, lines_figure, main, published
from study import MODELS, block, chip, generate, layer_weights, mapping, run

from npusim.units import PS_PER_S

POINTS = ((128, 32), (128, 64), (128, 128), (64, 128), (32, 128))  # scratchpad MiB, array
HBM_GB_S = (30, 60, 120)
PROMPT, OUTPUT_TOKENS, CORES = 180, 36, 64
BANDWIDTH_GAIN = {"4B": (0.98, 1.02), "32B": (1.3, 1.5)}  # target 9


@dataclass(frozen=True)
class Found:
    """`total_s` of the answer; `loaded_fraction` of the weights is read in a decode step."""

    total_s: float
    loaded_fraction: float


Results = dict[tuple[str, int, int, int], Found]  # model, scratchpad MiB, array, HBM GB/s


def study(quick: bool) -> Report:
    models = ("4B",) if quick else ("4B", "8B", "14B", "32B")
    points = ((128, 128), (32, 128)) if quick else POINTS
    bands = (30, 120) if quick else HBM_GB_S
    cases = [(m, s, a, h) for m, (s, a), h in product(models, points, bands)]
    results = {case: simulate(*case) for case in cases}
    report = Report("Scratchpad x array x HBM bandwidth (targets 9 and 10)")
    report.tables += [_table(results, m, points, bands) for m in models]
    report.verdicts += [v for m in models for v in _bandwidth(results, m, points, bands)]
    report.verdicts += [_arrays(results, m, bands) for m in models if not quick]
    report.verdicts += [_sizes(results, m, points, bands) for m in models]
    panels = {f"Qwen3-{m}": _lines(results, m, points, bands) for m in models}
    report.figure = lines_figure("One request", panels, "HBM GB/s a core", "s")
    return report


def simulate(model: str, sram_mib: int, array: int, hbm_gb_s: int) -> Found:
    done = run(
        [
            *chip(array=array, sram_mib=sram_mib, hbm_gb_s=hbm_gb_s),
            *block(model),
            *mapping("k"),
            *generate(PROMPT, OUTPUT_TOKENS),
        ],
        model,
    )
    step = done.iterations[1]
    layers = 1.0
    if step.reuse:  # the trace holds the layers that were simulated
        kept, reused = step.reuse["simulated_layers"], step.reuse["reused_layers"]
        layers = kept / (kept + reused)
    loaded = int(step.trace.channels["read_bytes"].sum())
    return Found(done.makespan_ps / PS_PER_S, loaded / (weight_bytes(model) * layers))


def weight_bytes(model: str) -> int:
    """Bytes of all layers in int8."""
    *_, layers = MODELS[model]
    return layers * layer_weights(model)


def gain(results: Results, model: str, sram_mib: int, array: int, bands) -> float:
    """Time at the narrowest memory over that at the widest."""
    low, high = (results[model, sram_mib, array, h].total_s for h in (bands[0], bands[-1]))
    return low / high


def _published(model: str, sram_mib: int, array: int) -> list[float]:
    rows = published("sram_hbm")
    keys = (str(sram_mib), str(array))
    return [float(r[f"{model}_s"]) for r in rows if (r["sram_mb"], r["array"]) == keys]


def _table(results: Results, model: str, points, bands) -> Table:
    rows = []
    for sram, array in points:
        found = [results[model, sram, array, h] for h in bands]
        raw = _published(model, sram, array)
        rows.append(
            [
                f"{sram:3} MiB, {array}x{array}",
                " / ".join(f"{f.total_s:.3f}" for f in found),
                f"{gain(results, model, sram, array, bands):.3f}",
                f"{found[0].loaded_fraction:.0%}",
                " / ".join(f"{s:.2f}" for s in raw),
                f"{raw[0] / raw[-1]:.3f}",
            ]
        )
    each = weight_bytes(model) / CORES / 2**20
    title = (
        f"Qwen3-{model}, {each:.0f} MiB of weights a core, s at {'/'.join(map(str, bands))} GB/s"
    )
    columns = ["", "npusim", "gain", "weights loaded a step", "published (raw)", "gain"]
    return Table(title, columns, rows)


def _bandwidth(results: Results, model: str, points, bands) -> list[Verdict]:
    """Target 9: what memory bandwidth is worth."""
    if model not in BANDWIDTH_GAIN or (128, 128) not in points:
        return []
    low, high = BANDWIDTH_GAIN[model]
    found = gain(results, model, 128, 128, bands)
    holds = low <= found <= high
    rule = f"{model}, 128 MiB, 128x128: {bands[0]} to {bands[-1]} GB/s gains {low} to {high}"
    why = "" if holds else _why_bandwidth(results, model, bands)
    return [Verdict("9", rule, holds, f"{found:.3f}", why)]


def _why_bandwidth(results: Results, model: str, bands) -> str:
    case = results[model, 128, 128, bands[0]]
    loads = weight_bytes(model) * case.loaded_fraction / 4  # one stage of four cores at a time
    low, high = (loads * OUTPUT_TOKENS / h / 1e9 for h in (bands[0], bands[-1]))
    released = array_s(model, 128)
    return (
        f"{OUTPUT_TOKENS} passes load {case.loaded_fraction:.0%} of the weights, {low:.2f} s at "
        f"{bands[0]} GB/s and {high:.2f} s at {bands[-1]} of {case.total_s:.2f} s: products of one "
        "row run on the vector unit meanwhile; the released array takes 3 x 128 cycles a tile for "
        f"one row, after its load: {released:.2f} s more in both cases, a gain of "
        f"{(low + released) / (high + released):.2f}"
    )


def array_s(model: str, array: int) -> float:
    """Time of all passes' products of one row by the released rule, (2 S + max(M, S)) cycles a tile
    of S x S at 2 ns, on the four cores of one stage at a time."""
    tiles = weight_bytes(model) / 4 / array**2
    return tiles * 3 * array * 2e-9 * OUTPUT_TOKENS


def _arrays(results: Results, model: str, bands) -> Verdict:
    """Target 9: a larger array always helps."""
    times = {h: [results[model, 128, a, h].total_s for a in (32, 64, 128)] for h in bands}
    holds = all(a > b > c for a, b, c in times.values())
    text = ", ".join(
        f"{h} GB/s {' / '.join(f'{t:.3f}' for t in series)} s" for h, series in times.items()
    )
    why = "" if holds else _why_arrays(results, model, bands)
    rule = f"{model}, 128 MiB: array 32, 64, 128 each faster than the one before"
    return Verdict("9", rule, holds, text, why)


def _why_arrays(results: Results, model: str, bands) -> str:
    loaded = results[model, 128, 128, bands[0]].loaded_fraction
    added_s = array_s(model, 32) - array_s(model, 128)
    return (
        f"decode steps load {loaded:.0%} of the weights and run on the vector unit, so only the "
        f"prefill sees the array; by the released rule an array of 32 adds {added_s:.1f} s"
    )


def _sizes(results: Results, model: str, points, bands) -> Verdict:
    """Target 10: a larger scratchpad gains only where it takes in weights."""
    sizes = sorted(s for s, a in points if a == 128)
    each = weight_bytes(model) / CORES / 2**20
    notes, holds = [], True
    for small, large in pairwise(sizes):
        a, b = (results[model, s, 128, bands[0]] for s in (small, large))
        faster = a.total_s / b.total_s
        taken = a.loaded_fraction - b.loaded_fraction
        holds &= (faster > 1.02) == (taken > 0.02)
        notes.append(f"{small} to {large} MiB {faster:.3f} (takes in {taken:.0%} of the weights)")
    rule = f"{model} ({each:.0f} MiB a core, {bands[0]} GB/s): SRAM gains where it takes in weights"
    return Verdict("10", rule, holds, ", ".join(notes))


def _lines(results: Results, model: str, points, bands) -> list[Line]:
    lines = []
    for i, (sram, array) in enumerate(points):
        y = [results[model, sram, array, h].total_s for h in bands]
        lines.append(Line(f"{sram} MiB, {array} npusim", bands, y, i))
        raw = _published(model, sram, array)
        lines.append(Line(f"{sram} MiB, {array} published", HBM_GB_S, raw, i, dash=True))
    return lines


if __name__ == "__main__":
    main(__file__, __doc__, study)
