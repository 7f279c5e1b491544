"""Mooncake trace (JSON lines with timestamp, input_length, output_length, hash_ids) → rows."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from npusim.errors import SpecError, nearest
from npusim.serving.traffic.cells import shown, text_of, time_of, tokens_of
from npusim.serving.traffic.row import Row
from npusim.units import PS_PER_MS, ceil_div

KEYS = ("timestamp", "input_length", "output_length", "hash_ids")
BLOCK_TOKENS = 512  # of a hash id: README of the Mooncake traces (FAST'25)


def mooncake_rows(file: Path) -> list[Row]:
    """One row a line; its prefix is all its hash_ids (none: it shares nothing).

    Raises SpecError with the line that is not JSON or not as KEYS; other keys are ignored.
    """
    lines = enumerate(text_of(file).split("\n"), 1)
    return [_row(line, f"{file}:{number}") for number, line in lines if line.strip()]


def _row(line: str, place: str) -> Row:
    timestamp, prompt, output, hash_ids = _values(_parsed(line, place), place)
    prompt_tokens = tokens_of(prompt, "input_length", place)
    ids = _ids(hash_ids, prompt_tokens, place)
    return Row(
        time_of(timestamp, "timestamp", place, PS_PER_MS),
        prompt_tokens,
        tokens_of(output, "output_length", place),
        ids,
        BLOCK_TOKENS if ids else 0,
    )


def _parsed(line: str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(line, parse_float=Decimal, parse_constant=str)
    except json.JSONDecodeError as error:
        raise SpecError(f"is not JSON: {error.msg} at column {error.colno}", place) from None
    except (ValueError, ArithmeticError, RecursionError):
        raise SpecError("is not JSON: a number too long or nested too deep", place) from None
    if not isinstance(found, dict):
        raise SpecError(f"must be a mapping a line, not {shown(found)}", place)
    return found


def _values(found: dict[str, Any], place: str) -> list[Any]:
    for key in KEYS:
        if key not in found:
            close = nearest(key, found) or f"; the keys are {shown(', '.join(found), 80)}"
            raise SpecError(f"key {key} is missing{close}", place)
    return [found[key] for key in KEYS]


def _ids(hash_ids: object, prompt_tokens: int, place: str) -> tuple[int, ...]:
    if not isinstance(hash_ids, list) or not all(type(item) is int for item in hash_ids):
        raise SpecError(f"hash_ids must be a list of whole numbers, not {_odd(hash_ids)}", place)
    blocks = ceil_div(prompt_tokens, BLOCK_TOKENS)
    if hash_ids and len(hash_ids) != blocks:
        rule = f"must be {blocks}, one a block of {BLOCK_TOKENS} of its {prompt_tokens} tokens"
        raise SpecError(f"hash_ids {rule}, not {len(hash_ids)}", place)
    return tuple(hash_ids)


def _odd(hash_ids: object) -> str:
    """The value, or the first in the list, that is not a whole number."""
    if not isinstance(hash_ids, list):
        return shown(hash_ids)
    return shown(next(item for item in hash_ids if type(item) is not int))
