"""Tasks that were handed over one after the other → one table of all of them."""

from dataclasses import fields

import numpy as np

from npusim.engine.tables import INT, NONE, Tasks

BY_QUEUE = ("queue_start", "queue_tasks", "queue_core", "queue_engine", "queue_key")


def no_tasks() -> Tasks:
    """An empty table."""
    starts = {"dependents_start", "queue_start"}
    return Tasks(**{f.name: np.zeros(int(f.name in starts), INT) for f in fields(Tasks)})


def join(old: Tasks, new: Tasks) -> Tasks:
    """The tasks of `new` behind those of `old`; a queue that `old` has goes on."""
    keys = old.queue_keys.tolist() + [k for k in new.queue_keys.tolist() if k not in old.queue_keys]
    rows = np.array([keys.index(key) for key in new.queue_keys.tolist()], INT)
    shift, num_dependents = len(old), len(old.dependents)
    moved = {
        "queue": np.append(rows, NONE)[new.queue],  # NONE is the last
        "match": np.where(new.match == NONE, NONE, new.match + shift),
        "dependents_start": new.dependents_start[1:] + num_dependents,
        "dependents": new.dependents + shift,
    }
    columns = {
        f.name: np.concatenate([getattr(old, f.name), moved.get(f.name, getattr(new, f.name))])
        for f in fields(Tasks)
        if f.name not in BY_QUEUE
    }
    is_new = ~np.isin(new.queue_keys, old.queue_keys)
    in_queues = np.concatenate([old.queue_tasks, new.queue_tasks + shift])
    order = np.argsort(columns["queue"][in_queues], kind="stable")
    lengths = np.bincount(columns["queue"][in_queues], minlength=len(keys))
    return Tasks(
        **columns,
        queue_start=np.concatenate([np.zeros(1, INT), np.cumsum(lengths)]),
        queue_tasks=in_queues[order],
        queue_core=np.concatenate([old.queue_core, new.queue_core[is_new]]),
        queue_engine=np.concatenate([old.queue_engine, new.queue_engine[is_new]]),
        queue_key=np.array(keys, INT),
    )
