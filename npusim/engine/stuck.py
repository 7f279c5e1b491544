"""A machine that cannot proceed → the waiting cores, tasks and links, in words."""

from collections.abc import Iterator

import numpy as np

from npusim.engine import layout as at
from npusim.engine.arena import Arena
from npusim.engine.tables import RECV, SEND, Tasks, Wiring

MOST_LINES = 12
KIND = ("compute", "load", "store", "send", "recv", "sync")


def describe(arena: Arena, wiring: Wiring, tasks: Tasks) -> list[str]:
    """One line a stuck queue, receive or locked link; the first few, then a count."""
    end = arena.tasks[:, at.T_END]
    lines = [*_queues(arena, tasks, end), *_receives(arena, tasks, end), *_links(arena, wiring)]
    if not lines:
        lines = [f"{int((end < 0).sum())} tasks wait for one another"]
    more = len(lines) - MOST_LINES
    return lines[:MOST_LINES] + ([f"and {more} more"] if more > 0 else [])


def _number(arena: Arena, task: int) -> int:
    return (task - int(arena.words[at.TASKS])) // at.T_SIZE


def _queues(arena: Arena, tasks: Tasks, end) -> Iterator[str]:
    for number, queue in enumerate(arena.queues):
        core = tasks.queue_core[number]
        if queue[at.Q_TASK] != at.NIL and queue[at.Q_ENGINE] != at.NIL:
            yield f"core {core}: {_transfer(arena, tasks, queue)}"
        elif queue[at.Q_POS] < queue[at.Q_END]:
            task = _number(arena, int(arena.words[queue[at.Q_POS]]))
            needs = _needs(tasks, task, end)
            yield f"core {core}: {KIND[tasks.kind[task]]} task {task} waits for {needs}"


def _transfer(arena: Arena, tasks: Tasks, queue) -> str:
    task = _number(arena, queue[at.Q_TASK])
    if tasks.kind[task] != SEND:
        return f"{KIND[tasks.kind[task]]} task {task} has units under way"
    receiver = int(tasks.core[tasks.match[task]])
    waits = arena.words[at.HANDSHAKE] and not queue[at.Q_ANSWERED]
    why = f"waits for core {receiver} to receive" if waits else "is blocked"
    return f"send task {task} ({tasks.bytes[task]} B to core {receiver}) {why}"


def _needs(tasks: Tasks, task: int, end) -> str:
    """The first unfinished dependency, found by looking through the successor lists."""
    places = np.flatnonzero(tasks.dependents == task)
    for owner in np.searchsorted(tasks.dependents_start, places, side="right") - 1:
        if end[owner] < 0:
            return f"{KIND[tasks.kind[owner]]} task {owner} of core {tasks.core[owner]}"
    return "its queue"


def _receives(arena: Arena, tasks: Tasks, end) -> Iterator[str]:
    posted = arena.tasks[:, at.T_POSTED] == 1
    for task in np.flatnonzero((tasks.kind == RECV) & (end < 0) & posted):
        sender = int(tasks.core[tasks.match[task]])
        yield f"core {tasks.core[task]}: recv task {task} waits for core {sender} to send"


def _links(arena: Arena, wiring: Wiring) -> Iterator[str]:
    wanted = (arena.links[:, at.L_WISHES] != at.NIL) & (arena.links[:, at.L_OWNER] != at.NIL)
    for link in np.flatnonzero(wanted):
        owner = _number(arena, int(arena.links[link, at.L_OWNER]))
        yield f"link {wiring.link_name[link]}: locked by the message of task {owner}"
