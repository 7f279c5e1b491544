"""One workload's Run with every transaction and its Run at a coarser level → error and speed-up.

CPU seconds are measured: they, and the speed-ups, differ from run to run; nothing else does.
"""

from typing import Any

from npusim.report.stalls import CAUSES, stalls_by_trace
from npusim.report.summary import Table
from npusim.report.usage import operators
from npusim.spec.scenario import Fidelity
from npusim.trace import Run
from npusim.units import format_ps

SPENT = CAUSES[:4]  # core time but idle
MAX_ROWS = 8
LEVELS = ("transaction", "analytic")
NOTE = "the result, the tables above and the timeline show the transaction level"


def compare_levels(detailed: Run, coarse: Run, fidelity: Fidelity) -> dict[str, Any]:
    """The comparison as it stands in result.json under `fidelity` (schema.FIDELITY_KEYS).
    `fidelity`: the levels of `coarse`, whose graphs and lowering `detailed` has paid for."""
    preparing_s = sum(detailed.cpu_s.get(phase, 0.0) for phase in ("graph", "lowering"))
    simulating_s = [run.cpu_s.get("simulation", 0.0) for run in (detailed, coarse)]
    return {
        "memory": fidelity.memory,
        "noc": fidelity.noc,
        **_pair(detailed.makespan_ps, coarse.makespan_ps),
        "preparation_cpu_s": preparing_s,
        "transaction_cpu_s": simulating_s[0],
        "analytic_cpu_s": simulating_s[1],
        "simulation_speed_up": _ratio(*simulating_s),
        "speed_up": _ratio(*(preparing_s + each for each in simulating_s)),
        "iterations": [
            {"label": one.label} | _pair(one.makespan_ps, other.makespan_ps)
            for one, other in zip(detailed.iterations, coarse.iterations, strict=True)
        ],
        "per_kind": _kinds(detailed, coarse),
    }


def _pair(detailed_ps: int, coarse_ps: int) -> dict[str, Any]:
    error = coarse_ps / detailed_ps - 1 if detailed_ps else 0.0
    return {"transaction_ps": detailed_ps, "analytic_ps": coarse_ps, "error_fraction": error}


def _ratio(detailed_s: float, coarse_s: float) -> float:
    return detailed_s / coarse_s if coarse_s else 0.0


def _kinds(detailed: Run, coarse: Run) -> list[dict[str, Any]]:
    """Core time by kind of operator, the largest difference first, and what differs most in it."""
    one, other = _time_by_kind(detailed), _time_by_kind(coarse)
    rows = []
    for kind, parts in one.items():
        coarse_parts = other[kind]
        change = {cause: coarse_parts[cause] - parts[cause] for cause in SPENT}
        cause = max(SPENT, key=lambda name: abs(change[name]))
        row = {"kind": kind} | _pair(sum(parts.values()), sum(coarse_parts.values()))
        rows.append(row | {"cause": cause, "cause_ps": change[cause]})
    return sorted(rows, key=lambda row: -abs(row["analytic_ps"] - row["transaction_ps"]))


def _time_by_kind(run: Run) -> dict[str, dict[str, int]]:
    """Core ps by kind and cause; the causes of `idle` have no operator."""
    found: dict[str, dict[str, int]] = {}
    for use in operators(run, stalls_by_trace(run)):
        parts = found.setdefault(use.kind, dict.fromkeys(SPENT, 0))
        for cause in SPENT:
            parts[cause] += getattr(use, f"{cause}_ps")
    return found


def fidelity_tables(comparison: dict[str, Any]) -> list[Table]:
    """Makespan, error, CPU seconds and speed-up; then by iteration and by kind of operator."""
    tables = [_whole(comparison)]
    if len(comparison["iterations"]) > 1:
        title = "Iterations whose time differs most"
        rows = sorted(comparison["iterations"], key=lambda row: -abs(row["error_fraction"]))
        tables.append(
            Table(title, ["iteration", *COLUMNS], [_cells(r, "label") for r in rows[:MAX_ROWS]])
        )
    title = "Operator kinds whose core time differs most"
    rows = [
        [*_cells(row, "kind"), f"{row['cause'].replace('_', ' ')} {_signed_ps(row['cause_ps'])}"]
        for row in comparison["per_kind"][:MAX_ROWS]
    ]
    return [*tables, Table(title, ["kind", *COLUMNS, "most of it"], rows)]


COLUMNS = ["transaction", "analytic", "error"]


def _whole(comparison: dict[str, Any]) -> Table:
    coarse = [name for name in ("memory", "noc") if comparison[name] == "analytic"]
    title = f"Fidelity: every transaction against analytic {' and '.join(coarse)}"
    simulated = [comparison[f"{level}_cpu_s"] for level in LEVELS]
    in_all = [comparison["preparation_cpu_s"] + each for each in simulated]
    rows = [
        _cells(comparison | {"label": "makespan"}, "label"),
        _cpu_cells("CPU s, simulation", simulated, comparison["simulation_speed_up"]),
        _cpu_cells("CPU s, with lowering", in_all, comparison["speed_up"]),
    ]
    return Table(title, ["", "transaction", "analytic", "error or speed-up"], rows)


def _cells(row: dict[str, Any], name: str) -> list[str]:
    times = [format_ps(row[f"{level}_ps"]) for level in LEVELS]
    return [row[name], *times, f"{100 * row['error_fraction']:+.2f} %"]


def _cpu_cells(name: str, cpu_s: list[float], speed_up: float) -> list[str]:
    return [name, *(f"{each:.3f}" for each in cpu_s), f"{speed_up:.1f}x"]


def _signed_ps(ps: int) -> str:
    return f"{'-' if ps < 0 else '+'}{format_ps(abs(ps))}"
