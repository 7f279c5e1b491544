"""Targets 3 and 4: partition strategies over prompt length, TP 4 x PP 16, 16 layers, 20 tokens out.

The published figure joins one prefill and 19 decode steps, and the released program's decode steps
still move messages as large as the prompt's (it is known to: a defect). So three things are shown:
the whole answer as npusim simulates it, its prefill alone, and the whole answer with every decode
step lengthened by the wire time of prompt-sized messages ("as released").
"""

from dataclasses import dataclass
from itertools import pairwise, product

from show import Line, Report, Table, Verdict, crossing, lines_figure, main, published, tokens
from study import CHIP_A, CHIP_B, block, chip, generate, mapping, ms, run, spills
from traffic import closed_form

CHIPS = {"A": CHIP_A, "B": CHIP_B}
PARTITIONS = {"k": "K", "mn": "M/N", "mnk": "2-D"}
LAYERS, OUTPUT_TOKENS = 16, 20
LEGEND = (
    "chip A: one 64x64 array, 32 MiB, 60 GB/s; chip B: four 64x64 arrays, 128 MiB, 999 GB/s; "
    "links 160 GB/s.\n"
    "total, prefill: npusim; released: npusim with the wire time of prompt-sized messages added to "
    "every decode step;\nfigure: published bars (fig); program: the released program when run; "
    "spills: strategies whose activations left the scratchpad."
)
SWITCH = {"4B": (512, 1024), "8B": (850, 1400)}  # target 3: where 2-D overtakes K
PUBLISHED_SLOPE = 0.43  # target 4: M/N's over K's, worked out of times in arXiv 2510.05632v1


@dataclass(frozen=True)
class Found:
    """Times in ms of one case; `step` is the first decode step; `spilled` says if activations did
    not fit the scratchpad."""

    total: float
    prefill: float
    step: float
    released: float
    spilled: bool


Results = dict[tuple[str, str, str, int], Found]  # chip, model, partition, prompt tokens


def study(quick: bool) -> Report:
    chips = ("B",) if quick else ("A", "B")
    models = ("4B",) if quick else ("4B", "8B")
    lengths = (256, 1024) if quick else (256, 512, 1024, 2048, 4096)
    results = {key: simulate(*key) for key in product(chips, models, PARTITIONS, lengths)}
    report = Report("Partition strategies over prompt length (targets 3 and 4)")
    for c, m in product(chips, models):
        report.tables.append(_table(results, c, m, lengths))
        report.verdicts += _orders(results, c, m, lengths)
        report.verdicts += _shapes(results, c, m, lengths)
    report.notes += [LEGEND, *(_distance(results, c, models, lengths) for c in chips)]
    panels = {f"{m}, chip {c}": _lines(results, c, m, lengths) for c, m in product(chips, models)}
    report.figure = lines_figure("20 tokens out, TP 4 x PP 16", panels, "prompt tokens", "ms")
    return report


def simulate(chip_name: str, model: str, partition: str, prompt_tokens: int) -> Found:
    overrides = [
        *chip(**CHIPS[chip_name]),
        *block(model, LAYERS),
        *mapping(partition),
        *generate(prompt_tokens, OUTPUT_TOKENS),
    ]
    done = run(overrides, model)
    prefill, step = (ms(done.iterations[i].makespan_ps) for i in (0, 1))
    total = ms(done.makespan_ps)
    wire = _prompt_messages_ms(model, partition, prompt_tokens, CHIPS[chip_name]["link_gb_s"])
    released = total + (OUTPUT_TOKENS - 1) * wire
    return Found(total, prefill, step, released, bool(spills(done)))


def _prompt_messages_ms(model: str, partition: str, prompt_tokens: int, link_gb_s: int) -> float:
    """Wire time of all layers' messages that grow with the prompt (terms in T of the closed forms;
    rotating weights are in a decode step already)."""
    elements = closed_form(model, partition, prompt_tokens) - closed_form(model, partition, 0)
    return LAYERS * elements / link_gb_s / 1e6  # int8; GB/s = bytes/ns


