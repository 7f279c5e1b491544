"""Targets 11 and 12: other memories and arrays for the decode cores alone, P:D of 42:21 cores.

Prefill cores have 64x64 arrays and 60 GB/s, all cores 32 MiB of scratchpad, links 160 GB/s.
"""

from served import (
    DECODES_A_CORE,
    MODELS,
    REQUESTS,
    WORKLOADS,
    Bench,
    Found,
    decode_cores,
    percent,
    pipelines,
    split,
    traffic,
    values,
)
from show import Line, Report, Table, Verdict, lines_figure, main

Cores = tuple[int, int]  # side of the array, HBM GB/s
FEW: tuple[Cores, ...] = ((64, 60), (64, 120), (64, 240), (64, 480), (32, 60))
CORES: tuple[Cores, ...] = ((64, 30), *FEW, (32, 240))
LARGER: tuple[Cores, ...] = ((64, 60), (64, 120), (64, 480), (32, 60))  # in larger batches
GAIN = (1.2, 1.4)  # target 11, decode-heavy, 60 to 120 GB/s
LOSS = (0.7, 0.9)  # target 12, array 32 to 64
HEAVY = ("GSM8K", "chat")

Results = dict[tuple[str, Cores, str], Found]  # model, decode cores, workload


def study(quick: bool) -> Report:
    requests = 30 if quick else REQUESTS
    cases = {"small": (FEW, ("TriviaQA", "chat") if quick else ("TriviaQA", "GSM8K", "chat"))}
    if not quick:
        cases = {"4B": (CORES, tuple(WORKLOADS))} | cases
    results: Results = {}
    for name, (chips, workloads) in cases.items():
        for cores in chips:
            bench = Bench(decode_cores(*cores), name, "npu_hetero_pd")
            for workload in workloads:
                results[name, cores, workload] = run(bench, workload, requests)
    report = Report("Memory and arrays of the decode cores (targets 11 and 12)")
    for name, (chips, workloads) in cases.items():
        larger = {c: larger_batch(c, name) for c in LARGER} if name == "4B" else {}
        report.tables += [_table(results, name, w, chips) for w in workloads]
        for w in workloads:
            report.verdicts += _memory(results, name, w, larger)
        report.verdicts += [_array(results, name, w, larger) for w in workloads if w in HEAVY]
    panels = {f"{w}, {m}": _lines(results, m, w) for m, (_, ws) in cases.items() for w in ws}
    report.figure = lines_figure(
        "Decode cores", panels, "HBM GB/s a decode core", "tokens/s", columns=3
    )
    return report


def run(bench: Bench, workload: str, requests: int, decodes: int = DECODES_A_CORE) -> Found:
    prompt, output = WORKLOADS[workload]
    own = split(6, 3, prompt, groups=True, decodes=decodes)
    return bench.run([*traffic(prompt, output, requests), *pipelines(), *own])


def larger_batch(cores: Cores, name: str) -> Found:
    """Twice the requests, in decode batches of twice the size: GSM8K."""
    bench = Bench(decode_cores(*cores), name, "npu_hetero_pd")
    return run(bench, "GSM8K", 2 * REQUESTS, 2 * DECODES_A_CORE)


def label(cores: Cores) -> str:
    return f"A{cores[0]}H{cores[1]}"


def _published(cores: Cores, column: str) -> float | None:
    found = values("decode_cores", column, array=str(cores[0]), hbm_gb_s=str(cores[1]))
    return found[0] if found else None


def _table(results: Results, name: str, workload: str, chips) -> Table:
    base, raw_base = results[name, (64, 60), workload], _published((64, 60), workload)
    area_base = _published((64, 60), "mm2")
    rows = []
    for cores in chips:
        f, raw, area = (
            results[name, cores, workload], _published(cores, workload), _area(cores),
        )  # fmt: skip
        assert raw is not None and raw_base is not None and area_base is not None
        gain = f.tokens_s / base.tokens_s
        rows.append(
            [
                label(cores), f"{f.tokens_s:,.0f}", f"{gain:.2f}", f"{raw:,.0f}",
                f"{raw / raw_base:.2f}", f"{gain * area_base / area:.2f}" if area else "",
                f"{f.tbt_ms:.2f}", f"{_published(cores, f'{workload}_tbt_ms'):.1f}",
                f"{f.latency_s:.2f}", f"{f.ttft_s:.2f}",
            ]
        )  # fmt: skip
    prompt, output = WORKLOADS[workload]
    columns = ["decode cores", "tokens/s", "to A64H60", "published", "to A64H60", "per area"]
    columns += ["TBT ms", "published", "latency s", "TTFT s"]
    return Table(f"{workload} ({prompt} in, {output} out), {MODELS[name]}", columns, rows)


