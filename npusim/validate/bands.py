"""Errors of families ↔ the recorded ones in `data/recorded.json`: which left its band, and how.

Simulated times are integers, so a rerun gives the recorded errors to rounding; the band around each
is SLACK wide on both sides, and has no width where the goal is to be equal. An error that has grown
smaller leaves it too, as does a family with another goal or reference: it must be recorded, because
the README's table is made from the record.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from npusim.report.replace import replacing
from npusim.validate.compare import Errors, Family, num_within, split_by_use

RECORDED = Path(__file__).parent / "data" / "recorded.json"
SLACK = 1e-3  # of the reference: 0.1 percentage points
DIGITS = 5  # of a recorded error; an error is never rounded to 0
LEVELS = {False: "quick", True: "full"}

Record = dict[str, dict]  # "suite/family" → what as_row() gives


def read_record(full: bool, path: Path = RECORDED) -> Record:
    """The recorded errors of the quick or of the full set of cases."""
    if not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8")).get(LEVELS[full], {})


def key(family: Family) -> str:
    """A family's name in the record."""
    return f"{family.suite}/{family.name}"


def as_row(family: Family) -> dict[str, Any]:
    """What is recorded of a family: its reference, its goal and its errors by use, with the number
    of cases that are each within the goal's limit."""
    row: dict[str, Any] = {
        use: {
            "n": errors.n,
            "bias": _rounded(errors.bias),
            "mape": _rounded(errors.mape),
            "worst": _rounded(errors.worst),
            "worst_name": errors.worst_name,
        }
        for use, errors in split_by_use(family).items()
    }
    if family.goal:
        for use in row:
            own = [c for c in family.comparisons if c.use == use]
            row[use]["num_within"] = num_within(own, family.goal.limit_fraction)
    row["reference"] = family.reference
    row["goal"] = asdict(family.goal) if family.goal else None
    return row


def _rounded(fraction: float) -> float:
    return float(f"{fraction:.{DIGITS}g}")


def departures(families: list[Family], record: Record, suites: list[str]) -> list[str]:
    """A sentence for every error outside its band and every suite, family, goal or reference of
    `suites` that is only on one side."""
    recorded = {name.split("/")[0] for name in record}
    found = [f"{suite} is not recorded" for suite in suites if suite not in recorded]
    for family in families:
        known = record.get(key(family))
        if known is not None:
            found += _departures(family, known)
        elif family.suite in recorded:
            found.append(f"{key(family)} is not recorded")
    ran = {key(family) for family in families}
    gone = [name for name in record if name.split("/")[0] in suites and name not in ran]
    return found + [f"{name} is recorded but was not run" for name in gone]


def _departures(family: Family, known: dict[str, Any]) -> list[str]:
    now = as_row(family)
    found = [
        f"{key(family)}: {what} {now[what]}, recorded {known[what]}"
        for what in ("reference", "goal")
        if now[what] != known[what]
    ]
    slack = 0.0 if family.goal and not family.goal.limit_fraction else SLACK
    for use, errors in split_by_use(family).items():
        found += _of_errors(f"{key(family)} ({use})", errors, known.get(use, {}), slack)
    return found


def _of_errors(name: str, errors: Errors, known: dict[str, Any], slack: float) -> list[str]:
    if errors.n != known.get("n"):
        return [f"{name} has {errors.n} cases, recorded are {known.get('n')}"]
    found = []
    for measure in ("bias", "mape", "worst"):
        now, then = _rounded(getattr(errors, measure)), known[measure]
        if abs(now - then) > slack:
            change = "grown" if abs(now) > abs(then) else "shrunk"
            found.append(
                f"{name}: {measure} {100 * now:+.3g} % has {change}, recorded {100 * then:+.3g} %"
            )
    return found


def write_record(
    families: list[Family], full: bool, suites: list[str], path: Path = RECORDED
) -> None:
    """Replaces the record of `suites`, keeps that of the others and of the other level."""
    whole = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    level = whole.setdefault(LEVELS[full], {})
    kept = {k: row for k, row in level.items() if k.split("/")[0] not in suites}
    whole[LEVELS[full]] = {**kept, **{key(family): as_row(family) for family in families}}
    text = json.dumps(whole, indent=1, sort_keys=True) + "\n"
    with replacing(path) as file:
        file.write(text.encode())
