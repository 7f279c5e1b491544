"""Setup and Run → a sentence that says what binds, and a few tables, for a terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from npusim.report.result import result_dict
from npusim.report.stalls import CAUSES
from npusim.trace import Run
from npusim.units import PS_PER_NS, format_bytes, format_ps

if TYPE_CHECKING:
    from npusim.spec.load import Setup

MAX_ROWS = 12
BUSIEST = 5
FULL = 0.6  # from this share of the peak on, more bandwidth is the lever, not more in flight


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
    tables += [_busiest("memory channels", result["per_channel"], "peak_gb_s", _channel_bytes)]
    tables += [_busiest("NoC links", result["per_link"], "gb_s", _link_bytes)]
    failed = [
        f"{c['name']}: {c['left']:,} and {c['right']:,}" for c in result["checks"] if not c["ok"]
    ]
    return Summary(sentence(result), [t for t in tables if t.rows], result["notes"], failed)


def sentence(result: dict[str, Any]) -> str:
    """What binds, from a result dict: the largest share of the time of the cores that have work,
    the operators it is spent on, and a lever."""
    cores = [row for row in result["per_core"] if row["idle_ps"] < _core_time(row)]
    if not cores:
        return "Nothing ran: the makespan is zero."
    stalls = {cause: sum(row[f"{cause}_ps"] for row in cores) for cause in CAUSES}
    cause = max(CAUSES, key=lambda name: stalls[name])
    title, verb = BINDS[cause]
    text = f"{title}: {_percent(stalls[cause] / sum(stalls.values()))} of core time {verb}"
    text += _culprits(result, cause)
    if len(cores) < len(result["per_core"]):
        text += f", on the {len(cores)} of {len(result['per_core'])} cores that have work"
    return f"{text}{_achieved(result)}. Lever: {LEVERS[cause](result)}."


def _core_time(row: dict[str, Any]) -> int:
    return sum(row[f"{cause}_ps"] for cause in CAUSES)


def _achieved(result: dict[str, Any]) -> str:
    """`; memory ran at … of its peak, compute at … of the arrays' peak`, of what was used at all.
    Vector units compute, too: matrix products of few rows, reductions of messages."""
    facts = []
    if _used_channels(result):
        name = _busiest_memory(result)["name"] if len(result["per_memory"]) > 1 else "memory"
        facts.append(f"{name} ran at {_percent(_memory_fraction(result))} of its peak")
    if result["totals"]["flops"]:
        share = _percent(result["totals"]["flops_fraction"])
        facts.append(f"compute at {share} of the arrays' peak")
    link = _busiest_link(result)
    if link and result["totals"]["message_bytes"]:
        facts.append(f"the busiest link was busy {_percent(link['busy_fraction'])}")
    return "; " + ", ".join(facts) if facts else ""


def _used_channels(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in result["per_channel"] if _channel_bytes(row)]


def _memory_fraction(result: dict[str, Any]) -> float:
    """Achieved bandwidth of the memory in most use over the peak of its channels in use."""
    return float(_busiest_memory(result)["fraction"]) if result["per_memory"] else 0.0


def _busiest_memory(result: dict[str, Any]) -> dict[str, Any]:
    return max(result["per_memory"], key=lambda row: row["fraction"])


def _busiest_link(result: dict[str, Any]) -> dict[str, Any] | None:
    return max(result["per_link"], key=lambda row: row["busy_fraction"], default=None)


def _culprits(result: dict[str, Any], cause: str) -> str:
    """` (gate_up 40 %, down 20 %)`: the operators that have most of a cause's time."""
    key = f"{cause}_ps"
    uses = [use for use in result["per_operator"] if use.get(key)]
    total = sum(use[key] for use in uses)
    top = sorted(uses, key=lambda use: -use[key])[:3]
    names = [f"{u['operator']} {_percent(u[key] / total)}" for u in top if u[key] * 10 > total]
    return f" ({', '.join(names)} of it)" if names else ""


def _memory_lever(result: dict[str, Any]) -> str:
    if _memory_fraction(result) > FULL:
        return "more bandwidth, fewer bytes (smaller data types), or a larger batch"
    link = _busiest_link(result)
    if link and link["busy_fraction"] > FULL:
        share = _percent(link["busy_fraction"])
        return f"link {link['name']!r} is busy {share}; wider links, or memory at more places"
    spread = [row["busy_fraction"] for row in _used_channels(result)]
    if spread and max(spread) > 2 * (sum(spread) / len(spread)):
        return "some channels carry far more than others; spread data over more of them"
    return "memory is not full, its latency binds; more or larger requests in flight"


