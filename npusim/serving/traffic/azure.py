"""Azure LLM inference trace (CSV with TIMESTAMP, ContextTokens, GeneratedTokens) → rows."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from npusim.errors import SpecError
from npusim.serving.traffic.cells import shown, table, tokens_of
from npusim.serving.traffic.row import Row
from npusim.units import PS_PER_S

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
STAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.([0-9]{1,12}))?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def azure_rows(file: Path) -> list[Row]:
    """One row a line; raises SpecError with the line that is not as COLUMNS."""
    return [
        Row(
            stamp_ps(stamp, place),
            tokens_of(prompt, COLUMNS[1], place),
            tokens_of(output, COLUMNS[2], place),
        )
        for place, (stamp, prompt, output) in table(file, COLUMNS)
    ]


def stamp_ps(text: str, place: str) -> int:
    """Picoseconds from 1970 of `2023-11-16 18:17:03.9799600`: all digits count, none goes through a
    float. `T` may stand for the blank, and a zone (`Z`, `+01:00`) after it; without one it is UTC.
    """
    found = STAMP.fullmatch(text)
    if found:
        date, time, fraction, zone = found.groups()
        try:
            whole = datetime.fromisoformat(f"{date}T{time}{zone or 'Z'}")
        except ValueError:  # such as February 30
            found = None
    if not found:
        rule = "must be a time such as 2023-11-16 18:17:03.9799600"
        raise SpecError(f"{COLUMNS[0]} {rule}, not {shown(text)}", place)
    return (whole - EPOCH) // SECOND * PS_PER_S + int((fraction or "").ljust(12, "0"))
