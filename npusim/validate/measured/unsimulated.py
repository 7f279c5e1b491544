"""Rows of measured.csv that are not simulated → why, so that none is dropped in silence."""

from collections.abc import Iterable

from npusim.validate.measured.rows import Row

# hardware → reason, for all of its rows
HARDWARE = {
    "TPUv4": "2-D weight-stationary layout is not lowered; its arithmetic is held instead",
    "WSE-2": "hundreds of thousands of cores, a program of each: beyond what is simulated",
    "CENT-GDDR6-AiM-CXL": "near-memory units are not modelled; figures of a simulator",
    "Ascend910B": "prompt length and number of devices are not stated",
    "Ascend910C": "experts over nodes beside attention by requests is not lowered",
    "NorthPole": "cards' clocks and links are not published",
    "SN40L": "links between sockets are not published",
    "p100": "no preset: published parameters lack NoC and memory clocks",
    "QuietBox-WH": "eight chips of mesh kind over Ethernet: chips of mesh kind stand alone",
}


def reason(row: Row) -> str | None:
    """Why a row is not simulated; None when it is."""
    if row.hardware in HARDWARE:
        return HARDWARE[row.hardware]
    if row.model.startswith("DeepSeek"):
        return HARDWARE["Ascend910C"]
    if row.hardware == "A100" and row.num_chips > 8:
        return "two nodes: links of two kinds are not modelled"
    if row.hardware == "H800+CX7" and row.num_chips < 32:
        return "NVLink inside a node beside RDMA: links of two kinds are not modelled"
    return None


def counted(rows: Iterable[Row]) -> dict[str, int]:
    """Reason → number of rows."""
    found: dict[str, int] = {}
    for row in rows:
        why = reason(row)
        if why:
            found[f"{row.hardware}: {why}"] = found.get(f"{row.hardware}: {why}", 0) + 1
    return found


def note(rows: Iterable[Row]) -> str:
    """All reasons in a line."""
    return "; ".join(f"{count} of {why}" for why, count in counted(rows).items())