def _compute_lever(result: dict[str, Any]) -> str:
    totals = result["totals"]
    arrays, vector = totals["array_busy_fraction"], totals["vector_busy_fraction"]
    if vector > arrays:
        return f"vector units are busy {_percent(vector)}, arrays {_percent(arrays)}; more lanes"
    if totals["flops_fraction"] > FULL * arrays:
        busy = f"arrays are busy {_percent(arrays)}, vector units {_percent(vector)}"
        return f"{busy}; more or faster ones, or operands of a faster data type"
    return "arrays are badly filled; a larger batch, larger tiles, or another dataflow"


def _noc_lever(result: dict[str, Any]) -> str:
    link = _busiest_link(result)
    if link and link["busy_fraction"] > FULL:
        return f"link {link['name']!r} is full; wider links, another placement or partition"
    return "links are not full; fewer and larger messages, or a partition that sends less"


def _dependency_lever(result: dict[str, Any]) -> str:
    return "cores wait for one another; balance the stages, more micro-batches, or a lower pp"


def _idle_lever(result: dict[str, Any]) -> str:
    return "cores finish early; balance the work between them"


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
    """Achieved bandwidth, of each kind of memory where a chip has several."""
    t, kinds = result["totals"], result["per_memory"]
    if len(kinds) < 2:
        return [["memory", _of_peak(t["memory_gb_s"], t["peak_memory_gb_s"], "GB/s")]]
    return [[row["name"], _of_peak(row["gb_s"], row["used_peak_gb_s"], "GB/s")] for row in kinds]


def _of_peak(value: float, peak: float, unit: str) -> str:
    share = f" ({_percent(value / peak)} of {peak:,.1f})" if peak else ""
    return f"{value:,.2f} {unit}{share}"


def _stalls(result: dict[str, Any]) -> Table:
    cores = result["per_core"]
    makespan = max(result["totals"]["makespan_ps"], 1)
    rows = []
    for cause in CAUSES:
        values = np.array([core[f"{cause}_ps"] for core in cores], float)
        worst = int(values.argmax())
        worst_text = f"{_percent(values[worst] / makespan)}  core {cores[worst]['name']}"
        name = cause.replace("_", " ")
        rows.append(
            [name, _percent(values.mean() / makespan), format_ps(values.mean()), worst_text]
        )
    return Table("Where core time went", ["", "mean", "time", "most on one core"], rows)


def _operators(result: dict[str, Any]) -> Table:
    uses = sorted(result["per_operator"], key=lambda use: -_core_ps(use))
    total = sum(map(_core_ps, uses)) or 1
    columns = ["operator", "core time", "compute", "memory", "noc", "wait", "GFLOP", "bytes"]
    rows = []
    for use in uses[:MAX_ROWS]:
        spent = _core_ps(use) or 1
        parts = [_percent(use[f"{cause}_ps"] / spent) for cause in CAUSES[:4]]
        moved = use["load_bytes"] + use["store_bytes"]
        name = f"{use['operator']} ({use['phase']})" if use["phase"] else use["operator"]
        share = _percent(_core_ps(use) / total)
        rows.append([name, share, *parts, f"{use['flops'] / 1e9:,.2f}", format_bytes(moved)])
    if len(uses) > MAX_ROWS:
        rest = sum(map(_core_ps, uses[MAX_ROWS:]))
        name = f"{len(uses) - MAX_ROWS} others"
        rows.append([name, _percent(rest / total), *[""] * (len(columns) - 2)])
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
        cells.append([row["name"], _percent(busy), size, f"{rate:,.1f}", f"{row[peak]:,.1f}"])
    title = f"Busiest {what} ({len(used)} of {len(rows)} used)"
    return Table(title, ["name", "busy", "bytes", "GB/s", "peak GB/s"], cells)


def _channel_bytes(row: dict) -> int:
    return row["read_bytes"] + row["write_bytes"]


def _link_bytes(row: dict) -> int:
    return row["bytes"]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %" if abs(fraction) < 0.1 else f"{100 * fraction:.0f} %"


BINDS = {
    "compute": ("Compute-bound", "computes"),
    "wait_memory": ("Memory-bound", "waits for loads and stores"),
    "wait_noc": ("NoC-bound", "waits for messages in flight"),
    "wait_dependency": ("Dependency-bound", "waits for other cores' work"),
    "idle": ("Under-used", "is idle"),
}
LEVERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "compute": _compute_lever,
    "wait_memory": _memory_lever,
    "wait_noc": _noc_lever,
    "wait_dependency": _dependency_lever,
    "idle": _idle_lever,
}
