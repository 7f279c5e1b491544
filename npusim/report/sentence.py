"""Result of a run → the sentence that a reader sees first: what binds, on what, and a lever."""

from collections.abc import Callable
from typing import Any

from npusim.report.kernel_summary import kernel_verdict
from npusim.report.stalls import CAUSES
from npusim.report.text import percent

NEARLY_FULL = 0.7  # a memory at this share of its peak binds, whatever cores do meanwhile
FULL = 0.6  # from this share of the peak on, more bandwidth is the lever, not more in flight


def sentence(result: dict[str, Any]) -> str:
    """What binds, from a result dict: the largest share of the time of the cores that have work,
    the operators it is spent on, and a lever."""
    cores = [row for row in result["per_core"] if row["idle_ps"] < _core_time(row)]
    if not cores:
        return "Nothing ran: the makespan is zero."
    stalls = {cause: sum(row[f"{cause}_ps"] for row in cores) for cause in CAUSES}
    if result["hardware"]["kernels"]:
        text, lever = kernel_verdict(result)
        return f"{text}{_achieved(result)}. Lever: {lever}."
    cause = max(CAUSES, key=lambda name: stalls[name])
    if cause != "wait_memory" and _memory_fraction(result) > NEARLY_FULL:
        return (
            f"Memory-bound{_achieved(result)}, while {percent(stalls[cause] / _all(stalls))} of "
            f"core time {BINDS[cause][1]}. Lever: {LEVERS['wait_memory'](result)}."
        )
    title, verb = BINDS[cause]
    text = f"{title}: {percent(stalls[cause] / _all(stalls))} of core time {verb}"
    text += _culprits(result, cause)
    if len(cores) < len(result["per_core"]):
        text += f", on the {len(cores)} of {len(result['per_core'])} cores that have work"
    return f"{text}{_achieved(result)}. Lever: {LEVERS[cause](result)}."


def _all(stalls: dict[str, int]) -> int:
    return max(1, sum(stalls.values()))


def _core_time(row: dict[str, Any]) -> int:
    return sum(row[f"{cause}_ps"] for cause in CAUSES)


def _achieved(result: dict[str, Any]) -> str:
    """`; memory ran at … of its peak, compute at … of the arrays' peak`, of what was used at all.
    Vector units compute, too: matrix products of few rows, reductions of messages."""
    facts = []
    if _used_channels(result):
        name = _busiest_memory(result)["name"] if len(result["per_memory"]) > 1 else "memory"
        facts.append(f"{name} ran at {percent(_memory_fraction(result))} of its peak")
    if result["totals"]["flops"]:
        share = percent(result["totals"]["flops_fraction"])
        facts.append(f"compute at {share} of the arrays' peak")
    link = _busiest_link(result)
    if link and result["totals"]["message_bytes"]:
        facts.append(f"the busiest link was busy {percent(link['busy_fraction'])}")
    return "; " + ", ".join(facts) if facts else ""


def _used_channels(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in result["per_channel"] if channel_bytes(row)]


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
    names = [f"{u['operator']} {percent(u[key] / total)}" for u in top if u[key] * 10 > total]
    return f" ({', '.join(names)} of it)" if names else ""


def _memory_lever(result: dict[str, Any]) -> str:
    if _memory_fraction(result) > FULL:
        return "more bandwidth, fewer bytes (smaller data types), or a larger batch"
    link = _busiest_link(result)
    if link and link["busy_fraction"] > FULL:
        share = percent(link["busy_fraction"])
        return f"link {link['name']!r} is busy {share}; wider links, or memory at more places"
    spread = [row["busy_fraction"] for row in _used_channels(result)]
    if spread and max(spread) > 2 * (sum(spread) / len(spread)):
        return "some channels carry far more than others; spread data over more of them"
    return "memory is not full, its latency binds; more or larger requests in flight"


def _compute_lever(result: dict[str, Any]) -> str:
    totals = result["totals"]
    arrays, vector = totals["array_busy_fraction"], totals["vector_busy_fraction"]
    if vector > arrays:
        return f"vector units are busy {percent(vector)}, arrays {percent(arrays)}; more lanes"
    if totals["flops_fraction"] > FULL * arrays:
        busy = f"arrays are busy {percent(arrays)}, vector units {percent(vector)}"
        return f"{busy}; more or faster ones, or operands of a faster data type"
    return "arrays are badly filled; a larger batch, larger tiles, or another dataflow"


def _noc_lever(result: dict[str, Any]) -> str:
    link = _busiest_link(result)
    if link and link["busy_fraction"] > FULL:
        return f"link {link['name']!r} is full; wider links, another placement or partition"
    return "links are not full; fewer and larger messages, or a partition that sends less"


def _dependency_lever(result: dict[str, Any]) -> str:
    if result["scenario"]["parallel"]["pp"] > 1:
        return "cores wait for one another; balance the stages, more micro-batches, or a lower pp"
    return "cores wait for one another; balance their work, or another partition"


def _idle_lever(result: dict[str, Any]) -> str:
    if result["scenario"]["parallel"]["pp"] > 1:
        return "stages wait for their turn; more requests or micro-batches in flight, or a lower pp"
    return "cores finish early; balance the work between them"


def channel_bytes(row: dict) -> int:
    return row["read_bytes"] + row["write_bytes"]


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
