"""Target 14: PD fusion by pipeline stages and scratchpad size, 64 cores of 64x64 at 60 GB/s, TP 1.

36, 18 and 12 stages hold 1, 2 and 3 layers; 1, 3 and 5 such pipelines fit 64 cores. Published are
8B, 128 to 512 tokens in, latencies; not how many requests and tokens out: 20 requests and 20 tokens
are run here, a prompt as one chunk. A layer of the real 8B (184 MiB) is larger than any scratchpad
of the study, so 4B (96 MiB a layer) is run over its sizes, and both over larger ones.
"""

from itertools import product

from served import Bench, Found, fusion, pipelines, traffic, values
from show import Line, Report, Table, Verdict, lines_figure, main
from study import chip

from npusim.units import MIB

CORES = 64
STAGES = (36, 18, 12)
LAYERS = 36
REQUESTS, OUTPUT = 20, 20
CHIP = {"array": 64, "hbm_gb_s": 60, "link_gb_s": 160}
# bytes of a layer in int8: Q and O, K and V, gated FFN (the published Qwen3 configs)
LAYER_BYTES = {
    "4B": 2 * 2560 * 4096 + 2 * 2560 * 1024 + 3 * 2560 * 9728,
    "8B": 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 12288,
}
SIZES_MIB = {"4B": (64, 128, 192, 256, 384), "8B": (64, 128, 192, 256, 448, 640)}
PROMPTS = {"4B": (128, 256, 512), "8B": (128,)}
RUN_AS = (64, 128, 192)  # sizes of the study's runs, published as 16, 32, 48

Results = dict[tuple[str, int, int, int], Found]  # model, MiB, stages, tokens in


def study(quick: bool) -> Report:
    models = ["4B"] if quick else ["4B", "8B"]
    prompts = {"4B": (128,)} if quick else PROMPTS
    results: Results = {}
    for name in models:
        for size in SIZES_MIB[name]:
            bench = Bench(chip(sram_mib=size, **CHIP), bundled(name))
            for stages, prompt in product(STAGES, prompts[name]):
                results[name, size, stages, prompt] = run(bench, stages, prompt)
    report = Report("PD fusion by stages and scratchpad (target 14)")
    for name in models:
        report.tables += [_table(results, name, p) for p in prompts[name]]
        for prompt in prompts[name]:
            report.verdicts += _verdicts(results, name, prompt)
    panels = {f"{m}, {p} tokens in": _lines(results, m, p) for m in models for p in prompts[m]}
    report.figure = lines_figure("Fusion: mean latency", panels, "scratchpad MiB a core", "s")
    return report


def bundled(name: str) -> str:
    """4B is served.MODELS's, with the vocabulary of the study's runs; 8B likewise."""
    return name if name == "4B" else f"qwen3-{name.lower()}"


