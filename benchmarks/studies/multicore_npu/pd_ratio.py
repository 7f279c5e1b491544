"""Target 13: cores for prefill and for decode, P:D of 49:14 to 14:49, three task mixes.

Chip: 64x64 arrays, 60 GB/s, 32 MiB scratchpad, 160 GB/s links, as the base of section 7.3.
"""

from itertools import pairwise, product

from served import (
    MODELS,
    REQUESTS,
    STAGES,
    WORKLOADS,
    Bench,
    Found,
    pipelines,
    split,
    traffic,
    values,
)
from show import Line, Report, Table, Verdict, lines_figure, main
from study import chip

RATIOS = ((7, 2), (6, 3), (4, 4), (3, 6), (2, 7))  # pipelines that prefill, that decode
PUBLISHED = (0, 1, 3, 4)  # of RATIOS
CHIP = {"array": 64, "sram_mib": 32, "hbm_gb_s": 60, "link_gb_s": 160}
TBT_MS = 3  # published: 3 to 4 (fig)
LIVE = (890, 3, 12)  # tokens in and out, requests of the check against live iterations
SAME = 0.002  # two latencies so close are equal

Results = dict[tuple[str, str, int], Found]  # model, workload, index of the ratio


def study(quick: bool) -> Report:
    models = ["small"] if quick else list(MODELS)
    workloads = ["TriviaQA", "chat"] if quick else list(WORKLOADS)
    requests = 40 if quick else REQUESTS
    results: Results = {}
    for name in models:
        bench = Bench(chip(**CHIP), name)
        for workload, i in product(workloads, range(len(RATIOS))):
            prompt, output = WORKLOADS[workload]
            case = [*traffic(prompt, output, requests), *pipelines()]
            results[name, workload, i] = bench.run([*case, *split(*RATIOS[i], prompt)])
    report = Report("Cores for prefill and for decode (target 13)")
    report.tables = [_table(results, m, w) for m, w in product(models, workloads)]
    report.notes = [note for w in workloads if (note := _lengths_note(w))]
    if not quick:
        report.notes.append(_live_note())
    for name in models:
        report.verdicts.append(_optimum(results, name, workloads))
        report.verdicts += [_shape(results, name, w) for w in workloads]
    panels = {f"{w}, {m}": _lines(results, m, w) for w, m in product(workloads, models)}
    report.figure = lines_figure(
        "Mean latency", panels, "prefill cores of 63", "s", log="y", columns=len(models)
    )
    return report


def latencies(results: Results, name: str, workload: str) -> list[float]:
    return [results[name, workload, i].latency_s for i in range(len(RATIOS))]


def best(times: list[float]) -> int:
    """Index of the smallest."""
    return times.index(min(times))


def one_minimum(times: list[float]) -> bool:
    """Whether times fall, then rise; differences below SAME do not count."""
    low = best(times)
    falls = all(b <= a * (1 + SAME) for a, b in pairwise(times[: low + 1]))
    return falls and all(b >= a * (1 - SAME) for a, b in pairwise(times[low:]))


def cores(index: int) -> str:
    prefill, decode = RATIOS[index]
    return f"P{prefill * STAGES}/D{decode * STAGES}"


def _published(workload: str) -> dict[int, float]:
    found = values("pd_ratio", "latency_s", workload=workload)
    return dict(zip(PUBLISHED, found, strict=True))


def _table(results: Results, name: str, workload: str) -> Table:
    raw = _published(workload)
    base = results[name, workload, 1].latency_s
    rows = []
    for i in range(len(RATIOS)):
        f = results[name, workload, i]
        row = [cores(i), f"{f.latency_s:.3f}", f"{f.latency_s / base:.2f}"]
        row += [f"{raw[i]:.3f}", f"{raw[i] / raw[1]:.2f}"] if i in raw else ["", ""]
        row += [f"{f.ttft_s:.3f}", f"{f.tbt_ms:.2f}", f"{f.handover_s:.3f}"]
        rows.append([*row, f"{1000 * f.move_s:.2f}", f"{f.tokens_s:,.0f}"])
    prompt, output = WORKLOADS[workload]
    title = f"{workload} ({prompt} in, {output} out), {MODELS[name]}"
    columns = ["cores", "latency s", "to P42", "published", "to P42", "TTFT s", "TBT ms"]
    return Table(title, [*columns, "to decode s", "KV moves ms", "tokens/s"], rows)


