"""What one rank emits → the same tasks of the ranks behind it that do the same, in one table."""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from npusim.passes.emit.core_state import CoreState, Touch, Window
from npusim.passes.emit.tasks import Emission, Ranks
from npusim.program import LOAD, NONE, STORE

LEAST_TASKS = 12  # to copy; fewer are emitted as quickly

Home = tuple[int, int]  # memory id, address
Buffers = tuple[str, ...]  # of a CoreState: weights, kv


def by_rank(
    emission: Emission,
    layer: int,
    after: Ranks,
    same: Callable[[int], Hashable],
    emit: Callable[[int], list[int]],
    buffers: Buffers = (),
) -> Ranks:
    """`emit(rank)` of all ranks, in order. Neighbours that do the same are emitted once and copied.

    `emit` may look at what `same(rank)` says, the tasks of `after[rank]`, the rank's core and those
    of its `buffers` (weights, kv), at tasks only to hand them on; it sends no messages. `layer`:
    whose KV cache it loads and stores.
    """
    done: Ranks = []
    keys = [
        (same(rank), len(after[rank]), _known(core, layer, buffers))
        for rank, core in enumerate(emission.cores)
    ]
    while len(done) < len(keys):
        first = last = len(done)
        while last < len(keys) and keys[last] == keys[first]:
            last += 1
        done += _emit_alike(emission, layer, after, range(first, last), emit, buffers)
    return done


def _known(core: CoreState, layer: int, buffers: Buffers) -> tuple:
    """What emission sees of a core, but for task numbers and places in memory."""
    windows = [
        (window.limit_bytes, window.used_bytes, [(size, len(tasks)) for size, tasks in window.held])
        for window in _windows(core, buffers)
    ]
    kv = (core.kv_resident_bytes.get(layer), core.kv_bytes.get(layer))
    return core.cost, core.buffers, core.spill_limit_bytes, core.num_engines, kv, windows


def _windows(core: CoreState, buffers: Buffers) -> list[Window]:
    return [getattr(core, name) for name in buffers]


def _emit_alike(
    emission: Emission,
    layer: int,
    after: Ranks,
    ranks: range,
    emit: Callable[[int], list[int]],
    buffers: Buffers,
) -> Ranks:
    builder = emission.builder
    first, touched = len(builder), len(emission.touches)
    given = [_given(emission.cores[rank], after[rank], buffers) for rank in ranks]
    done = emit(ranks[0])
    num_tasks, others = len(builder) - first, ranks[1:]
    names = _names(given)
    if num_tasks * len(others) < LEAST_TASKS or names is None:
        return [done, *(emit(rank) for rank in others)]
    touches = emission.touches[touched:]
    cores = [emission.cores[rank] for rank in ranks]
    _copy_rows(emission, first, names, cores, touches, layer)
    found = [done]
    for index, core in enumerate(cores[1:], start=1):
        copy = _Copy(first, index * num_tasks, dict(zip(given[0], given[index], strict=True)))
        for old, new in zip(_windows(cores[0], buffers), _windows(core, buffers), strict=True):
            copy.window(old, new)
        found.append(copy.tasks(done))
        emission.touches += [
            Touch(t.task + copy.shift, core.core, t.tensor, t.layer) for t in touches
        ]
    return found


def _given(core: CoreState, after: Sequence[int], buffers: Buffers) -> list[int]:
    """Tasks that stand before a rank's own and that these may wait for."""
    held = [task for w in _windows(core, buffers) for _, tasks in w.held for task in tasks]
    return [*after, *held]


def _names(given: list[list[int]]) -> np.ndarray | None:
    """(ranks, tasks): the first rank's given tasks in ascending order, and what stands for each of
    them at the others; None when one task of the first stands for two of another."""
    table = np.array(given, np.int64)
    _, index, back = np.unique(table[0], return_index=True, return_inverse=True)
    names = table[:, index]
    return names if np.array_equal(names[:, back], table) else None


@dataclass(frozen=True)
class _Copy:
    """The first rank's tasks from row `first` on, `shift` rows later; `names`: of those before."""

    first: int
    shift: int
    names: dict[int, int]

    def tasks(self, tasks: list[int]) -> list[int]:
        return [t + self.shift if t >= self.first else self.names[t] for t in tasks]

    def window(self, source: Window, target: Window) -> None:
        target.used_bytes = source.used_bytes
        target.held = deque((size, self.tasks(tasks)) for size, tasks in source.held)


def _copy_rows(
    emission: Emission,
    first: int,
    names: np.ndarray,
    cores: Sequence[CoreState],
    touches: Sequence[Touch],
    layer: int,
) -> None:
    """Appends the rows from `first` on, those of cores[0], for each of the other cores."""
    builder = emission.builder
    columns, dep_start, deps = builder.table(first, len(builder))
    num_tasks, num_copies = len(dep_start) - 1, len(cores) - 1
    assert (columns["match"] == NONE).all(), "messages are not for one rank alone"
    copied = {name: np.tile(column, num_copies) for name, column in columns.items()}
    copied["core"] = np.repeat([core.core for core in cores[1:]], num_tasks)
    transfers = np.flatnonzero((columns["kind"] == LOAD) | (columns["kind"] == STORE))
    memory, moved = _homes(transfers + first, cores, touches, layer)
    at = (np.arange(num_copies)[:, None] * num_tasks + transfers).ravel()
    copied["memory"][at] = memory.ravel()
    copied["address"][at] += moved.ravel()
    shifts = np.arange(1, num_copies + 1)[:, None] * num_tasks
    waits = deps.astype(np.int64) + shifts
    outside = deps < first
    which = np.searchsorted(names[0], deps[outside])
    waits[:, outside] = names[1:, which]
    ends = dep_start[1:] + np.arange(num_copies)[:, None] * len(deps)
    builder.extend(copied, np.concatenate([[0], ends.ravel()]), waits.ravel())


def _homes(
    tasks: np.ndarray, cores: Sequence[CoreState], touches: Sequence[Touch], layer: int
) -> tuple[np.ndarray, np.ndarray]:
    """(copies, tasks): the memory of each load and store, and how far its address moves."""
    tensor_of = {touch.task: touch.tensor for touch in touches}
    wanted = [tensor_of.get(task) for task in tasks.tolist()]
    tensors = {tensor: i for i, tensor in enumerate(dict.fromkeys(wanted))}
    homes = np.array([[_home(core, t, layer) for t in tensors] for core in cores], np.int64)
    found = homes.reshape(len(cores), len(tensors), 2)[:, [tensors[t] for t in wanted]]
    return found[1:, :, 0], found[1:, :, 1] - found[0, :, 1]


def _home(core: CoreState, tensor: str | None, layer: int) -> Home:
    """Where a tensor of a core lies, "": its KV cache, None: what does not fit the scratchpad."""
    if tensor is None:
        return core.memory_id, core.spill_address
    if not tensor:
        return core.kv_memory_id, core.kv_address[layer]
    return core.plan.weights[tensor].memory_id, core.plan.weights[tensor].address
