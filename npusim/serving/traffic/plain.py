"""Plain CSV (arrival_s, prompt_tokens, output_tokens, optionally more) → rows."""

from pathlib import Path

from npusim.errors import SpecError
from npusim.serving.traffic.cells import MAX_PRIORITY, shown, table, time_of, tokens_of, whole_of
from npusim.serving.traffic.row import Row
from npusim.units import PS_PER_S

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
OPTIONAL = ("priority", "prefix_id", "prefix_tokens")
Prefixes = dict[str, tuple[int, int, str]]  # name → id, tokens, place where it came first


def plain_rows(file: Path) -> list[Row]:
    """One row a line. `priority` may be empty (0); `prefix_id`, any text, goes with
    `prefix_tokens`, which are the same in all its lines; both may be empty.

    Raises SpecError with the line that is not as COLUMNS and OPTIONAL.
    """
    prefixes: Prefixes = {}
    return [_row(cells, place, prefixes) for place, cells in table(file, COLUMNS, OPTIONAL)]


def _row(cells: list[str], place: str, prefixes: Prefixes) -> Row:
    arrival, prompt, output, priority, prefix, prefix_tokens = cells
    row = Row(
        time_of(arrival, COLUMNS[0], place, PS_PER_S),
        tokens_of(prompt, COLUMNS[1], place),
        tokens_of(output, COLUMNS[2], place),
        priority=whole_of(priority or "0", "priority", place, 0, MAX_PRIORITY),
    )
    if not prefix and not prefix_tokens:
        return row
    ids, tokens = _prefix(prefix, prefix_tokens, place, prefixes)
    if tokens > row.prompt_tokens:
        rule = f"prefix_tokens must be at most prompt_tokens {row.prompt_tokens}"
        raise SpecError(f"{rule}, not {tokens}", place)
    return row._replace(prefix=ids, prefix_block_tokens=tokens)


def _prefix(
    name: str, tokens_text: str, place: str, prefixes: Prefixes
) -> tuple[tuple[int, ...], int]:
    """Ids of the blocks of a prefix, numbered as they come, and its tokens."""
    if not name or not tokens_text:
        missing, given = OPTIONAL[1:] if not name else OPTIONAL[:0:-1]
        raise SpecError(f"{missing} is missing; {given} needs it", place)
    tokens = tokens_of(tokens_text, "prefix_tokens", place)
    known, first_tokens, first = prefixes.setdefault(name, (len(prefixes), tokens, place))
    if tokens != first_tokens:
        line = first.rpartition(":")[2]
        rule = f"prefix_tokens of {shown(name)} must be {first_tokens}, as in line {line}"
        raise SpecError(f"{rule}, not {tokens}", place)
    return (known,), tokens