def _table(results: Results, c: str, m: str, lengths) -> Table:
    rows = []
    for t in lengths:
        found = {p: results[c, m, p, t] for p in PARTITIONS}
        rows.append(
            [
                t,
                _three(f.total for f in found.values()),
                _three(f.prefill for f in found.values()),
                _three(f.released for f in found.values()),
                _published(m, "fig", "", t),
                _published(m, "run", c, t),
                PARTITIONS[min(found, key=lambda p: found[p].total)],
                ", ".join(PARTITIONS[p] for p, f in found.items() if f.spilled) or "-",
            ]
        )
    columns = ["tokens", "total K / M/N / 2-D", "prefill", "released", "figure", "program"]
    return Table(f"Qwen3-{m} (16 layers), chip {c}, ms", [*columns, "best", "spills"], rows)


def _three(values) -> str:
    return " / ".join(f"{value:.0f}" for value in values)


def _published(model: str, mark: str, chip_name: str, prompt_tokens: int) -> str:
    for row in published("strategies"):
        if (row["model"], row["mark"], row["chip"], row["tokens"]) == (
            model,
            mark,
            chip_name,
            str(prompt_tokens),
        ):
            return f"{row['k_ms']} / {row['mn_ms']} / {row['mnk_ms']}"
    return "-"


def _distance(results: Results, c: str, models, lengths) -> str:
    """How far the published bars are from what a chip gives; the figure does not name its chip."""
    rows = [r for r in published("strategies") if r["mark"] == "fig" and r["model"] in models]
    rows = [r for r in rows if int(r["tokens"]) in lengths]
    far = {}
    for what in ("total", "released"):
        errors = [
            getattr(results[c, r["model"], p, int(r["tokens"])], what) / float(r[f"{p}_ms"]) - 1
            for r in rows
            for p in PARTITIONS
        ]
        far[what] = sum(map(abs, errors)) / len(errors)
    text = ", ".join(f"{what} {error:.0%}" for what, error in far.items())
    return f"chip {c} against the figure, mean absolute difference of {3 * len(rows)} bars: {text}"


def _series(results: Results, c: str, m: str, p: str, lengths, what: str) -> list[float]:
    return [getattr(results[c, m, p, t], what) for t in lengths]


def _orders(results: Results, c: str, m: str, lengths) -> list[Verdict]:
    """Target 3."""
    name = f"{m}, chip {c}"
    total = {p: _series(results, c, m, p, lengths, "total") for p in PARTITIONS}
    best = [min(PARTITIONS, key=lambda p: total[p][i]) for i in range(len(lengths))]
    short = {t: PARTITIONS[b] for t, b in zip(lengths, best, strict=True) if t <= 512}
    never = all(b != "mn" for b in best)
    by_k = all(b == "K" for b in short.values())
    k_mn = crossing(lengths, total["k"], total["mn"])
    known = [t for t in lengths if t <= 2048]
    short_k_mn = crossing(known, total["k"][: len(known)], total["mn"][: len(known)])
    return [
        Verdict(
            "3",
            f"{name}: K best up to 512 tokens",
            by_k,
            f"best {short}",
            "" if by_k else _why_k(results, c, m),
        ),
        _switch(results, c, m, lengths),
        Verdict(
            "3", f"{name}: M/N never best", never, f"best by length {[PARTITIONS[b] for b in best]}"
        ),
        Verdict(
            "3",
            f"{name}: K stays ahead of M/N to 2,048 tokens",
            short_k_mn is None,
            f"K meets M/N {tokens(k_mn)}",
        ),
    ]


def _switch(results: Results, c: str, m: str, lengths) -> Verdict:
    low, high = SWITCH[m]
    at = {
        what: crossing(
            lengths,
            _series(results, c, m, "k", lengths, what),
            _series(results, c, m, "mnk", lengths, what),
        )
        for what in ("total", "prefill", "released")
    }
    holds = at["total"] is not None and low <= at["total"] <= high
    names = {"total": "whole answer", "prefill": "prefill alone", "released": "as released"}
    found = ", ".join(f"{names[what]} {tokens(x)}" for what, x in at.items())
    rule = f"{m}, chip {c}: 2-D overtakes K at {low} to {high:,} tokens"
    return Verdict(
        "3", rule, holds, found, "" if holds else _why_switch(results, c, m, lengths, at)
    )


def _why_k(results: Results, c: str, m: str) -> str:
    k, grid = results[c, m, "k", 256], results[c, m, "mnk", 256]
    return f"prefill of 256 tokens takes {k.prefill:.1f} ms by K, {grid.prefill:.1f} by 2-D"


