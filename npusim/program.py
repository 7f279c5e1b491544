"""CONTRACT 3: a Program, the task streams of all cores as columns, and `check()`.

A task waits for its dependencies, then for its queue: a core's tasks with the same `unit` run one
after the other in table order. Rows therefore stand in an order in which every dependency comes
before its dependents (a RECV may stand before its SEND).

| kind    | unit             | bytes                     | address, memory | peer, match    |
|---------|------------------|---------------------------|-----------------|----------------|
| COMPUTE | array, vector    | scratchpad bytes it moves | –               | –              |
| LOAD    | `dma_unit`       | memory → scratchpad       | yes             | –              |
| STORE   | `dma_unit`       | scratchpad → memory       | yes             | –              |
| SEND    | `dma_unit`       | message payload           | –               | receiver, RECV |
| RECV    | NO_UNIT          | message payload           | –               | sender, SEND   |
| SYNC    | NO_UNIT, no time | –                         | –               | –              |
"""

from array import array
from dataclasses import dataclass, field

import numpy as np

COMPUTE, LOAD, STORE, SEND, RECV, SYNC = range(6)
KIND_NAMES = ("compute", "load", "store", "send", "recv", "sync")
NO_UNIT = -1
NONE = -1

# Units of a core, in one numbering: 0 vector unit and SFU, 1…31 arrays, 32… DMA engines.
VECTOR_UNIT = 0
FIRST_ARRAY_UNIT = 1
FIRST_DMA_UNIT = 32
UNITS_PER_CORE = 64


def array_unit(index: int) -> int:
    return FIRST_ARRAY_UNIT + index


def dma_unit(index: int) -> int:
    return FIRST_DMA_UNIT + index


COLUMNS = {
    "kind": np.int8,
    "core": np.int32,
    "unit": np.int16,
    "cycles": np.int64,  # COMPUTE: cycles of the core's clock, start cost included
    "bytes": np.int64,
    "memory": np.int32,  # memory instance id
    "address": np.int64,  # byte address in that instance
    "row_bytes": np.int64,  # 2-D transfers: contiguous bytes of a row; 0 = all of `bytes`
    "stride_bytes": np.int64,  # address step from row to row
    "peer": np.int32,
    "match": np.int32,
    "op": np.int32,  # row of Program.ops
    "flops": np.int64,
}


@dataclass(frozen=True)
class OpRow:
    """What a task belongs to, for the per-operator table. `layer` -1: outside the layers."""

    name: str
    kind: str
    layer: int = NONE
    phase: str = ""


@dataclass
class Program:
    """Task table: one numpy array a column (see COLUMNS), dependencies in CSR form
    (`dep_start[n+1]`, `deps`: the tasks that task i waits for), op rows, and what the plan
    placed where (`placed`: rows of dicts for the result) with notes for the user."""

    columns: dict[str, np.ndarray]
    dep_start: np.ndarray
    deps: np.ndarray
    ops: list[OpRow]
    placed: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.columns["kind"])

    def __getattr__(self, name: str) -> np.ndarray:
        columns = self.__dict__.get("columns", {})
        if name in columns:
            return columns[name]
        raise AttributeError(name)


DEFAULTS = {"unit": NO_UNIT, "memory": NONE, "peer": NONE, "match": NONE}  # others 0


