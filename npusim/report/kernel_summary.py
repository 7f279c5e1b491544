"""Result of a chip that runs kernels one after the other → what binds, and what each kernel takes.

Kernels do not overlap, so a kernel's span, first start to last end, is its share of the makespan.
Where a core's waiting ends up by core time says little here: it waits for the kernel, not a task.
"""

from typing import Any

from npusim.report.text import percent
from npusim.units import PS_PER_NS, format_bytes, format_ps

ENOUGH = 1 / 3  # from this share on, one thing binds
COMM = "comm"


def kernel_verdict(result: dict[str, Any]) -> tuple[str, str]:
    """What binds, with the longest kernels, and a lever."""
    shares = {
        "memory": max((row["fraction"] for row in result["per_memory"]), default=0.0),
        "compute": result["totals"]["flops_fraction"],
        "links": comm_fraction(result),
    }
    largest = max(shares, key=lambda name: shares[name])
    title, lever = VERDICTS[largest if shares[largest] >= ENOUGH else "starts"]
    return f"{title}: {_longest(result)}", lever


def comm_fraction(result: dict[str, Any]) -> float:
    """Share of the time that goes to collectives between chips."""
    spans = sum(use["span_ps"] for use in result["per_operator"] if use["kind"] == COMM)
    return float(spans / max(result["totals"]["makespan_ps"], 1))


def _longest(result: dict[str, Any]) -> str:
    total = max(result["totals"]["makespan_ps"], 1)
    names = [f"{use['operator']} {percent(use['span_ps'] / total)}" for use in _by_span(result)[:3]]
    return f"kernels take {', '.join(names)} of the time"


def _by_span(result: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(result["per_operator"], key=lambda use: -use["span_ps"])


def kernel_rows(result: dict[str, Any], most: int) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the table of kernels, the longest first."""
    total = max(result["totals"]["makespan_ps"], 1)
    columns = ["kernel", "share", "time", "TFLOP/s", "GB/s", "GFLOP", "bytes"]
    rows = []
    for use in _by_span(result)[:most]:
        span, moved = max(use["span_ps"], 1), use["load_bytes"] + use["store_bytes"]
        name = f"{use['operator']} ({use['phase']})" if use["phase"] else use["operator"]
        rates = [use["flops"] / span, moved / (span / PS_PER_NS)]  # FLOP/ps is TFLOP/s
        rows.append(
            [name, percent(span / total), format_ps(span), *(f"{rate:,.1f}" for rate in rates),
             f"{use['flops'] / 1e9:,.2f}", format_bytes(moved)]
        )  # fmt: skip
    return columns, rows


VERDICTS = {
    "memory": ("Memory-bound", "more bandwidth, fewer bytes (smaller data types), a larger batch"),
    "compute": ("Compute-bound", "more or faster matrix units, or operands of a faster data type"),
    "links": (
        "Link-bound",
        "collectives between chips; a faster library or link (hw.chips), fewer chips",
    ),
    "starts": (
        "Latency-bound",
        "neither memory nor matrix units are near their peak: starts of kernels, last tiles and "
        "collectives; fewer and longer kernels (a larger batch, fewer chips), hw.kernels.start_us",
    ),
}
