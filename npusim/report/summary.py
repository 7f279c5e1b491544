"""Setup and Run → a sentence that says what binds, and a few tables, for a terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from npusim.report.kernel_summary import kernel_rows
from npusim.report.result import result_dict
from npusim.report.sentence import channel_bytes, sentence
from npusim.report.stalls import CAUSES
from npusim.report.text import percent
from npusim.trace import Run
from npusim.units import PS_PER_NS, format_bytes, format_ps

if TYPE_CHECKING:
    from npusim.spec.load import Setup

MAX_ROWS = 12
BUSIEST = 5


@dataclass(frozen=True)
class Table:
    """Rows of text under column names; the first column is left-aligned, the others right."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Summary:
    """What a user reads first. `failed_checks`: conservation checks that do not hold."""

    sentence: str
    tables: list[Table]
    notes: list[str]
    failed_checks: list[str]


def summarize(setup: "Setup", run: Run, result: dict[str, Any] | None = None) -> Summary:
    """The summary of a run; `result` spares its result_dict being worked out again."""
    result = result or result_dict(setup, run)
    tables = [_totals(result), _stalls(result), _operators(result)]
    if len(result["iterations"]) > 1:
        tables.append(_iterations(result))
    tables += [_busiest("memory channels", result["per_channel"], "peak_gb_s", channel_bytes)]
    tables += [_busiest("NoC links", result["per_link"], "gb_s", _link_bytes)]
    failed = [
        f"{c['name']}: {c['left']:,} and {c['right']:,}" for c in result["checks"] if not c["ok"]
    ]
    return Summary(sentence(result), [t for t in tables if t.rows], result["notes"], failed)


def _totals(result: dict[str, Any]) -> Table:
    t = result["totals"]
    rows = [["makespan", format_ps(t["makespan_ps"])]]
    if t["new_tokens"]:
        rows.append(["tokens computed", f"{t['new_tokens']:,} ({t['tokens_s']:,.1f}/s)"])
    if t["output_tokens"]:
        rows.append(["tokens sampled", f"{t['output_tokens']:,} ({t['output_tokens_s']:,.1f}/s)"])
    rows += [
        ["work", f"{t['flops'] / 1e9:,.2f} GFLOP in {t['num_tasks']:,} tasks"],
        ["compute", _of_peak(t["flops_s"] / 1e12, t["peak_flops_s"] / 1e12, "TFLOP/s")],
        *_memories(result),
        ["loaded", format_bytes(t["load_bytes"])],
        ["stored", format_bytes(t["store_bytes"])],
        ["sent between cores", format_bytes(t["message_bytes"])],
    ]
    return Table("Totals", ["", "value"], rows)


def _memories(result: dict[str, Any]) -> list[list[str]]:
    """Achieved bandwidth, of each kind of memory where a chip has several. That of kernels is what
    it sustains, `memory_efficiency_fraction` of the data sheet's."""
    t, kinds = result["totals"], result["per_memory"]
    if len(kinds) < 2:
        return [["memory", _of_peak(t["memory_gb_s"], t["peak_memory_gb_s"], "GB/s")]]
    sustained = (result["hardware"]["kernels"] or {}).get("memory")
    rows = []
    for row in kinds:
        name = f"{row['name']}, sustained" if row["name"] == sustained else row["name"]
        rows.append([name, _of_peak(row["gb_s"], row["used_peak_gb_s"], "GB/s")])
    return rows


def _of_peak(value: float, peak: float, unit: str) -> str:
    share = f" ({percent(value / peak)} of {peak:,.1f})" if peak else ""
    return f"{value:,.2f} {unit}{share}"


def _stalls(result: dict[str, Any]) -> Table:
    cores = result["per_core"]
    makespan = max(result["totals"]["makespan_ps"], 1)
    rows = []
    for cause in CAUSES:
        values = np.array([core[f"{cause}_ps"] for core in cores], float)
        worst = int(values.argmax())
        worst_text = f"{percent(values[worst] / makespan)}  core {cores[worst]['name']}"
        name = cause.replace("_", " ")
        rows.append([name, percent(values.mean() / makespan), format_ps(values.mean()), worst_text])
    return Table("Where core time went", ["", "mean", "time", "most on one core"], rows)


def _operators(result: dict[str, Any]) -> Table:
    if result["hardware"]["kernels"]:
        columns, rows = kernel_rows(result, MAX_ROWS)
        return Table("Kernels, over layers", columns, rows)
    uses = sorted(result["per_operator"], key=lambda use: -_core_ps(use))
    total = sum(map(_core_ps, uses)) or 1
    columns = ["operator", "core time", "compute", "memory", "noc", "wait", "GFLOP", "bytes"]
    rows = []
    for use in uses[:MAX_ROWS]:
        spent = _core_ps(use) or 1
        parts = [percent(use[f"{cause}_ps"] / spent) for cause in CAUSES[:4]]
        moved = use["load_bytes"] + use["store_bytes"]
        name = f"{use['operator']} ({use['phase']})" if use["phase"] else use["operator"]
        share = percent(_core_ps(use) / total)
        rows.append([name, share, *parts, f"{use['flops'] / 1e9:,.2f}", format_bytes(moved)])
    if len(uses) > MAX_ROWS:
        rest = sum(map(_core_ps, uses[MAX_ROWS:]))
        name = f"{len(uses) - MAX_ROWS} others"
        rows.append([name, percent(rest / total), *[""] * (len(columns) - 2)])
    return Table("Operators, over layers and cores", columns, rows)


def _core_ps(use: dict[str, Any]) -> int:
    return sum(use[f"{cause}_ps"] for cause in CAUSES[:4])


def _iterations(result: dict[str, Any]) -> Table:
    found = result["iterations"]
    shown = found if len(found) <= MAX_ROWS else [*found[: MAX_ROWS - 2], *found[-2:]]
    rows = [
        [i["label"], format_ps(i["start_ps"]), format_ps(i["makespan_ps"]), f"{i['new_tokens']:,}"]
        for i in shown
    ]
    title = f"Iterations ({len(found)}, {len(shown)} shown)"
    return Table(title, ["iteration", "start", "time", "tokens"], rows)


def _busiest(what: str, rows: list[dict], peak: str, num_bytes: Callable[[dict], int]) -> Table:
    used = [row for row in rows if num_bytes(row)]
    top = sorted(used, key=lambda row: -row.get("busy_fraction", 0))[:BUSIEST]
    cells = []
    for row in top:
        busy = row.get("busy_fraction", 0.0)
        seconds_ns = row["busy_ps"] / PS_PER_NS / busy if busy else 0
        rate = num_bytes(row) / seconds_ns if seconds_ns else 0.0
        size = format_bytes(num_bytes(row))
        cells.append([row["name"], percent(busy), size, f"{rate:,.1f}", f"{row[peak]:,.1f}"])
    title = f"Busiest {what} ({len(used)} of {len(rows)} used)"
    return Table(title, ["name", "busy", "bytes", "GB/s", "peak GB/s"], cells)


def _link_bytes(row: dict) -> int:
    return row["bytes"]
