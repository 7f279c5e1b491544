"""Setup and Run → a Timeline: units of cores, channels and links as tracks, with their events."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from npusim.report.events import Counts, Group, Slices, Tables, Timeline
from npusim.report.lanes import lanes
from npusim.report.occupancy import occupancy
from npusim.report.usage import short_name
from npusim.trace import (
    FIRST_ARRAY_UNIT,
    FIRST_DMA_UNIT,
    KIND_NAMES,
    NONE,
    RECV,
    SEND,
    SYNC,
    UNITS_PER_CORE,
    VECTOR_UNIT,
    Iteration,
    Run,
    Trace,
)
from npusim.units import PS_PER_NS

if TYPE_CHECKING:
    from npusim.spec.load import Setup

CHUNK = 200_000
LANES_BESIDE = 2
RECV_UNIT = UNITS_PER_CORE  # RECVs have no unit; they get a track of their own
CHIP, CORES, MEMORY, NOC = "Chip", "Cores", "Memory", "NoC"  # viewers sort them by name
COUNTED = (
    ("memory bandwidth", "channel_bins"),
    ("NoC bandwidth", "link_bins"),
)


@dataclass
class _View:
    """One trace, prepared once: rows to show and their tracks, strings by op, counters."""

    trace: Trace
    rows: np.ndarray
    track: np.ndarray
    name: np.ndarray  # (kinds, ops)
    op_text: np.ndarray
    layer_text: np.ndarray
    span_track: np.ndarray
    counts: list[Counts]


def timeline(setup: "Setup", run: Run) -> Timeline:
    """Lays out the tracks of a run; its events are made anew at each `events()`."""
    del setup  # names and numbers are all in the trace
    trace = run.iterations[0].trace
    cores = [Group(_core_group(name), CORES) for name in trace.core_names]
    tables = Tables([Group(CHIP), *cores, Group(MEMORY), Group(NOC)])
    tables.track(CHIP, "iterations", 0)
    views: dict[int, _View] = {}
    for iteration in run.iterations:
        if id(iteration.trace) not in views:
            views[id(iteration.trace)] = _view(iteration.trace, tables)
    labels = np.array([tables.text(_label(i)) for i in run.iterations])

    def events() -> Iterator[Slices | Counts]:
        yield _iterations(run, labels)
        flow_base = 1
        for iteration in run.iterations:
            view = views[id(iteration.trace)]
            yield from _tasks(view, iteration.start_ps, flow_base)
            yield from _spans(view, iteration.start_ps)
            yield from _shifted(view.counts, iteration.start_ps)
            flow_base += len(view.trace.program)

    tracks, strings = tables.track_list(), list(tables.strings)
    return Timeline(tables.groups, tracks, strings, run.makespan_ps, events)


def _core_group(name: str) -> str:
    return f"Core {name}"


def _label(iteration: Iteration) -> str:
    if not iteration.reuse:
        return iteration.label
    simulated, reused = (iteration.reuse[k] for k in ("simulated_layers", "reused_layers"))
    return f"{iteration.label} ({simulated} of {simulated + reused} layers simulated and shown)"


def _view(trace: Trace, tables: Tables) -> _View:
    program = trace.program
    shown = np.flatnonzero((trace.end_ps >= 0) & (program.kind != SYNC))
    rows = shown[np.lexsort((trace.end_ps[shown], trace.start_ps[shown]))]
    names = [
        [
            tables.text(short_name(op) if k == 0 else f"{kind} {short_name(op)}")
            for op in program.ops
        ]
        for k, kind in enumerate(KIND_NAMES)
    ]
    layers = ["-" if op.layer == NONE else str(op.layer) for op in program.ops]
    return _View(
        trace,
        rows,
        _task_tracks(trace, rows, tables),
        np.array(names, np.int64),
        np.array([tables.text(op.name) for op in program.ops], np.int64),
        np.array([tables.text(layer) for layer in layers], np.int64),
        _span_tracks(trace, tables),
        _counts(trace, tables),
    )


def _task_tracks(trace: Trace, rows: np.ndarray, tables: Tables) -> np.ndarray:
    """Track of each task in `rows` (by start): its core's unit, in lanes where tasks overlap."""
    program = trace.program
    unit = np.where(program.kind[rows] == RECV, RECV_UNIT, program.unit[rows]).astype(np.int64)
    queue = program.core[rows] * (RECV_UNIT + 1) + unit
    order = np.argsort(queue, kind="stable")
    bounds = np.flatnonzero(np.diff(queue[order], prepend=-1, append=-1))
    track = np.zeros(len(rows), np.int64)
    for first, last in pairwise(bounds):
        chosen = order[first:last]
        core, its_unit = divmod(int(queue[chosen[0]]), RECV_UNIT + 1)
        lane = lanes(trace.start_ps[rows[chosen]], trace.end_ps[rows[chosen]])
        group, name = _core_group(trace.core_names[core]), unit_name(its_unit)
        rank = its_unit if its_unit != VECTOR_UNIT else FIRST_DMA_UNIT - 1  # behind the arrays
        ids = [tables.track(group, *_row(name, rank, i)) for i in range(int(lane.max()) + 1)]
        track[chosen] = np.array(ids)[lane]
    return track


