"""Two results of serving → tables of what changed: totals, latencies, where the latency went."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from npusim.report.serve.schema import DISTRIBUTIONS
from npusim.report.serve.sentence import PARTS_TEXT
from npusim.report.summary import Table
from npusim.report.text import percent
from npusim.units import format_ps

COLUMNS = ["", "A", "B", "B / A"]
Result = dict[str, Any]


def compare_served(a: Result, b: Result) -> list[Table]:
    """What changed from result `a` of serving to result `b`; `-` where one has no such figure."""
    return [_setups(a, b), _totals(a, b), _latencies(a, b), _where(a, b), _roles(a, b)]


def _setups(a: Result, b: Result) -> Table:
    """What tells the two apart, as far as a line says it."""
    rows = [[name, read(a), read(b)] for name, read in SETUPS.items()]
    return Table("Served", ["", "A", "B"], rows)


def _totals(a: Result, b: Result) -> Table:
    rows = []
    for name, (read, text) in TOTALS.items():
        values = [read(result["metrics"]) for result in (a, b)]
        if any(value is not None for value in values):
            rows.append([name, *_row(values, text)])
    return Table("Totals", COLUMNS, rows)


def _latencies(a: Result, b: Result) -> Table:
    rows = []
    for name in DISTRIBUTIONS:
        for rank in ("mean", "p50", "p99"):
            values = [result["metrics"][name][f"{rank}_ps"] for result in (a, b)]
            rows.append([f"{name} {rank}", *_row(values, format_ps)])
    return Table("Latencies", COLUMNS, rows)


def _where(a: Result, b: Result) -> Table:
    rows = [
        [text, *_row([r["metrics"]["where"][f"{part}_ps"] for r in (a, b)], format_ps)]
        for part, text in PARTS_TEXT.items()
    ]
    return Table("Where the mean latency went", COLUMNS, rows)


def _roles(a: Result, b: Result) -> Table:
    first, second = ({row["role"]: row for row in r["metrics"]["roles"]} for r in (a, b))
    rows = []
    for role in first | second:
        values = [(found.get(role) or {}).get("busy_fraction") for found in (first, second)]
        rows.append([f"{role}, busy", *_row(values, percent)])
    return Table("Roles", COLUMNS, rows)


def _row(values: list[Any], text: Callable[[Any], str]) -> list[str]:
    first, second = values
    ratio = f"{second / first:.3f}" if first and second is not None else "-"
    return [*("-" if value is None else text(value) for value in values), ratio]


def _count(value: float) -> str:
    return f"{value:,}"


def _rate(value: float) -> str:
    return f"{value:,.2f}"


def _instances(result: Result) -> str:
    counts = Counter(row["role"] for row in result["instances"])
    return ", ".join(f"{count} {role}" for role, count in counts.items())


SETUPS: dict[str, Callable[[Result], str]] = {
    "chip": lambda r: r["hardware"]["name"] if r["hardware"] else "-",
    "model": lambda r: r["model"]["name"] if r["model"] else "-",
    "instances": _instances,
    "iterations timed by": lambda r: r["iteration"]["kind"],
    "partial": lambda r: r["partial"] or "no",
}
TOTALS: dict[str, tuple[Callable[[Result], Any], Callable[[Any], str]]] = {
    "requests done": (lambda m: m["requests"]["done"], _count),
    "requests rejected": (lambda m: m["requests"]["rejected"], _count),
    "requests preempted": (lambda m: m["requests"]["preempted"], _count),
    "makespan": (lambda m: m["makespan_ps"], format_ps),
    "output tokens a second": (lambda m: m["output_tokens_s"], _rate),
    "requests a second": (lambda m: m["requests_s"], _rate),
    "good requests": (lambda m: m["goodput"] and m["goodput"]["fraction"], percent),
    "prompt tokens cached": (lambda m: m["prefix_hit_fraction"], percent),
}
