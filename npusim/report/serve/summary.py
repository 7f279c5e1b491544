"""Result of serving → a sentence that says what binds, and a few tables, for a terminal."""

from typing import Any

from npusim.report.serve.schema import DISTRIBUTIONS
from npusim.report.serve.sentence import PARTS_TEXT, goals, sentence
from npusim.report.summary import Summary, Table
from npusim.report.text import percent
from npusim.units import format_bytes, format_ps

MAX_ROWS = 12
SHORT = {"ttft": "TTFT", "tbt": "TBT", "tpot": "TPOT"}


def summarize_serve(result: dict[str, Any]) -> Summary:
    """The summary of a result of serving, see result.serve_result."""
    metrics = result["metrics"]
    tables = [_served(result), _latency(metrics), _where(metrics), _roles(metrics)]
    tables += [_instances(metrics), _moves(metrics)]
    return Summary(sentence(result), [t for t in tables if t.rows], result["notes"], [])


def _served(result: dict[str, Any]) -> Table:
    m = result["metrics"]
    counts = m["requests"]
    rows = [["requests", f"{counts['count']:,}"]]
    rows += [[f"  {n}", f"{counts[n]:,}"] for n in ("done", *OTHERS) if counts[n] or n == "done"]
    rows.append(["iterations", f"{_num_iterations(m):,}, timed by {result['iteration']['kind']}"])
    if m["makespan_ps"]:
        rows += [
            ["makespan", format_ps(m["makespan_ps"])],
            ["output tokens", f"{m['output_tokens']:,} ({m['output_tokens_s']:,.1f}/s)"],
            ["all tokens", f"{_all_tokens(m):,} ({m['total_tokens_s']:,.1f}/s)"],
            ["requests a second", f"{m['requests_s']:,.3f}"],
            ["output / mean latency", f"{_study(m):,.1f}/s (arXiv 2510.05632; no throughput)"],
        ]
    if m["prefix_hit_fraction"]:
        rows.append(["prompt tokens cached", percent(m["prefix_hit_fraction"])])
    return Table("Served", ["", "value"], rows + _goodput_rows(m["goodput"]))


def _goodput_rows(goodput: dict[str, Any] | None) -> list[list[str]]:
    if not goodput or goodput["fraction"] is None:
        return []
    share = f"{goodput['requests']:,} requests, {percent(goodput['fraction'])}"
    rate = f" ({goodput['requests_s']:,.3f}/s)" if goodput["requests_s"] is not None else ""
    return [["goodput", share + rate], ["  goals", goals(goodput)]]


def _num_iterations(metrics: dict[str, Any]) -> int:
    return sum(row["num_iterations"] for row in metrics["instances"])


def _all_tokens(metrics: dict[str, Any]) -> int:
    return metrics["prompt_tokens"] + metrics["output_tokens"]


def _study(metrics: dict[str, Any]) -> float:
    return metrics["output_tokens_per_mean_latency_s"] or 0.0


def _latency(metrics: dict[str, Any]) -> Table:
    rows = []
    for name in DISTRIBUTIONS:
        found = metrics[name]
        if found["count"]:
            times = [format_ps(found[f"{key}_ps"]) for key in ("mean", "p50", "p90", "p99", "max")]
            rows.append([SHORT.get(name, name), *times, f"{found['count']:,}"])
    return Table("Latencies", ["", "mean", "p50", "p90", "p99", "max", "count"], rows)


def _where(metrics: dict[str, Any]) -> Table:
    total = metrics["latency"]["mean_ps"]
    rows = [
        [
            text,
            format_ps(metrics["where"][f"{part}_ps"]),
            _of(metrics["where"][f"{part}_ps"], total),
        ]
        for part, text in PARTS_TEXT.items()
        if total and (part != "handover" or metrics["transfers"])
    ]
    return Table("Where the mean latency went", ["", "mean", "share"], rows)


def _of(part_ps: int, total_ps: int) -> str:
    return percent(part_ps / total_ps)


def _roles(metrics: dict[str, Any]) -> Table:
    roles = metrics["roles"]
    if len(roles) == len(metrics["instances"]):
        return Table("", [], [])
    rows = [
        [f"{row['role']} ({row['num_instances']})", *_use(row), _share(row["kv_peak_fraction"])]
        for row in roles
    ]
    return Table("Roles", ["role", *USE, "KV peak"], rows)


def _instances(metrics: dict[str, Any]) -> Table:
    found = metrics["instances"]
    rows = [
        [row["name"], *_use(row), _share(row["kv_peak_fraction"]), f"{row['max_waiting']:,}"]
        for row in found[:MAX_ROWS]
    ]
    shown = f" ({len(found)}, {MAX_ROWS} shown)" if len(found) > MAX_ROWS else ""
    return Table(f"Instances{shown}", ["instance", *USE, "KV peak", "waiting"], rows)


def _use(row: dict[str, Any]) -> list[str]:
    batch = "-" if row["mean_requests"] is None else f"{row['mean_requests']:.1f}"
    return [
        f"{row['num_cores']:,}",
        _share(row["busy_fraction"]),
        f"{row['num_iterations']:,}",
        batch,
        f"{row['preemptions']:,}",
        _share(row["kv_mean_fraction"]),
    ]


def _share(fraction: float | None) -> str:
    return "-" if fraction is None else percent(fraction)


def _moves(metrics: dict[str, Any]) -> Table:
    rows = []
    for row in metrics["transfers"]:
        rate = "-" if row["mean_gb_s"] is None else f"{row['mean_gb_s']:,.1f}"
        times = format_ps(row["mean_ps"]), format_ps(row["max_ps"])
        kind, size = row["kind"].replace("_", " "), format_bytes(row["bytes"])
        rows.append([kind, f"{row['count']:,}", size, *times, rate])
    return Table("Moves of KV", ["", "count", "bytes", "mean", "max", "GB/s"], rows)


OTHERS = ("rejected", "unfinished", "preempted")
USE = ("cores", "busy", "iterations", "batch", "preempted", "KV mean")
