"""Two `result.json` → tables of what changed: totals, stalls, operators, latencies."""

from pathlib import Path
from typing import Any

import orjson

from npusim.errors import SpecError
from npusim.report.result import SCHEMA_VERSION
from npusim.report.serve.compare import compare_served
from npusim.report.stalls import CAUSES
from npusim.report.summary import Table
from npusim.units import format_ps

NEEDED = ("totals", "stalls", "per_core", "per_operator")
SERVE_NEEDED = ("metrics", "instances", "iteration", "scenario")
TOTALS = (
    "makespan_ps",
    "tokens_s",
    "flops_fraction",
    "memory_fraction",
    "load_bytes",
    "store_bytes",
    "message_bytes",
    "flops",
)


def read_result(path: str | Path) -> dict[str, Any]:
    """A result by its file, or by the directory that holds `result.json`.

    Raises SpecError when it is missing, is not a result, or has another schema version.
    """
    path = Path(path)
    file = path / "result.json" if path.is_dir() else path
    try:
        result = orjson.loads(file.read_bytes())
    except OSError as error:
        raise SpecError(f"cannot read a result: {error.strerror}", str(file)) from None
    except orjson.JSONDecodeError as error:
        raise SpecError(f"is not JSON: {error}", str(file)) from None
    version = result.get("schema_version") if isinstance(result, dict) else None
    if version != SCHEMA_VERSION:
        raise SpecError(f"schema_version must be {SCHEMA_VERSION}, not {version!r}", str(file))
    needed = SERVE_NEEDED if result.get("kind") == "serve" else NEEDED
    missing = [key for key in needed if not result.get(key)]
    if missing:
        raise SpecError(f"is not a whole result: {', '.join(missing)} missing", str(file))
    return result


def compare(a: dict[str, Any], b: dict[str, Any]) -> list[Table]:
    """What changed from result `a` to result `b`. Raises SpecError when only one is of serving."""
    commands = [f"npusim {result.get('kind', 'run')}" for result in (a, b)]
    if commands[0] != commands[1]:
        raise SpecError(f"A is a result of {commands[0]}, B of {commands[1]}; give two of one kind")
    if a.get("kind") == "serve":
        return compare_served(a, b)
    return [_totals(a, b), _stalls(a, b), _operators(a, b)]


def _totals(a: dict[str, Any], b: dict[str, Any]) -> Table:
    rows = []
    for name in TOTALS:
        first, second = a["totals"][name], b["totals"][name]
        rows.append([name, _number(name, first), _number(name, second), _ratio(first, second)])
    return Table("Totals", ["", "A", "B", "B / A"], rows)


def _stalls(a: dict[str, Any], b: dict[str, Any]) -> Table:
    rows = []
    for cause in CAUSES:
        first, second = (r["stalls"][f"{cause}_ps"] / len(r["per_core"]) for r in (a, b))
        cells = [format_ps(first), format_ps(second), format_ps(second - first)]
        rows.append([cause.replace("_", " "), *cells])
    return Table("Core time, mean over cores", ["", "A", "B", "B - A"], rows)


def _operators(a: dict[str, Any], b: dict[str, Any]) -> Table:
    first, second = ({_key(use): _core_ps(use) for use in r["per_operator"]} for r in (a, b))
    changes = [(key, first.get(key, 0), second.get(key, 0)) for key in first | second]
    changes.sort(key=lambda row: -abs(row[2] - row[1]))
    rows = [
        [" ".join(filter(None, key)), *map(format_ps, (x, y, y - x)), _ratio(x, y)]
        for key, x, y in changes[:12]
    ]
    columns = ["operator", "A", "B", "B - A", "B / A"]
    return Table("Core time by operator, largest changes first", columns, rows)


def _key(use: dict[str, Any]) -> tuple[str, str]:
    return use["operator"], use["phase"]


def _core_ps(use: dict[str, Any]) -> int:
    return sum(use[f"{cause}_ps"] for cause in CAUSES[:4])


def _number(name: str, value: float) -> str:
    if name.endswith("_ps"):
        return format_ps(value)
    return f"{value:,.4f}" if name.endswith("_fraction") else f"{value:,.0f}"


def _ratio(first: float, second: float) -> str:
    return f"{second / first:.3f}" if first else ("1.000" if first == second else "-")
