"""Errors of families ↔ the recorded ones in `data/recorded.json`: which left its band, and how.

Simulated times are integers, so a rerun gives the recorded errors to rounding; the band around each
is SLACK wide on both sides. An error that has grown smaller leaves it too: it must be recorded,
because the README's table is made from the record.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from npusim.report.replace import replacing
from npusim.validate.compare import Errors, Family, split_by_use

RECORDED = Path(__file__).parent / "data" / "recorded.json"
SLACK = 1e-3  # of the reference: 0.1 percentage points
LEVELS = {False: "quick", True: "full"}

Record = dict[str, dict]  # "suite/family" → what as_row() gives


def read_record(full: bool, path: Path = RECORDED) -> Record:
    """The recorded errors of the quick or of the full set of cases."""
    if not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8")).get(LEVELS[full], {})


def key(family: Family) -> str:
    return f"{family.suite}/{family.name}"


def as_row(family: Family) -> dict[str, Any]:
    """What is recorded of a family: its reference, its goal and its errors by use."""
    row: dict[str, Any] = {
        use: {
            "n": errors.n,
            "bias": round(errors.bias, 5),
            "mape": round(errors.mape, 5),
            "worst": round(errors.worst, 5),
            "worst_name": errors.worst_name,
        }
        for use, errors in split_by_use(family).items()
    }
    row["reference"] = family.reference
    row["goal"] = asdict(family.goal) if family.goal else None
    return row


def departures(families: list[Family], record: Record, suites: list[str]) -> list[str]:
    """A sentence for every error outside its band and every family of `suites` that is only on
    one side."""
    found = []
    for family in families:
        known = record.get(key(family))
        if known is None:
            found.append(f"{key(family)} is not recorded")
            continue
        for use, errors in split_by_use(family).items():
            found += _departures(f"{key(family)} ({use})", errors, known.get(use, {}))
    ran = {key(family) for family in families}
    gone = [k for k in record if k.split("/")[0] in suites and k not in ran]
    return found + [f"{name} is recorded but was not run" for name in gone]


def _departures(name: str, errors: Errors, known: dict) -> list[str]:
    if errors.n != known.get("n"):
        return [f"{name} has {errors.n} cases, recorded are {known.get('n')}"]
    found = []
    for measure in ("bias", "mape", "worst"):
        now, then = getattr(errors, measure), known[measure]
        if abs(now - then) > SLACK:
            change = "grown" if abs(now) > abs(then) else "shrunk"
            found.append(f"{name}: {measure} {now:+.2%} has {change}, recorded {then:+.2%}")
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
