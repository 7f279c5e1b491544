"""Tiles with their operands, cycles and results → the rows of a task table, all tiles at once.

A tile is done in `chunks` steps, each of which loads its part of up to two operands and computes on
it; then it is stored. The loads of a step wait for the compute `stages` steps earlier on the same
core, whose buffer they take.
"""

from dataclasses import dataclass, field

import numpy as np

from npusim.program import COLUMNS, COMPUTE, DEFAULTS, LOAD, STORE, dma_unit

LOAD_UNIT, STORE_UNIT = dma_unit(1), dma_unit(2)
ALIGN = 256  # steps of an operand begin at multiples of this
SPREAD = 7  # stripes from tile to tile; numbers of channels are not multiples of it
START = -1  # stands for the task that the kernel begins with
A, B, OUT, NO_SLOT = 0, 1, 2, -1  # the tensor that an address counts from
SLOTS = 3  # of a table; those of the next table of the same kernel follow


@dataclass
class Operand:
    """`num_bytes` and `address` (from the tensor's first byte) by tile; `memory`: ids by tile, or
    [tile, chunk] where the steps of one tile come from different memories."""

    num_bytes: np.ndarray
    address: np.ndarray
    memory: np.ndarray | int


@dataclass
class Tiles:
    """Tiles in the order in which they are dealt to the cores. `unit` computes; `cache`: memory id
    and stripe in bytes of the cache; arrays are by tile."""

    core: np.ndarray
    chunks: int
    cycles: np.ndarray
    flops: np.ndarray
    unit: int
    a: Operand | None
    b: Operand | None
    out: Operand | None
    cache: tuple[int, int] = (-1, 0)


@dataclass
class Table:
    """Rows as `ProgramBuilder.extend` takes them, with addresses that count from the tensors
    that `slot` names and dependencies from the first row; `ends`: rows that the next kernel waits
    for."""

    columns: dict[str, np.ndarray]
    dep_start: np.ndarray
    deps: np.ndarray
    slot: np.ndarray
    ends: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.slot)


def tile_table(tiles: Tiles, stages: int) -> Table:
    """The rows of `tiles`: by tile, by chunk: load of a, load of b, compute; then the store."""
    loads = [(slot, x) for slot, x in ((A, tiles.a), (B, tiles.b)) if x is not None]
    num_tiles, chunks, width = len(tiles.core), tiles.chunks, len(loads) + 1
    shape = (num_tiles, chunks, width)
    rows = num_tiles * (chunks * width + (tiles.out is not None))
    index = np.arange(rows).reshape(num_tiles, -1)
    steps = index[:, : chunks * width].reshape(shape)
    columns = {name: np.full(rows, DEFAULTS.get(name, 0), t) for name, t in COLUMNS.items()}
    slot = np.full(rows, NO_SLOT, np.int8)
    columns["core"][:] = np.repeat(tiles.core, index.shape[1])
    for place, (name, operand) in enumerate(loads):
        _fill_loads(columns, slot, steps[:, :, place], operand, name, tiles.cache)
    _fill_computes(columns, steps[:, :, -1], tiles)
    if tiles.out is not None:
        _fill_stores(columns, slot, index[:, -1], tiles.out)
    counts, deps = _dependencies(tiles, index, steps, stages, len(loads))
    ends = index[:, -1]
    return Table(columns, np.concatenate([[0], np.cumsum(counts)]), deps, slot, ends)


def chunk_edges(num_bytes: np.ndarray, chunks: int) -> np.ndarray:
    """[tile, chunks + 1]: where the steps of an operand begin and end."""
    align = ALIGN if num_bytes.min(initial=ALIGN * chunks) >= ALIGN * chunks else 1
    edges = num_bytes[:, None] * np.arange(chunks + 1) // chunks // align * align
    edges[:, -1] = num_bytes
    return edges


