"""ServeRun → a Timeline: requests and instances as tracks, moves of KV between them as arrows."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from npusim.report.events import Counts, Group, Slices, Tables, Timeline
from npusim.report.lanes import lanes
from npusim.report.serve.instances import iterations_of, last_ps
from npusim.report.serve.requests import request_slices
from npusim.report.timeline import write_events
from npusim.serve_trace import TRANSFER, ServeRun

MAX_REQUESTS = 2_000  # that get a track; viewers do not hold many more
GROUP_REQUESTS = 100
CHUNK = 200_000
TRACKS = ("iterations", "KV sent", "KV received", "KV swapped")
COUNTERS = (("batch", "requests"), ("waiting", "requests"), ("KV", "blocks"))  # name, unit
SENT, RECEIVED, SWAPPED = 1, 2, 3
NAMES = ("idle", "prefill", "decode", "prefill and decode")
ARGUMENTS = ("prefill_tokens", "decodes", "requests", "context_tokens", "waiting", "kv_blocks")


def write_serve_timeline(run: ServeRun, path: str | Path) -> Path:
    """Writes a timeline in the format that the suffix asks for; returns the path.

    The same run gives the same bytes. Raises SpecError for an unknown suffix.
    """
    return write_events(serve_timeline(run), path)


def serve_timeline(run: ServeRun) -> Timeline:
    """Lays out the tracks: for each instance its iterations (in lanes where they overlap), KV sent,
    received and swapped, and counters; for each of the first MAX_REQUESTS requests what it waits
    for and what is done for it."""
    shown = min(MAX_REQUESTS, len(run.requests["request"]))
    instances = [Group(_instance_group(row.name), "Instances") for row in run.instances]
    tables = Tables([*instances, *_request_groups(len(run.requests["request"]), shown)])
    parts = [_iterations(run, tables), *_moves(run, tables, shown)]
    counts = list(_counts(run, tables))
    tracks = [_request_track(tables, i, shown, len(run.requests["request"])) for i in range(shown)]
    end_ps = last_ps(run)
    parts.append(request_slices(run, np.array(tracks, np.int64), tables, end_ps))

    def events() -> Iterator[Slices | Counts]:
        for part in parts:
            yield from _chunks(part)
        yield from counts

    return Timeline(tables.groups, tables.track_list(), list(tables.strings), end_ps, events)


def _instance_group(name: str) -> str:
    return f"Instance {name}"


def _request_groups(count: int, shown: int) -> list[Group]:
    section = f"Requests (first {shown:,} of {count:,})" if shown < count else "Requests"
    firsts = range(0, shown, GROUP_REQUESTS)
    return [Group(_request_group(first, shown, count), section) for first in firsts]


def _request_group(index: int, shown: int, count: int) -> str:
    first = index // GROUP_REQUESTS * GROUP_REQUESTS
    last = min(first + GROUP_REQUESTS, shown) - 1
    return f"Requests {first}-{last}" + (f" of {count:,}" if shown < count else "")


def _request_track(tables: Tables, index: int, shown: int, count: int) -> int:
    return tables.track(_request_group(index, shown, count), f"request {index}", index)


def _in_lanes(
    run: ServeRun,
    tables: Tables,
    instance: np.ndarray,
    which: int,
    start_ps: np.ndarray,
    end_ps: np.ndarray,
) -> np.ndarray:
    """Track of each interval (by start): TRACKS[which] of its instance, in lanes."""
    track = np.zeros(len(instance), np.int64)
    for index in np.unique(instance).tolist():
        chosen = np.flatnonzero(instance == index)
        lane = lanes(start_ps[chosen], end_ps[chosen])
        group, name = _instance_group(run.instances[index].name), TRACKS[which]
        ids = [tables.track(group, name, which, i) for i in range(int(lane.max()) + 1)]
        track[chosen] = np.array(ids)[lane]
    return track


def _iterations(run: ServeRun, tables: Tables) -> Slices:
    columns = iterations_of(run)
    times = columns["start_ps"], columns["end_ps"]
    names = np.array([tables.text(name) for name in NAMES])
    kind = (columns["prefill_tokens"] > 0) + 2 * (columns["decodes"] > 0)
    numbers = {name: columns[name] for name in ARGUMENTS}
    track = _in_lanes(run, tables, columns["instance"], 0, *times)
    return Slices(track, *times, names[kind], {}, numbers)


def _moves(run: ServeRun, tables: Tables, shown: int) -> list[Slices]:
    """KV that is sent, the same as it is received, and swaps; an arrow from each sent one."""
    moved = run.transfers["kind"] == TRANSFER
    flow = np.where(moved, np.arange(1, len(moved) + 1), 0)
    names = _move_names(run, tables, shown)
    found = []
    for which, end, chosen, sign in (
        (SENT, "source", moved, 1),
        (RECEIVED, "destination", moved, -1),
        (SWAPPED, "source", ~moved, 0),
    ):
        mine = {name: column[chosen] for name, column in run.transfers.items()}
        times = mine["start_ps"], mine["end_ps"]
        track = _in_lanes(run, tables, mine[end], which, *times)
        numbers = {name: mine[name] for name in ("request", "bytes")}
        arrows = sign * flow[chosen] if sign else None
        found.append(Slices(track, *times, names[chosen], {}, numbers, arrows))
    return found


def _move_names(run: ServeRun, tables: Tables, shown: int) -> np.ndarray:
    """Moves are named by their request, those of requests without a track are not."""
    columns = run.transfers
    named = np.array([tables.text(f"KV of request {i}") for i in range(shown)] + [0], np.int64)
    named[-1] = tables.text("KV")
    swaps = np.array([0, tables.text("swap out"), tables.text("swap in")])
    by_request = named[np.minimum(columns["request"], shown)]
    return np.where(columns["kind"] == TRANSFER, by_request, swaps[columns["kind"]])


def _counts(run: ServeRun, tables: Tables) -> Iterator[Counts]:
    """Of each instance: requests in its batch (0 while none runs), requests that wait, KV blocks;
    as they were when a batch was chosen."""
    for index, instance in enumerate(run.instances):
        mine = iterations_of(run, index)
        start = mine["start_ps"]
        series = (batch_steps(mine), (start, mine["waiting"]), (start, mine["kv_blocks"]))
        named = enumerate(zip(COUNTERS, series, strict=True), len(TRACKS))
        for rank, ((name, unit), (times, values)) in named:
            if len(times):
                track = tables.track(_instance_group(instance.name), name, rank, unit=unit)
                yield Counts(track, *_changes(times, values))


def batch_steps(
    mine: dict[str, np.ndarray], shortest_gap_ps: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Times and values of an instance's batch size: that of the last batch that started, 0 once
    none runs, for at least `shortest_gap_ps`."""
    start, reach = mine["start_ps"], np.maximum.accumulate(mine["end_ps"])
    last = (
        np.append(start[1:] - reach[:-1] >= shortest_gap_ps, True)
        if len(start)
        else np.zeros(0, bool)
    )
    times = np.concatenate((start, reach[last]))
    values = np.concatenate((mine["requests"], np.zeros(int(last.sum()), np.int64)))
    order = np.argsort(times, kind="stable")
    return times[order], values[order]


def _changes(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = np.diff(values, prepend=-1) != 0
    return times[keep], values[keep].astype(float)


def _chunks(part: Slices) -> Iterator[Slices]:
    for first in range(0, len(part.track), CHUNK):
        rows = slice(first, first + CHUNK)
        yield Slices(
            part.track[rows],
            part.start_ps[rows],
            part.end_ps[rows],
            part.name[rows],
            {name: column[rows] for name, column in part.texts.items()},
            {name: column[rows] for name, column in part.numbers.items()},
            None if part.flow is None else part.flow[rows],
        )
