"""A trace file → its text and the cells of its lines; a cell or JSON value → a checked number."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from npusim.errors import SpecError, nearest
from npusim.spec.tree import show
from npusim.units import PS_PER_S

MAX_FILE_BYTES = 1 << 30
MAX_TOKENS = 10_000_000
MAX_PRIORITY = 63
MAX_SECONDS = 10**10  # times since 1970 as well
WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def text_of(file: Path) -> str:
    """Text of a trace. Raises SpecError when it cannot be read, is empty, too long or not UTF-8."""
    try:
        data = file.read_bytes() if file.stat().st_size <= MAX_FILE_BYTES else None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", str(file)) from None
    if data is None:
        raise SpecError(f"must be at most {MAX_FILE_BYTES:,} bytes", str(file))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SpecError("is not UTF-8 text", f"{file}:{line}") from None
    if not text.strip():
        raise SpecError("is empty", str(file))
    return text


def table(
    file: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Place and cells (of `needed`, then `optional` columns; "" for a column that is not there) of
    every line below the header; other columns and empty lines are ignored.

    Raises SpecError for a missing column or a line with more or fewer cells than the header.
    """
    lines = _lines(file)
    place, header = next(lines, ("", []))
    if not header:
        raise SpecError("is empty", str(file))
    header = [name.strip() for name in header]
    columns = [_column(header, name, place) for name in needed]
    columns += [header.index(name) if name in header else -1 for name in optional]
    for place, cells in lines:
        if len(cells) != len(header):
            raise SpecError(f"must have {len(header)} cells, as line 1, not {len(cells)}", place)
        yield place, [cells[column].strip() if column >= 0 else "" for column in columns]


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(io.StringIO(text_of(file), newline=""))
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield f"{file}:{reader.line_num}", cells
    except csv.Error as error:
        raise SpecError(f"is not CSV: {error}", f"{file}:{reader.line_num}") from None


def _column(header: list[str], name: str, place: str) -> int:
    if header.count(name) > 1:
        raise SpecError(f"column {name} must be there once, not {header.count(name)} times", place)
    if name in header:
        return header.index(name)
    close = nearest(name, header) or f"; the columns are {shown(', '.join(header), 80)}"
    raise SpecError(f"column {name} is missing{close}", place)


def tokens_of(value: object, name: str, place: str) -> int:
    """A number of tokens: 1 … 10,000,000."""
    return whole_of(value, name, place, 1, MAX_TOKENS)


def whole_of(value: object, name: str, place: str, least: int, most: int) -> int:
    """A cell, or an int of JSON, as an int of `least` … `most`; SpecError at `place` otherwise."""
    if isinstance(value, str) and WHOLE.fullmatch(value):
        value = int(value)
    if type(value) is not int:
        raise SpecError(f"{name} must be a whole number, not {shown(value)}", place)
    if not least <= value <= most:
        raise SpecError(f"{name} must be {_bound(value, least, most)}, not {shown(value)}", place)
    return value


def time_of(value: object, name: str, place: str, unit_ps: int) -> int:
    """A cell, or a number of JSON, of `unit_ps` each, as ps: exact to the picosecond."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = Decimal(value)
    if type(value) is not int and not isinstance(value, Decimal):
        raise SpecError(f"{name} must be a number, not {shown(value)}", place)
    most = MAX_SECONDS * PS_PER_S // unit_ps
    if not 0 <= value <= most:
        raise SpecError(f"{name} must be {_bound(value, 0, most)}, not {shown(value)}", place)
    return round(value * unit_ps)


def _bound(value: int | Decimal, least: int, most: int) -> str:
    return f"at least {least}" if value < least else f"at most {most:,}"


def shown(value: object, most: int = 40) -> str:
    """A value as an error prints it: text in quotes, cut to `most` characters."""
    if not isinstance(value, str | Decimal):
        return show(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