def _fill_loads(columns, slot, rows, operand: Operand, name: int, cache: tuple[int, int]) -> None:
    """Assumes that tiles begin at different steps, so that the cores do not ask the same channel
    at once, and that the cache's address hash spreads what many cores read over all of it."""
    num_tiles, chunks = rows.shape
    cache_id, stripe = cache
    edges = chunk_edges(operand.num_bytes, chunks)
    turn = (np.arange(chunks) + np.arange(num_tiles)[:, None]) % chunks
    first = np.take_along_axis(edges, turn, 1)
    last = np.take_along_axis(edges, turn + 1, 1)
    memory = np.asarray(operand.memory)
    if memory.ndim == 2:
        memory = np.take_along_axis(memory, turn, 1)
    elif memory.ndim == 1:
        memory = memory[:, None]
    columns["kind"][rows] = LOAD
    columns["unit"][rows] = LOAD_UNIT
    columns["bytes"][rows] = last - first
    spread = np.where(memory == cache_id, SPREAD * stripe, 0) * np.arange(num_tiles)[:, None]
    columns["address"][rows] = operand.address[:, None] + first + spread
    columns["memory"][rows] = memory
    slot[rows] = name


def _fill_computes(columns, rows, tiles: Tiles) -> None:
    columns["kind"][rows] = COMPUTE
    columns["unit"][rows] = tiles.unit
    for name, total in (("cycles", tiles.cycles), ("flops", tiles.flops)):
        edges = total[:, None] * np.arange(tiles.chunks + 1) // tiles.chunks
        columns[name][rows] = np.diff(edges, axis=1)


def _fill_stores(columns, slot, rows, operand: Operand) -> None:
    columns["kind"][rows] = STORE
    columns["unit"][rows] = STORE_UNIT
    columns["bytes"][rows] = operand.num_bytes
    columns["address"][rows] = operand.address
    columns["memory"][rows] = operand.memory
    slot[rows] = OUT


def _dependencies(tiles: Tiles, index, steps, stages: int, num_loads: int):
    """Counts by row and all dependencies: loads on an earlier step, computes on their loads, the
    store on the tile's last compute."""
    freed = _freed_by(tiles, steps[:, :, -1], stages)
    per_row = [1] * num_loads + [num_loads or 1]
    counts = np.zeros(index.shape, np.int64)
    counts[:, : steps.shape[1] * steps.shape[2]] = per_row * tiles.chunks
    step_deps = [freed] * num_loads + ([steps[:, :, i] for i in range(num_loads)] or [freed])
    deps = np.stack(step_deps, axis=2).reshape(len(tiles.core), -1)
    if tiles.out is not None:
        counts[:, -1] = 1
        deps = np.concatenate([deps, steps[:, -1, -1:]], axis=1)
    return counts.ravel(), deps.ravel().astype(np.int64)


def _freed_by(tiles: Tiles, computes: np.ndarray, stages: int) -> np.ndarray:
    """[tile, chunk]: the compute `stages` steps earlier on the same core, START where none is."""
    freed = np.empty_like(computes)
    order = np.argsort(tiles.core, kind="stable")
    sequence = computes[order].ravel()  # core after core, in the order of its steps
    owner = np.repeat(tiles.core[order], tiles.chunks)
    earlier = np.full(len(sequence), START, np.int64)
    if len(sequence) > stages:
        same = owner[stages:] == owner[:-stages]
        earlier[stages:] = np.where(same, sequence[:-stages], START)
    freed[order] = earlier.reshape(-1, tiles.chunks)
    return freed


def joined(tables: list[Table]) -> Table:
    """Tables of one kernel as one."""
    if len(tables) == 1:
        return tables[0]
    firsts = np.cumsum([0, *(len(t) for t in tables)])
    edges = np.cumsum([0, *(len(t.deps) for t in tables)])
    columns = {name: np.concatenate([t.columns[name] for t in tables]) for name in COLUMNS}
    pairs = list(zip(tables, firsts, edges, strict=False))
    return Table(
        columns,
        np.concatenate([t.dep_start[:-1] + e for t, _, e in pairs] + [edges[-1:]]),
        np.concatenate([np.where(t.deps < 0, START, t.deps + f) for t, f, _ in pairs]),
        np.concatenate(
            [np.where(t.slot < 0, t.slot, t.slot + SLOTS * i) for i, t in enumerate(tables)]
        ),
        np.concatenate([t.ends + f for t, f, _ in pairs]),
    )
