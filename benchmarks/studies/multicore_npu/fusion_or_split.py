"""Targets 15 and 16: PD fusion against disaggregation, tokens in to tokens out from 1:5 to 10:1.

Chip (config): 64x64 arrays, 60 GB/s, 32 MiB of scratchpad, links of 8 GB/s; 9 pipelines of 7 cores,
in disaggregation 6 prefill and 3 decode. The study gives ratios and no lengths: 100 tokens are put
out. Fusion takes a prompt as one chunk (config, later files), budget 8 and chunk cost 4.
"""

from dataclasses import dataclass
from itertools import pairwise, product

from served import (
    MODELS,
    REQUESTS,
    Bench,
    Found,
    decode_cores,
    fusion,
    percent,
    pipelines,
    split,
    traffic,
)
from show import Line, Report, Table, Verdict, crossing, lines_figure, main
from show import published as rows_of
from study import chip

OUTPUT = 100
RATIOS = {"1:5": 0.2, "1:2": 0.5, "1:1": 1, "2:1": 2, "5:1": 5, "10:1": 10}
LINK_GB_S = 8
CHUNK = 128  # of a counter-check
CHIP = {"array": 64, "sram_mib": 32, "hbm_gb_s": 60, "link_gb_s": LINK_GB_S}
LINK = f"hw.noc.link_bytes_per_cycle={2 * LINK_GB_S}"  # the same at 500 MHz
CORES = {"A64H120": (64, 120), "A32H120": (32, 120)}  # decode cores of heterogeneous chips
DECODE_HEAVY, PREFILL_HEAVY = (1.0, 1.15), (0.6, 0.85)  # target 15
CROSSING = (1, 5)
MOST = 1.4  # target 16


@dataclass(frozen=True)
class Way:
    """How requests are served: on which decode cores, and what differs from the study's way."""

    name: str
    cores: str = "homogeneous"
    fused: bool = False
    chunk: int | None = None
    kv_is_free: bool = False


WAYS = (
    Way("fusion", fused=True),
    Way("homogeneous"),
    Way("A64H120", "A64H120"),
    Way("A32H120", "A32H120"),
)
EQUAL = (
    Way("fusion, 35 layers", "equal stages", fused=True),
    Way("homogeneous, 35 layers", "equal stages"),
)
CHECKS = {
    "4B": (
        *EQUAL,
        Way(f"fusion, chunks of {CHUNK}", fused=True, chunk=CHUNK),
        Way("KV moves free", kv_is_free=True),
    ),
    "small": EQUAL,
}
Results = dict[tuple[str, str, str], Found]  # model, way, ratio


def study(quick: bool) -> Report:
    models = ["small"] if quick else list(MODELS)
    ratios = ["1:5", "2:1", "10:1"] if quick else list(RATIOS)
    checks = {} if quick else CHECKS
    requests = 30 if quick else REQUESTS
    results: Results = {}
    for name in models:
        benches = _benches(name)
        for way, ratio in product((*WAYS, *checks.get(name, ())), ratios):
            results[name, way.name, ratio] = run(benches[way.cores], way, ratio, requests)
    report = Report("PD fusion against disaggregation (targets 15 and 16)")
    for name in models:
        report.tables.append(_table(results, name, ratios))
        if name in checks:
            report.tables.append(_checks(results, name, ratios))
        report.verdicts += _fusion(results, name, ratios)
        report.verdicts.append(_heterogeneous(results, name, ratios))
    panels = {m: _lines(results, m, ratios) for m in models}
    report.figure = lines_figure(
        "Fusion and disaggregation", panels, "tokens in : tokens out", "tokens/s, fusion at 1:5 = 1"
    )
    return report


def _benches(name: str) -> dict[str, Bench]:
    """By `Way.cores`. 36 layers on 7 stages are 5 or 6 a stage; 35 are 5."""
    base = chip(**CHIP)
    same = {
        "homogeneous": Bench(base, name),
        "equal stages": Bench([*base, "model.num_hidden_layers=35"], name),
    }
    return same | {
        cores: Bench([*decode_cores(*given), LINK], name, "npu_hetero_pd")
        for cores, given in CORES.items()
    }


