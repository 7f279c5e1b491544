"""Every error a user can meet: one line with place, rule, value and the nearest choice."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class NpusimError(Exception):
    """Base of all errors that are the user's to mend; the CLI prints them as one line."""

    exit_code = 1


class SpecError(NpusimError):
    """Bad input: a file, key, value or option. `place` is `file:line` or an option's name."""

    exit_code = 2

    def __init__(self, message: str, place: str = ""):
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place
        self.message = message


class CapacityError(NpusimError):
    """Something does not fit: the text gives demand, bound and the lever to pull."""


class DeadlockError(NpusimError):
    """The simulation cannot proceed; the text names the waiting cores, tasks and links."""


class StarvationError(NpusimError):
    """A scheduler leaves a request waiting for ever; the text names both and what it waits for."""


def nearest(value: object, choices: Iterable[object]) -> str:
    """`; did you mean 'x'?` for the choice closest to `value`, or nothing when none is close."""
    close = difflib.get_close_matches(str(value), [str(c) for c in choices], n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def pick(table: Mapping[str, T], name: str, what: str, place: str = "") -> T:
    """The row of `table` called `name`.

    Raises SpecError listing the choices and the nearest one when there is no such row.
    """
    if name in table:
        return table[name]
    choices = ", ".join(sorted(table))
    raise SpecError(f"{what} must be one of {choices}, not {name!r}{nearest(name, table)}", place)