def _lengths_note(workload: str) -> str:
    """Says so where the published latency has no room for the tokens out at the published TBT."""
    _, output = WORKLOADS[workload]
    each_ms = 1000 * min(_published(workload).values()) / output
    if each_ms >= TBT_MS:
        return ""
    return (
        f"{workload}: the best published latency leaves {each_ms:.1f} ms for each of the {output} "
        f"tokens out, and the published TBT is {TBT_MS} ms or more: latencies are of other lengths"
    )


def _live_note() -> str:
    """Memo against live, where iterations and moves of KV share one machine."""
    prompt, output, requests = LIVE
    case = [*traffic(prompt, output, requests), *pipelines(), *split(6, 3, prompt)]
    memo, live = (
        Bench(chip(**CHIP), "small").run([*case, f"serving.iteration={kind}"])
        for kind in ("memo", "live")
    )
    return (
        f"small, P42/D21, {requests} requests of {prompt} in and {output} out, kept iterations "
        f"(memo) over all on one machine (live): latency {memo.latency_s / live.latency_s:.4f}, "
        f"TTFT {memo.ttft_s / live.ttft_s:.4f}, TBT {memo.tbt_ms / live.tbt_ms:.4f}"
    )


def _optimum(results: Results, name: str, workloads: list[str]) -> Verdict:
    """The best number of prefill cores falls from prefill-heavy to decode-heavy."""
    found = [best(latencies(results, name, w)) for w in workloads]
    holds = found == sorted(found) and found[0] < found[-1]
    text = ", ".join(f"{w} {cores(i)}" for w, i in zip(workloads, found, strict=True))
    rule = f"{name}: the best P:D falls from prefill-heavy to decode-heavy"
    return Verdict("13", rule, holds, text, "" if holds else _steps(results, name, workloads))


def _steps(results: Results, name: str, workloads: list[str]) -> str:
    """What a decode step takes at most and at least decode cores."""
    parts = []
    for w in workloads:
        few, many = results[name, w, 0], results[name, w, len(RATIOS) - 1]
        parts.append(f"{w} TBT {few.tbt_ms:.2f} to {many.tbt_ms:.2f} ms, TTFT {few.ttft_s:.2f} to "
                     f"{many.ttft_s:.2f} s")  # fmt: skip
    return f"from P49/D14 to P14/D49: {'; '.join(parts)}"


def _shape(results: Results, name: str, workload: str) -> Verdict:
    """Latency has one minimum; published: at the P-rich end for TriviaQA, inside for the others."""
    times = latencies(results, name, workload)
    low, inside = best(times), workload != "TriviaQA"
    place = 0 < low < len(times) - 1 if inside else low == 0
    holds = one_minimum(times) and place
    rule = f"{name}, {workload}: latency is U-shaped, lowest " + (
        "inside" if inside else "at P49/D14"
    )
    text = f"{' / '.join(f'{t:.3f}' for t in times)} s, lowest at {cores(low)}"
    return Verdict("13", rule, holds, text, "" if holds else _why_shape(results, name, workload))


def _why_shape(results: Results, name: str, workload: str) -> str:
    last, before = (results[name, workload, len(RATIOS) - k] for k in (1, 2))
    _, output = WORKLOADS[workload]
    saved = (before.tbt_ms - last.tbt_ms) * (output - 1) / 1000
    return (
        f"the last 7 cores that go to decode add {last.ttft_s - before.ttft_s:.3f} s of TTFT and "
        f"save {saved:.3f} s of steps ({before.tbt_ms:.2f} to {last.tbt_ms:.2f} ms): prefill of "
        f"{WORKLOADS[workload][0]} tokens is {last.ttft_s / last.latency_s:.0%} of the latency"
    )


def _lines(results: Results, name: str, workload: str) -> list[Line]:
    x = [p * STAGES for p, _ in RATIOS]
    raw = _published(workload)
    return [
        Line("npusim", x, latencies(results, name, workload)),
        Line("published", [x[i] for i in raw], list(raw.values()), 0, dash=True),
    ]


if __name__ == "__main__":
    main(__file__, __doc__, study)