def run(bench: Bench, way: Way, ratio: str, requests: int) -> Found:
    prompt = round(RATIOS[ratio] * OUTPUT)
    if way.fused:
        own = fusion(9, min(prompt, way.chunk or prompt))
    else:
        own = split(6, 3, prompt, groups=way.cores in CORES)
    case = [*traffic(prompt, OUTPUT, requests), *pipelines(), *own]
    return bench.run(case, kv_is_free=way.kv_is_free)


def gains(results: Results, name: str, ratios: list[str], way: str, base: str) -> list[float]:
    """Throughput by makespan of `way` over `base`, by ratio."""
    return [results[name, way, r].tokens_s / results[name, base, r].tokens_s for r in ratios]


def by_latency(
    results: Results, name: str, ratios: list[str], ways: tuple[Way, Way] = WAYS[:2]
) -> list[float]:
    """Tokens by mean latency of the first way over the second."""
    fused, apart = (way.name for way in ways)
    return [
        results[name, fused, r].per_latency_s / results[name, apart, r].per_latency_s
        for r in ratios
    ]


def _published(ratios: list[str], way: str) -> list[float]:
    found = {float(r["ratio"]): float(r[way]) for r in rows_of("fusion_or_split")}
    return [found[RATIOS[r]] for r in ratios]


def _cells(texts: list[str]) -> str:
    return " / ".join(texts)


def _table(results: Results, name: str, ratios: list[str]) -> Table:
    rows = []
    for way in WAYS:
        own = [results[name, way.name, r] for r in ratios]
        over = gains(results, name, ratios, way.name, "fusion")
        raw = _published(ratios, way.name)
        fused = _published(ratios, "fusion")
        rows.append(
            [
                way.name,
                _cells([f"{f.tokens_s:,.0f}" for f in own]),
                _cells([f"{g:.2f}" for g in over]),
                _cells([f"{a / b:.2f}" for a, b in zip(raw, fused, strict=True)]),
                _cells([f"{f.tbt_ms:.1f}" for f in own]),
                _cells([f"{f.ttft_s:.2f}" for f in own]),
                _cells([f"{f.latency_s:.2f}" for f in own]),
            ]
        )
    title = f"{MODELS[name]}, in:out of {_cells(ratios)}"
    columns = ["", "tokens/s", "to fusion", "published", "TBT ms", "TTFT s", "latency s"]
    return Table(title, columns, rows)


def _checks(results: Results, name: str, ratios: list[str]) -> Table:
    """Fusion over homogeneous disaggregation, measured otherwise."""
    fused, apart = (way.name for way in EQUAL)
    cases = {
        "by makespan": gains(results, name, ratios, "fusion", "homogeneous"),
        "by mean latency": by_latency(results, name, ratios),
        "35 layers, by makespan": gains(results, name, ratios, fused, apart),
        "35 layers, by mean latency": by_latency(results, name, ratios, EQUAL),
    }
    if len(CHECKS[name]) > len(EQUAL):
        chunks, free = (way.name for way in CHECKS[name][2:])
        cases[f"chunks of {CHUNK}"] = gains(results, name, ratios, chunks, "homogeneous")
        cases[free] = gains(results, name, ratios, "fusion", free)
    raw = zip(_published(ratios, "fusion"), _published(ratios, "homogeneous"), strict=True)
    cases["published"] = [a / b for a, b in raw]
    rows = [[label, *(percent(g) for g in series)] for label, series in cases.items()]
    return Table(f"Fusion over homogeneous, {name}", ["", *ratios], rows)


