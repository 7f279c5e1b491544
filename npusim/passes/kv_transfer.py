"""Where two instances keep KV, and a number of tokens → a Program that moves a request's KV cache.

Assumes that all rows of a layer with a sliding window are moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npusim.passes.kv_flows import KvHome, KvRow
from npusim.passes.kv_mover import Mover
from npusim.passes.move_engines import COMMON, MoveEngines
from npusim.program import COLUMNS, NONE, Program, ProgramBuilder, check
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Dtypes


@dataclass(frozen=True)
class Move:
    """KV of a request that leaves beside the iteration that makes it: that of `tokens` new ones,
    which are in the scratchpad, and of `context_tokens` that came before."""

    destination: KvHome
    tokens: int
    context_tokens: int = 0


def lower_kv_transfer(
    rows: Sequence[KvRow],
    tokens: int,
    source: KvHome,
    destination: KvHome,
    hardware: Hardware,
    dtypes: Dtypes,
    engines: MoveEngines = COMMON,
) -> Program:
    """The cache of `tokens` of one request, layer after layer, on an idle pair of instances.

    Raises SpecError when an instance has more stages than the model has layers.
    """
    builder = ProgramBuilder()
    mover = Mover(builder, rows, source, hardware, dtypes, engines)
    for row in rows:
        for flow in mover.flows(row, tokens, destination):
            mover.move(flow, row, destination, [])
    program = builder.build()
    check(program)
    return program


def append_kv_transfer(
    program: Program,
    rows: Sequence[KvRow],
    moves: Sequence[Move],
    source: KvHome,
    hardware: Hardware,
    dtypes: Dtypes,
    engines: MoveEngines = COMMON,
) -> tuple[Program, np.ndarray]:
    """An iteration's program with the moves of the requests whose KV it makes: what a core sends of
    a layer waits for its tasks that make it, and stands behind them in the table, so that it goes
    out before the messages of later layers. Also the group of every row: 0 the iteration's, i + 1
    those of `moves[i]`.

    Raises SpecError when an instance has more stages than the model has layers.
    """
    builder = _started(program)
    mover = Mover(builder, rows, source, hardware, dtypes, engines)
    made, num_own = _Made(program, rows), len(program)
    place, group = list(range(num_own)), [0] * num_own
    for last, row, core in made.in_order([mover.cores(row, source) for row in rows]):
        ready = [builder.sync(core, mover.op_row(row), made.tasks[row.layer, core])]
        place.append(last)
        group.append(0)
        for index, move in enumerate(moves):
            _move_of(mover, move, row, core, ready)
            added = len(builder) - len(place)
            place += [last] * added
            group += [index + 1] * added
    order = np.argsort(np.array(place), kind="stable")
    merged = reordered(builder.build(), order)
    check(merged)
    return merged, np.array(group, np.int32)[order]


def _move_of(mover: Mover, move: Move, row: KvRow, core: int, ready: list[int]) -> None:
    """What one core sends of one layer for one request."""
    for tokens, is_new in ((move.context_tokens, False), (move.tokens, True)):
        for flow in mover.flows(row, tokens, move.destination) if tokens else ():
            if flow.src == core:
                waits = ready if is_new else []
                mover.move(flow, row, move.destination, waits, at_hand=is_new)


class _Made:
    """The tasks of an iteration that make each core's KV of each layer."""

    def __init__(self, program: Program, rows: Sequence[KvRow]) -> None:
        self.rows = rows
        names = {name: row.layer for row in rows for name in row.producers}
        # a collective behind an op is called after it
        layers = [
            next((names[n] for n in (op.name, op.name.rpartition(".")[0]) if n in names), NONE)
            for op in program.ops
        ]
        layer = np.array(layers, np.int64)[program.op]
        self.tasks: dict[tuple[int, int], list[int]] = {}
        for task in np.flatnonzero(layer != NONE).tolist():
            key = int(layer[task]), int(program.core[task])
            self.tasks.setdefault(key, []).append(task)

    def in_order(self, cores: Sequence[Sequence[int]]) -> list[tuple[int, KvRow, int]]:
        """(last task, row, core) for all that is made, in the order in which it is done."""
        found = [
            (self.tasks[row.layer, core][-1], row, core)
            for row, own in zip(self.rows, cores, strict=True)
            for core in own
            if (row.layer, core) in self.tasks
        ]
        return sorted(found, key=lambda item: item[0])


def _started(program: Program) -> ProgramBuilder:
    """A builder that has the rows of `program`."""
    builder = ProgramBuilder()
    builder.extend(program.columns, program.dep_start, program.deps)
    builder.ops += program.ops
    builder.placed += program.placed
    builder.notes += program.notes
    return builder


def reordered(program: Program, order: np.ndarray) -> Program:
    """The same tasks, row i being what was row `order[i]`; every dependency must stay in front of
    its dependents."""
    new_index = np.empty(len(order), np.int64)
    new_index[order] = np.arange(len(order))
    columns = {name: program.columns[name][order] for name in COLUMNS}
    matched = columns["match"]
    columns["match"] = np.where(matched < 0, NONE, new_index[matched]).astype(np.int32)
    counts = np.diff(program.dep_start)[order]
    dep_start = np.concatenate([[0], np.cumsum(counts)])
    # the deps of new row i are those of its old row, one after the other
    within = np.arange(dep_start[-1]) - np.repeat(dep_start[:-1], counts)
    deps = program.deps[np.repeat(program.dep_start[:-1][order], counts) + within]
    deps = new_index[deps].astype(np.int32)
    return Program(columns, dep_start, deps, program.ops, program.placed, program.notes)