def _row(name: str, rank: int, lane: int) -> tuple[str, int, int]:
    """Name, rank and lane of a track: few lanes beside the other units, the rest below them all."""
    if lane < LANES_BESIDE:
        return name, rank, lane
    return f"{name}, more in flight", rank + RECV_UNIT, lane - LANES_BESIDE


def unit_name(unit: int) -> str:
    """Track name of a core's unit; RECV_UNIT stands for receiving."""
    if unit == RECV_UNIT:
        return "receive"
    if unit == VECTOR_UNIT:
        return "vector"
    if unit >= FIRST_DMA_UNIT:
        return f"dma {unit - FIRST_DMA_UNIT}"
    return f"array {unit - FIRST_ARRAY_UNIT}"


def _span_tracks(trace: Trace, tables: Tables) -> np.ndarray:
    """Track of each channel and link; only those that carried something get one."""
    num_channels = len(trace.channel_names)
    used = np.zeros(num_channels + len(trace.link_names), bool)
    if trace.spans is not None:
        for chunk in trace.spans.chunks():
            used[chunk["track"]] = True
    track = np.full(len(used), NONE, np.int64)
    for index in np.flatnonzero(used).tolist():
        if index < num_channels:
            track[index] = tables.track(MEMORY, trace.channel_names[index], index)
        else:
            track[index] = tables.track(NOC, trace.link_names[index - num_channels], index)
    return track


def _counts(trace: Trace, tables: Tables) -> list[Counts]:
    """Bandwidth of all channels and of all links, and the scratchpad bytes of each core."""
    found = []
    for rank, (name, attribute) in enumerate(COUNTED, 1):
        bins = getattr(trace, attribute)
        if bins is not None and trace.bin_ps:
            gb_s = bins.sum(axis=0) * (PS_PER_NS / trace.bin_ps)
            times = np.arange(len(gb_s) + 1, dtype=np.int64) * trace.bin_ps
            keep = times <= trace.makespan_ps
            track = tables.track(CHIP, name, rank, unit="GB/s")
            found.append(Counts(track, times[keep], np.append(gb_s, 0.0)[keep]))
    for core, (times, num_bytes) in enumerate(occupancy(trace)):
        if len(times):
            track = tables.track(
                _core_group(trace.core_names[core]), "scratchpad", RECV_UNIT - 1, unit="bytes"
            )
            found.append(Counts(track, times, num_bytes.astype(float)))
    return found


def _iterations(run: Run, labels: np.ndarray) -> Slices:
    start = np.array([i.start_ps for i in run.iterations], np.int64)
    length = np.array([i.makespan_ps for i in run.iterations], np.int64)
    tokens = np.array([i.new_tokens for i in run.iterations], np.int64)
    track = np.zeros(len(start), np.int64)
    return Slices(track, start, start + length, labels, {}, {"new_tokens": tokens})


def _tasks(view: _View, base_ps: int, flow_base: int) -> Iterator[Slices]:
    program = view.trace.program
    for first in range(0, len(view.rows), CHUNK):
        rows = view.rows[first : first + CHUNK]
        kind, op = program.kind[rows], program.op[rows]
        flow = np.where(kind == SEND, flow_base + rows, 0)
        flow -= np.where(kind == RECV, flow_base + program.match[rows], 0)
        yield Slices(
            view.track[first : first + CHUNK],
            view.trace.start_ps[rows] + base_ps,
            view.trace.end_ps[rows] + base_ps,
            view.name[kind, op],
            {"op": view.op_text[op], "layer": view.layer_text[op]},
            {"bytes": program.bytes[rows], "flops": program.flops[rows], "task": rows},
            flow,
        )


def _spans(view: _View, base_ps: int) -> Iterator[Slices]:
    if view.trace.spans is None:
        return
    program = view.trace.program
    for chunk in view.trace.spans.chunks():
        for first in range(0, len(chunk), CHUNK):
            part = chunk[first : first + CHUNK]
            task = part["task"]
            op = program.op[task]
            yield Slices(
                view.span_track[part["track"]],
                part["start_ps"] + base_ps,
                part["end_ps"] + base_ps,
                view.name[program.kind[task], op],
                {"op": view.op_text[op]},
                {"bytes": part["bytes"], "task": task},
            )


def _shifted(counts: list[Counts], base_ps: int) -> Iterator[Counts]:
    for one in counts:
        yield Counts(one.track, one.time_ps + base_ps, one.value)