def _fusion(results: Results, name: str, ratios: list[str]) -> list[Verdict]:
    """Target 15: ahead when decode-heavy, behind when prefill-heavy, one crossover."""
    over = gains(results, name, ratios, "fusion", "homogeneous")
    first, last = over[0], over[-1]
    ahead = DECODE_HEAVY[0] <= first <= DECODE_HEAVY[1]
    behind = PREFILL_HEAVY[0] <= last <= PREFILL_HEAVY[1]
    x = [RATIOS[r] for r in ratios]
    at = crossing(x, [1.0] * len(x), over)
    once = sum((a > 1) != (b > 1) for a, b in pairwise(over)) == 1
    between = at is not None and once and CROSSING[0] <= at <= CROSSING[1]
    where = f"{at:.1f}:1" if at else "none"
    text = f"{_cells(_signed(over))}; {where}"
    why = _why(results, name, ratios)
    found = (
        ("fusion is 0 to 15 % ahead at 1:5", ahead, percent(first)),
        ("fusion is 15 to 40 % behind at 10:1", behind, percent(last)),
        ("they cross once, between 1:1 and 5:1", between, text),
    )
    verdicts = []
    for rule, holds, what in found:
        said = any(verdict.why for verdict in verdicts)
        reason = "" if holds else "as above" if said else why
        verdicts.append(Verdict("15", f"{name}: {rule}", holds, what, reason))
    return verdicts


def _why(results: Results, name: str, ratios: list[str]) -> str:
    """What unequal stages, the study's metric and KV moves make of it."""
    r = ratios[-1]
    fused, apart = results[name, "fusion", r], results[name, "homogeneous", r]
    text = f"tokens by mean latency {_cells(_signed(by_latency(results, name, ratios)))}"
    if (name, EQUAL[0].name, r) in results:
        equal = gains(results, name, ratios, *(way.name for way in EQUAL))
        text = (
            "of 36 layers one of 7 stages has 6 and sets the pace where all are busy, which is so "
            f"when split ({REQUESTS // 3} requests a pipeline), not in fusion ({REQUESTS // 9}); "
            "with 35 layers "
            f"{_cells(_signed(equal))}, by mean latency "
            f"{_cells(_signed(by_latency(results, name, ratios, EQUAL)))}; with 36 {text}"
        )
    return (
        f"{text}; at {r} fusion's TTFT and TBT are {fused.ttft_s:.2f} s and {fused.tbt_ms:.1f} ms, "
        f"when split {apart.ttft_s:.2f} and {apart.tbt_ms:.1f}, KV takes {1000 * apart.move_s:.1f} "
        "ms a request"
    )


def _signed(ratios: list[float]) -> list[str]:
    return [percent(ratio) for ratio in ratios]


def _heterogeneous(results: Results, name: str, ratios: list[str]) -> Verdict:
    """Target 16: ahead of fusion in most mixes, by at most about 40 %."""
    over = gains(results, name, ratios, "A64H120", "fusion")
    most = sum(g > 1 for g in over) > len(over) / 2
    holds = most and max(over) <= MOST
    rule = f"{name}: A64H120 is ahead of fusion in most mixes, by at most 40 %"
    why = "" if holds else _why_heterogeneous(results, name, ratios)
    return Verdict("16", rule, holds, " / ".join(percent(g) for g in over), why)


def _why_heterogeneous(results: Results, name: str, ratios: list[str]) -> str:
    r = ratios[0]
    base, wide = results[name, "homogeneous", r], results[name, "A64H120", r]
    return (
        f"at {r} twice the bandwidth takes a decode step of {base.tbt_ms:.1f} ms to "
        f"{wide.tbt_ms:.1f}: it is the loading of weights (see heterogeneous_decode), which the "
        "cores of fusion do at 60 GB/s"
    )


def _lines(results: Results, name: str, ratios: list[str]) -> list[Line]:
    lines = []
    base, raw_base = results[name, "fusion", ratios[0]].tokens_s, _published(ratios, "fusion")[0]
    for color, way in enumerate(WAYS):
        y = [results[name, way.name, r].tokens_s / base for r in ratios]
        lines.append(Line(f"{way.name} npusim", ratios, y, color))
        raw = [t / raw_base for t in _published(ratios, way.name)]
        lines.append(Line(f"{way.name} published", ratios, raw, color, dash=True))
    return lines


if __name__ == "__main__":
    main(__file__, __doc__, study)