def _why_switch(results: Results, c: str, m: str, lengths, at: dict) -> str:
    middle = lengths[len(lengths) // 2]
    k, grid = results[c, m, "k", middle], results[c, m, "mnk", middle]
    lost = (OUTPUT_TOKENS - 1) * (grid.step - k.step)
    gained = k.prefill - grid.prefill
    text = (
        f"at {middle:,} tokens 2-D gains {gained:+.1f} ms in the prefill and loses {lost:.1f} ms "
        f"in {OUTPUT_TOKENS - 1} decode steps ({grid.step:.2f} ms each, K {k.step:.2f}): weights "
        "rotate for a row"
    )
    if at["released"] is not None and (at["total"] is None or at["released"] < at["total"]):
        text += "; messages as long as the prompt's in decode move the switch down"
    return text


def _shapes(results: Results, c: str, m: str, lengths) -> list[Verdict]:
    """Target 4: growth of K by doublings, and slope and constant of M/N against K's."""
    name = f"{m}, chip {c}"
    found = {t: results[c, m, "k", t] for t in lengths}
    growth = [
        (
            b / a,
            found[b],
            found[b].prefill / found[a].prefill,
        )
        for a, b in pairwise(lengths)
    ]
    fitting = [ratio / factor for factor, case, ratio in growth if not case.spilled]
    spilling = [ratio / factor for factor, case, ratio in growth if case.spilled]
    steeper = not spilling or max(spilling) > 1.1
    holds = steeper and all(0.9 <= g <= 1.1 for g in fitting)
    text = f"prefill a token grows by {_factors(fitting)} a doubling while all fits"
    text += f", by {_factors(spilling)} with spills"
    why = "" if holds else _why_growth(results, c, m, lengths)
    inside = [
        t
        for t in lengths
        if not results[c, m, "k", t].spilled and not results[c, m, "mn", t].spilled
    ]
    return [
        Verdict(
            "4", f"{name}: K proportional to length until it spills, then steeper", holds, text, why
        ),
        *([_slopes(results, c, m, inside)] if len(inside) > 1 else []),
    ]


def _factors(values: list[float]) -> str:
    return ", ".join(f"{v:.2f}" for v in values) or "no case"


def _why_growth(results: Results, c: str, m: str, lengths) -> str:
    last = lengths[-1]
    spilled = [t for t in lengths if results[c, m, "k", t].spilled]
    mn = results[c, m, "mn", last].prefill / results[c, m, "mn", lengths[-2]].prefill
    return (
        f"K's activations spill at {spilled or 'no length'}; attention grows with the square of "
        f"the length in all strategies (M/N's last step: {mn / (last / lengths[-2]):.2f})"
    )


def _slopes(results: Results, c: str, m: str, inside: list[int]) -> Verdict:
    """Straight lines through the first and the last length at which nothing spills."""
    a, b = inside[0], inside[-1]
    slope, start = {}, {}
    for p in ("k", "mn"):
        low, high = results[c, m, p, a].total, results[c, m, p, b].total
        slope[p] = (high - low) / (b - a)
        start[p] = low - slope[p] * a
    holds = slope["mn"] < slope["k"] and start["mn"] > start["k"]
    text = (
        f"{a} to {b:,} tokens: K {start['k']:.0f} ms + {slope['k'] * 1000:.0f} us a token, "
        f"M/N {start['mn']:.0f} ms + {slope['mn'] * 1000:.0f} us "
        f"({slope['mn'] / slope['k']:.2f} of K's; {PUBLISHED_SLOPE} published)"
    )
    return Verdict("4", f"{m}, chip {c}: M/N a large constant and a smaller slope", holds, text)


def _lines(results: Results, c: str, m: str, lengths) -> list[Line]:
    lines = []
    rows = [r for r in published("strategies") if r["model"] == m and r["mark"] == "fig"]
    for i, (p, name) in enumerate(PARTITIONS.items()):
        lines.append(
            Line(f"{name} npusim", lengths, _series(results, c, m, p, lengths, "total"), i)
        )
        x = [int(r["tokens"]) for r in rows]
        lines.append(
            Line(f"{name} published", x, [float(r[f"{p}_ms"]) for r in rows], i, dash=True)
        )
    return lines


if __name__ == "__main__":
    main(__file__, __doc__, study)