def _area(cores: Cores) -> float | None:
    """mm2 at 7 nm (raw); A64H30 is not told apart from A64H60 in the files."""
    return None if cores == (64, 30) else _published(cores, "mm2")


def ratio(results: Results, name: str, workload: str, first: Cores, second: Cores) -> float:
    """Throughput of `second` over `first`."""
    return results[name, second, workload].tokens_s / results[name, first, workload].tokens_s


def _memory(results: Results, name: str, workload: str, larger: dict) -> list[Verdict]:
    """Target 11."""
    gain = ratio(results, name, workload, (64, 60), (64, 120))
    if workload not in HEAVY:
        rule = f"{name}, {workload}: 60 to 120 GB/s gains less than 5 %"
        return [Verdict("11", rule, abs(gain - 1) < 0.05, percent(gain))]
    low, high = GAIN
    holds = low <= gain <= high
    why = "" if holds else _why_memory(results, name, workload, larger)
    rule = f"{name}, {workload}: 60 to 120 GB/s gains {low} to {high}"
    beyond = ratio(results, name, workload, (64, 240), (64, 480))
    return [
        Verdict("11", rule, holds, f"{gain:.2f}", why),
        Verdict(
            "11", f"{name}, {workload}: 240 to 480 GB/s gains less than 5 %", beyond < 1.05,
            percent(beyond),
        ),
    ]  # fmt: skip


def bound(results: Results, name: str, workload: str) -> str:
    """How a decode step of the base divides: what is left with eight times the bandwidth."""
    step, left = (results[name, (64, h), workload].tbt_ms for h in (60, 480))
    return (
        f"a step of {step:.1f} ms at 60 GB/s is the loading of weights, under which the arithmetic "
        f"hides; with 480 GB/s {left:.1f} ms are left ({left / step:.0%})"
    )


def added_gain(base: Found, wide: Found) -> float:
    """Gain of twice the bandwidth if loading, the whole step of `base`, and arithmetic, that of
    `wide`, were added, as in the released program."""
    load, rest = base.tbt_ms, wide.tbt_ms
    return (load + rest) / (load / 2 + rest)


def _why_memory(results: Results, name: str, workload: str, larger: dict) -> str:
    base, wide = (results[name, (64, h), workload] for h in (60, 480))
    text = bound(results, name, workload)
    text += f"; added as in the released program the gain is {added_gain(base, wide):.2f}"
    if larger:
        gain = larger[64, 120].tokens_s / larger[64, 60].tokens_s
        added = added_gain(larger[64, 60], larger[64, 480])
        text += (
            f"; with decode batches of {2 * DECODES_A_CORE} a core ({2 * REQUESTS} requests, "
            f"GSM8K) it is {gain:.2f}, added {added:.2f}"
        )
    return text


def _array(results: Results, name: str, workload: str, larger: dict) -> Verdict:
    """Target 12, at 60 GB/s."""
    small, base = (results[name, (a, 60), workload] for a in (32, 64))
    kept, slower = small.tokens_s / base.tokens_s, small.tbt_ms / base.tbt_ms
    low, high = LOSS
    holds = low <= kept <= high and slower > 1
    text = f"throughput {percent(kept)}, TBT {percent(slower)}"
    why = "" if holds else _why_array(results, name, workload, larger)
    rule = f"{name}, {workload}: arrays of 32 lose 10 to 30 % of throughput, and TBT"
    return Verdict("12", rule, holds, text, why)


def _why_array(results: Results, name: str, workload: str, larger: dict) -> str:
    parts = [bound(results, name, workload)]
    if (name, (32, 240), workload) in results:
        kept = ratio(results, name, workload, (64, 240), (32, 240))
        parts.append(f"at 240 GB/s arrays of 32 change throughput by {percent(kept)}")
    if larger:
        kept = larger[32, 60].tokens_s / larger[64, 60].tokens_s
        parts.append(f"with batches of {2 * DECODES_A_CORE} (GSM8K) at 60 GB/s by {percent(kept)}")
    return "; ".join(parts)


def _lines(results: Results, name: str, workload: str) -> list[Line]:
    lines = []
    for color, array in enumerate((64, 32)):
        own = sorted(c[1] for m, c, w in results if (m, c[0], w) == (name, array, workload))
        y = [results[name, (array, h), workload].tokens_s for h in own]
        lines.append(Line(f"array {array} npusim", own, y, color))
        raw = [_published((array, h), workload) or 0.0 for h in own]
        lines.append(Line(f"array {array} published", own, raw, color, dash=True))
    return lines


if __name__ == "__main__":
    main(__file__, __doc__, study)
