"""What a timeline is made of: groups, tracks and a stream of slices and counter values.

Both file formats are written from it. Times are kept in ps; the formats hold whole nanoseconds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Group:
    """Tracks that belong together: a core, or all channels. `section`: groups that are alike."""

    name: str
    section: str = ""


@dataclass(frozen=True)
class Track:
    """A row of the timeline. A counter has a `unit`; the slices of others never overlap, so
    tracks of one `name` in one group are lanes of the same thing. `group` indexes groups; `rank`
    orders the tracks of a group."""

    name: str
    group: int
    rank: int
    unit: str = ""


@dataclass(frozen=True)
class Slices:
    """Slices, by start in each track. `name` and `texts` index Timeline.strings. `flow`: 0, or
    +id where an arrow starts and -id where it ends."""

    track: np.ndarray
    start_ps: np.ndarray
    end_ps: np.ndarray
    name: np.ndarray
    texts: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    flow: np.ndarray | None = None


@dataclass(frozen=True)
class Counts:
    """Values of one counter track from given times on."""

    track: int
    time_ps: np.ndarray
    value: np.ndarray


@dataclass
class Timeline:
    """Groups in order, tracks, the strings that slices refer to, and `events()`."""

    groups: list[Group]
    tracks: list[Track]
    strings: list[str]
    end_ps: int
    events: Callable[[], Iterator[Slices | Counts]]
