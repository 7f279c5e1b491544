"""A machine that cannot proceed → the waiting cores, tasks and links, in words."""

import numpy as np

from npusim.engine.state import Machine
from npusim.engine.tables import NONE, RECV, SEND

MOST_LINES = 12
KIND = ("compute", "load", "store", "send", "recv", "sync")


def describe(m: Machine) -> list[str]:
    """One line a stuck queue, receive or locked link; the first few, then a count."""
    lines = [*_queues(m), *_receives(m), *_links(m)]
    if not lines:
        lines = [f"{int(m.g['tasks_left'][0])} tasks wait for one another"]
    more = len(lines) - MOST_LINES
    return lines[:MOST_LINES] + ([f"and {more} more"] if more > 0 else [])


def _queues(m: Machine):
    for queue in m.queues:
        if queue["task"] != NONE and queue["engine"] != NONE:
            yield _transfer(m, int(queue["task"]), queue)
        elif queue["task"] == NONE and queue["pos"] < queue["end"]:
            task = int(m.queue_tasks[queue["pos"]])
            yield f"core {queue['core']}: {KIND[m.kind[task]]} task {task} waits for {_needs(m, task)}"


def _transfer(m: Machine, task: int, queue) -> str:
    kind = KIND[m.kind[task]]
    if m.kind[task] != SEND:
        return f"core {queue['core']}: {kind} task {task} has units under way"
    receiver = int(m.core_of[m.match[task]])
    why = f"waits for core {receiver} to receive" if queue["answered"] == 0 else "is blocked"
    return f"core {queue['core']}: send task {task} ({m.bytes[task]} B to core {receiver}) {why}"


def _needs(m: Machine, task: int) -> str:
    """The first unfinished dependency, found by looking through the successor lists."""
    places = np.flatnonzero(m.dependents == task)
    owners = np.searchsorted(m.dependents_start, places, side="right") - 1
    for owner in owners:
        if m.tasks["end"][owner] < 0:
            return f"{KIND[m.kind[owner]]} task {owner} of core {m.core_of[owner]}"
    return "its queue"


def _receives(m: Machine):
    open_receives = (m.kind == RECV) & (m.tasks["end"] < 0) & (m.tasks["posted"] == 1)
    for task in np.flatnonzero(open_receives):
        sender = int(m.core_of[m.match[task]])
        yield f"core {m.core_of[task]}: recv task {task} waits for core {sender} to send"


def _links(m: Machine):
    for link in np.flatnonzero((m.links["wishes"] != NONE) & (m.links["owner"] != NONE)):
        yield f"link {link}: locked by the message of task {m.links['owner'][link]}"
