"""ServeRun → slices of requests: queued, prefill, handover, decode, and preempted in between."""

from collections import defaultdict

import numpy as np

from npusim.report.events import Slices, Tables
from npusim.report.serve.metrics import request_times
from npusim.serve_trace import REJECTED, ServeRun

Piece = tuple[str, int, int]  # name, start and end in ps
FACTS = ("request", "prompt_tokens", "output_tokens", "cached_tokens", "preemptions")


def request_slices(run: ServeRun, tracks: np.ndarray, tables: Tables, end_ps: int) -> Slices:
    """Slices of the first `len(tracks)` requests, each on its track; what had not come when the run
    ended lasts until `end_ps`."""
    away = _preempted(run, end_ps)
    request, names, start, end = [], [], [], []
    for index, phases in enumerate(_phases(run, len(tracks), end_ps)):
        for name, first, last in cut(phases, away.get(index, [])):
            request.append(index)
            names.append(tables.text(name))
            start.append(first)
            end.append(last)
    rows = np.array(request, np.int64)
    times = np.array(start, np.int64), np.array(end, np.int64)
    instances = np.array([tables.text(row.name) for row in run.instances] + [tables.text("-")])
    texts = {"instance": instances[run.requests["instance"][rows]]}
    numbers = {name: run.requests[name][rows] for name in FACTS}
    return Slices(tracks[rows], *times, np.array(names, np.int64), texts, numbers)


def _phases(run: ServeRun, count: int, end_ps: int) -> list[list[Piece]]:
    """What each of the first requests went through, one phase after the other."""
    columns, found = run.requests, []
    handover = request_times(run)["handover_ps"]
    marks = [columns[name] for name in ("arrival_ps", "scheduled_ps", "first_token_ps")]
    finish, status = columns["finish_ps"], columns["status"]
    for index in range(count):
        times = [int(mark[index]) for mark in marks]
        if status[index] == REJECTED:
            found.append([("rejected", times[0], times[0])])
            continue
        there = times[-1] + int(handover[index]) if finish[index] >= 0 else -1
        bounds = [*times, there if there >= 0 else times[-1], int(finish[index])]
        known = [end_ps if bound < 0 else bound for bound in bounds]
        steps = zip(PHASES, known[:-1], known[1:], strict=True)
        found.append([step for step in steps if step[1] < step[2]])
    return found


def _preempted(run: ServeRun, end_ps: int) -> dict[int, list[tuple[int, int]]]:
    """Start and end of the preemptions of each request, in order."""
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    if run.preemptions:
        names = ("request", "start_ps", "end_ps")
        rows = zip(*(run.preemptions[name].tolist() for name in names), strict=True)
        for request, start, end in sorted(rows):
            found[request].append((start, end if end >= 0 else end_ps))
    return found


def cut(phases: list[Piece], away: list[tuple[int, int]]) -> list[Piece]:
    """Phases with `preempted` where intervals of `away` (in order, apart) overlap them."""
    found: list[Piece] = []
    for name, start, end in phases:
        at = start
        for first, last in away:
            if first < end and last > start:
                found.append((name, at, max(at, first)))
                found.append(("preempted", max(first, start), min(last, end)))
                at = min(last, end)
        found.append((name, at, end))
    return [p for p in found if p[1] < p[2] or p[0] == "rejected"]


PHASES = ("queued", "prefill", "handover", "decode")
