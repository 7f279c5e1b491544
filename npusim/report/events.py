"""What a timeline is made of: groups, tracks and a stream of slices and counter values.

Both file formats are written from it. Times are kept in ps; the formats hold whole nanoseconds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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


@dataclass
class Tables:
    """What is numbered while the tracks are laid out: groups first, then tracks and strings as
    they are asked for."""

    groups: list[Group] = field(default_factory=list)
    tracks: dict[tuple[str, str, int], int] = field(default_factory=dict)
    ranks_units: list[tuple[int, str]] = field(default_factory=list)
    strings: dict[str, int] = field(default_factory=dict)

    def text(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def track(self, group: str, name: str, rank: int, lane: int = 0, unit: str = "") -> int:
        key = (group, name, lane)
        if key not in self.tracks:
            self.tracks[key] = len(self.tracks)
            self.ranks_units.append((rank, unit))
        return self.tracks[key]

    def track_list(self) -> list[Track]:
        numbers = {group.name: i for i, group in enumerate(self.groups)}
        rows = zip(self.tracks, self.ranks_units, strict=True)
        return [Track(key[1], numbers[key[0]], rank, unit) for key, (rank, unit) in rows]