def run(bench: Bench, stages: int, prompt: int) -> Found:
    case = [*traffic(prompt, OUTPUT, REQUESTS), *pipelines(stages)]
    return bench.run([*case, *fusion(CORES // stages, prompt, stages)])


def stage_mib(name: str, stages: int) -> float:
    """Weights of a stage."""
    return LAYERS // stages * LAYER_BYTES[name] / MIB


def times(results: Results, name: str, size: int, prompt: int) -> list[float]:
    return [results[name, size, s, prompt].latency_s for s in STAGES]


def _table(results: Results, name: str, prompt: int) -> Table:
    rows = []
    for size in SIZES_MIB[name]:
        found = [results[name, size, s, prompt] for s in STAGES]
        fit = [str(s) for s in STAGES if stage_mib(name, s) < size]
        rows.append(
            [
                f"{size} MiB",
                " / ".join(f"{f.latency_s:.3f}" for f in found),
                " / ".join(f"{f.tbt_ms:.1f}" for f in found),
                f"{found[0].ttft_s:.2f} / {found[-1].ttft_s:.2f}",
                ", ".join(fit) or "none",
                _published(size, prompt),
            ]
        )
    title = f"{name}, {prompt} tokens in, {'/'.join(map(str, STAGES))} stages"
    columns = ["scratchpad", "latency s", "TBT ms", "TTFT s (first, last)", "weights fit"]
    return Table(title, [*columns, "published 8B s (raw)"], rows)


def _published(size: int, prompt: int) -> str:
    found = [
        values("fusion_stages", f"in_{prompt}", stages=str(s), run_sram_mb=str(size))
        for s in STAGES
    ]
    return " / ".join(f"{v[0] / 1000:.3f}" for v in found) if all(found) else ""


def _verdicts(results: Results, name: str, prompt: int) -> list[Verdict]:
    """More stages win at small scratchpads, fewer at large ones, in between where weights fit."""
    sizes, case = SIZES_MIB[name], f"{name}, {prompt} in"
    best = [STAGES[_lowest(times(results, name, size, prompt))] for size in sizes]
    small, large = times(results, name, sizes[0], prompt), times(results, name, sizes[-1], prompt)
    text = ", ".join(f"{size} MiB {stages}" for size, stages in zip(sizes, best, strict=True))
    expected = [expected_best(name, size) for size in sizes]
    return [
        _verdict(f"{case}: at {sizes[0]} MiB {STAGES[0]} stages are best", small[0] == min(small),
                 small, results, name, sizes[0], prompt),
        _verdict(f"{case}: at {sizes[-1]} MiB fewer stages are faster",
                 large == sorted(large, reverse=True), large, results, name, sizes[-1], prompt),
        Verdict("14", f"{case}: the fewest stages whose weights fit are best", best == expected,
                text, _steps(results, name, prompt, best, expected)),
    ]  # fmt: skip


def expected_best(name: str, size: int) -> int:
    """The fewest stages whose weights are below the scratchpad, or the most stages."""
    return min((s for s in STAGES if stage_mib(name, s) < size), default=max(STAGES))


def _lowest(series: list[float]) -> int:
    return series.index(min(series))


def _verdict(
    rule: str, holds: bool, series: list[float], results: Results, name: str, size: int, prompt: int
) -> Verdict:
    text = " / ".join(f"{t:.3f}" for t in series) + " s"
    parts = [results[name, size, s, prompt] for s in STAGES]
    why = "TTFT " + " / ".join(f"{f.ttft_s:.3f}" for f in parts) + " s, TBT "
    why += " / ".join(f"{f.tbt_ms:.1f}" for f in parts) + " ms; weights of a stage "
    why += " / ".join(f"{stage_mib(name, s):.0f}" for s in STAGES) + " MiB; cores used "
    why += " / ".join(str(CORES // s * s) for s in STAGES)
    return Verdict("14", rule, holds, text, "" if holds else why)


def _steps(results: Results, name: str, prompt: int, best: list[int], expected: list[int]) -> str:
    """TBT of what was found and what was expected, where they differ."""
    parts = []
    for size, a, b in zip(SIZES_MIB[name], best, expected, strict=True):
        if a != b:
            one, two = (results[name, size, s, prompt] for s in (a, b))
            parts.append(
                f"{size} MiB: {a} stages ({CORES // a * a} cores) TTFT {one.ttft_s:.3f} s, TBT "
                f"{one.tbt_ms:.1f} ms; {b} stages ({CORES // b * b} cores, "
                f"{stage_mib(name, b):.0f} MiB of weights) {two.ttft_s:.3f} s, {two.tbt_ms:.1f} ms"
            )
    return "; ".join(parts)


def _lines(results: Results, name: str, prompt: int) -> list[Line]:
    lines = []
    for color, stages in enumerate(STAGES):
        y = [results[name, size, stages, prompt].latency_s for size in SIZES_MIB[name]]
        lines.append(Line(f"{stages} stages npusim", SIZES_MIB[name], y, color))
        raw = values("fusion_stages", f"in_{prompt}", stages=str(stages))
        label = f"{stages} stages published (8B)"
        lines.append(Line(label, RUN_AS, [v / 1000 for v in raw], color, dash=True))
    return lines


if __name__ == "__main__":
    main(__file__, __doc__, study)