class ProgramBuilder:
    """Appends tasks one by one, or whole tables of them; `build()` gives the Program."""

    def __init__(self) -> None:
        # The rows appended since the last chunk, flat: row i is _flat[13 i : 13 (i + 1)].
        self._flat = array("q")
        self._deps = array("q")
        self._dep_counts = array("q")
        self._chunks: list[dict[str, np.ndarray]] = []
        self._dep_chunks: list[tuple[np.ndarray, np.ndarray]] = []  # counts, deps
        self._num_chunked = 0
        self.ops: list[OpRow] = []
        self.placed: list[dict] = []
        self.notes: list[str] = []

    def __len__(self) -> int:
        return self._num_chunked + len(self._dep_counts)

    def op(self, name: str, kind: str, layer: int = NONE, phase: str = "") -> int:
        """Adds an op row, returns its index."""
        self.ops.append(OpRow(name, kind, layer, phase))
        return len(self.ops) - 1

    def task(
        self,
        kind: int,
        core: int,
        unit: int,
        op: int,
        after=(),
        *,
        cycles=0,
        num_bytes=0,
        memory=NONE,
        address=0,
        row_bytes=0,
        stride_bytes=0,
        peer=NONE,
        match=NONE,
        flops=0,
    ) -> int:
        """Appends one task that waits for the tasks in `after`; returns its index."""
        index = self._num_chunked + len(self._dep_counts)
        self._flat.extend((kind, core, unit, cycles, num_bytes, memory, address))
        self._flat.extend((row_bytes, stride_bytes, peer, match, op, flops))
        num_deps = len(self._deps)
        self._deps.extend(after)
        self._dep_counts.append(len(self._deps) - num_deps)
        return index

    def extend(self, columns, dep_start, deps) -> int:
        """Appends n tasks at once; returns the index of the first.

        `columns`: arrays (n,) or scalars by the names of COLUMNS, `kind` and `core` at least; a
        missing one gets what `task()` would give it. `dep_start` (n + 1,) starts at 0; `deps` and
        `match` are indices in the whole Program (`len(builder)` is the first new task's). The
        arrays are kept, the caller must not write into them afterwards.
        """
        self._flush()
        first, num_tasks = self._num_chunked, len(dep_start) - 1
        chunk = {}
        for name, dtype in COLUMNS.items():
            column = np.asarray(columns.get(name, DEFAULTS.get(name, 0)), dtype)
            chunk[name] = np.broadcast_to(column, (num_tasks,))
        self._add_chunk(chunk, np.diff(dep_start), np.asarray(deps, np.int32))
        return first

    def table(self, first: int, last: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Rows `first` … `last - 1` as `extend()` takes them: columns, dep_start, deps."""
        self._flush()
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        counts: list[np.ndarray] = []
        deps: list[np.ndarray] = []
        start, index = self._num_chunked, len(self._chunks)
        while start > first:  # from the end: what is asked for was written last
            index -= 1
            dep_counts, chunk_deps = self._dep_chunks[index]
            start -= len(dep_counts)
            a, b = max(first - start, 0), min(last - start, len(dep_counts))
            if a >= b:
                continue
            for name, column in self._chunks[index].items():
                columns[name].insert(0, column[a:b])
            edges = np.concatenate([[0], np.cumsum(dep_counts)])
            counts.insert(0, dep_counts[a:b])
            deps.insert(0, chunk_deps[edges[a] : edges[b]])
        whole = {
            name: np.concatenate(pieces) if pieces else np.empty(0, COLUMNS[name])
            for name, pieces in columns.items()
        }
        ends = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]))
        return whole, ends, np.concatenate([np.empty(0, np.int32), *deps])

    def _flush(self) -> None:
        if not self._dep_counts:
            return
        table = np.frombuffer(self._flat, np.int64).reshape(-1, len(COLUMNS))
        chunk = {name: table[:, i].astype(dtype) for i, (name, dtype) in enumerate(COLUMNS.items())}
        counts, deps = (np.array(a, np.int64) for a in (self._dep_counts, self._deps))
        self._add_chunk(chunk, counts, deps.astype(np.int32))
        self._flat, self._deps, self._dep_counts = array("q"), array("q"), array("q")

    def _add_chunk(self, chunk, dep_counts, deps) -> None:
        self._chunks.append(chunk)
        self._dep_chunks.append((dep_counts, deps))
        self._num_chunked += len(dep_counts)

    def compute(self, core, unit, op, cycles, after=(), *, sram_bytes=0, flops=0) -> int:
        """A COMPUTE of `cycles` of the core's clock that moves `sram_bytes` at its scratchpad."""
        return self.task(
            COMPUTE, core, unit, op, after, cycles=cycles, num_bytes=sram_bytes, flops=flops
        )

    def load(self, core, op, memory, address, num_bytes, after=(), *, engine=1, **rows) -> int:
        """A LOAD by DMA `engine`; `rows`: `row_bytes` and `stride_bytes` of a 2-D one."""
        return self.task(
            LOAD, core, dma_unit(engine), op, after,
            memory=memory, address=address, num_bytes=num_bytes, **rows,
        )  # fmt: skip

    def store(self, core, op, memory, address, num_bytes, after=(), *, engine=1, **rows) -> int:
        """A STORE, as `load`."""
        return self.task(
            STORE, core, dma_unit(engine), op, after,
            memory=memory, address=address, num_bytes=num_bytes, **rows,
        )  # fmt: skip

    def message(
        self, src, dst, op, num_bytes, after=(), recv_after=(), *, engine=0
    ) -> tuple[int, int]:
        """A SEND on `src`, by DMA `engine`, and its RECV on `dst`; returns (send, recv) task
        indices. The RECV is posted once `recv_after` is done."""
        recv = len(self) + 1
        send = self.task(
            SEND, src, dma_unit(engine), op, after, num_bytes=num_bytes, peer=dst, match=recv
        )
        self.task(RECV, dst, NO_UNIT, op, recv_after, num_bytes=num_bytes, peer=src, match=send)
        return send, recv

    def sync(self, core, op, after=()) -> int:
        return self.task(SYNC, core, NO_UNIT, op, after)

    def build(self) -> Program:
        """The Program of all tasks so far."""
        self._flush()
        columns = {
            name: np.concatenate([np.empty(0, dtype), *(c[name] for c in self._chunks)])
            for name, dtype in COLUMNS.items()
        }
        counts = np.concatenate([np.zeros(1, np.int64), *(c for c, _ in self._dep_chunks)])
        deps = np.concatenate([np.empty(0, np.int32), *(d for _, d in self._dep_chunks)])
        dep_start = np.cumsum(counts)
        return Program(columns, dep_start, deps, self.ops, self.placed, self.notes)


def check(program: Program) -> None:
    """AssertionError when a row breaks the contract (ours to mend, never the user's)."""
    n = len(program)
    kind, unit = program.kind, program.unit
    for name, column in program.columns.items():
        assert len(column) == n, f"column {name} has {len(column)} rows, not {n}"
    assert len(program.dep_start) == n + 1 and program.dep_start[-1] == len(program.deps)
    dependents = np.repeat(np.arange(n), np.diff(program.dep_start))
    assert (program.deps < dependents).all(), "a dependency must stand before its dependents"
    assert (program.deps >= 0).all()
    queued = (kind == COMPUTE) | (kind == LOAD) | (kind == STORE) | (kind == SEND)
    assert (unit[queued] >= 0).all() and (unit[~queued] == NO_UNIT).all()
    messages = (kind == SEND) | (kind == RECV)
    partner = program.match[messages]
    assert (partner >= 0).all() and (program.match[partner] == np.flatnonzero(messages)).all()
    assert (program.bytes[messages] == program.bytes[partner]).all()
    assert (program.peer[messages] == program.core[partner]).all()
    transfers = messages | (kind == LOAD) | (kind == STORE)
    assert (program.bytes[transfers] > 0).all(), "a transfer must move at least one byte"
    assert (program.cycles[kind == COMPUTE] >= 0).all()
    assert (program.memory[(kind == LOAD) | (kind == STORE)] >= 0).all()
