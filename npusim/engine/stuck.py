"""A machine that cannot proceed → the waiting cores, tasks and links, in words."""

from collections.abc import Iterator

import numpy as np

from npusim.engine import layout as at
from npusim.engine.streams import Streams
from npusim.engine.tables import RECV, SEND, Wiring

MOST_LINES = 12
KIND = ("compute", "load", "store", "send", "recv", "sync")


def describe(streams: Streams, wiring: Wiring) -> list[str]:
    """One line a stuck queue, receive or locked link; the first few, then a count."""
    lines = [*_queues(streams), *_receives(streams), *_links(streams, wiring)]
    if not lines:
        tables = [stream.tasks.view(streams.arena.words) for stream in streams.live]
        left = sum(int((table[:, at.T_END] < 0).sum()) for table in tables)
        lines = [f"{left} tasks wait for one another"]
    more = len(lines) - MOST_LINES
    return lines[:MOST_LINES] + ([f"and {more} more"] if more > 0 else [])


def _core(words: np.ndarray, task: int) -> int:
    return int(words[words[task + at.T_CORE] + at.C_NODE])


def _name(words: np.ndarray, task: int) -> str:
    return f"{KIND[words[task + at.T_KIND]]} task {words[task + at.T_NUMBER]}"


def _queues(streams: Streams) -> Iterator[str]:
    words = streams.arena.words
    for queue in streams.queues.values():
        core = words[words[queue + at.Q_CORE] + at.C_NODE]
        task = int(words[queue + at.Q_NEXT])
        if words[queue + at.Q_TASK] != at.NIL and words[queue + at.Q_ENGINE] != at.NIL:
            yield f"core {core}: {_transfer(words, queue)}"
        elif task != at.NIL:
            yield f"core {core}: {_name(words, task)} waits for {_needs(streams, task)}"


def _transfer(words: np.ndarray, queue: int) -> str:
    task = int(words[queue + at.Q_TASK])
    name = _name(words, task)
    if words[task + at.T_KIND] != SEND:
        return f"{name} has units under way"
    receiver = _core(words, int(words[task + at.T_MATCH]))
    waits = words[at.HANDSHAKE] and not words[queue + at.Q_ANSWERED]
    why = f"waits for core {receiver} to receive" if waits else "is blocked"
    return f"{name} ({words[task + at.T_BYTES]} B to core {receiver}) {why}"


def _needs(streams: Streams, task: int) -> str:
    """The first unfinished dependency, found by looking through the successor lists."""
    words = streams.arena.words
    for stream in streams.live:
        places = np.flatnonzero(stream.successors.view(words)[:, 0] == task)
        table = stream.tasks.view(words)
        starts = table[:, at.T_SUCCESSORS] - stream.successors.first
        for owner in np.searchsorted(starts, places, side="right") - 1:
            if table[owner, at.T_END] < 0:
                other = stream.tasks.first + int(owner) * at.T_SIZE
                return f"{_name(words, other)} of core {_core(words, other)}"
    return "its queue"


def _receives(streams: Streams) -> Iterator[str]:
    words = streams.arena.words
    for stream in streams.live:
        table = stream.tasks.view(words)
        posted = (table[:, at.T_KIND] == RECV) & (table[:, at.T_POSTED] == 1)
        for task in table[posted & (table[:, at.T_END] < 0)]:
            core, sender = words[task[at.T_CORE] + at.C_NODE], _core(words, int(task[at.T_MATCH]))
            number = task[at.T_NUMBER]
            yield f"core {core}: recv task {number} waits for core {sender} to send"


def _links(streams: Streams, wiring: Wiring) -> Iterator[str]:
    words, links = streams.arena.words, streams.arena.table("links")
    wanted = (links[:, at.L_WISHES] != at.NIL) & (links[:, at.L_OWNER] != at.NIL)
    for link in np.flatnonzero(wanted):
        owner = words[links[link, at.L_OWNER] + at.T_NUMBER]
        yield f"link {wiring.link_name[link]}: locked by the message of task {owner}"
