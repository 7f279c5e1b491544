"""A program or a series of steps in which things repeat → which part to simulate, and the rest.

Layers repeat tens of times, decode steps hundreds. A repeated run of equal layers is cut down to
its first few in the task table itself, so the memory plan, the data types and the placement stay
those of the whole model. Assumes that equal layers take equal time once two in a row, or the means
of the last half and the half before it, agree.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from npusim.passes.emit.repeat_rows import Run, find_runs
from npusim.program import COLUMNS, Program

TOLERANCE = 0.01
# columns that must be equal in equal layers, beside the relative dependencies and partners
SAME_COLUMNS = sorted(set(COLUMNS) - {"address", "match", "op"})


@dataclass(frozen=True)
class Block:
    """Rows `first` … `last - 1` of a program, all of one layer (-1: outside the layers)."""

    layer: int
    first: int
    last: int


def layer_blocks(program: Program) -> list[Block]:
    """The program's rows as consecutive blocks of one layer each."""
    layer_of_op = np.array([op.layer for op in program.ops], dtype=np.int64)
    layer = layer_of_op[program.op]
    edges = [0, *(np.flatnonzero(np.diff(layer)) + 1).tolist(), len(program)]
    return [Block(int(layer[a]), a, b) for a, b in pairwise(edges) if b > a]


def block_signature(program: Program, block: Block) -> bytes:
    """Equal for blocks that do the same on the same cores, each relative to its own first row.
    What a block waits for in front of it counts by number only."""
    rows = slice(block.first, block.last)
    match = program.match[rows].astype(np.int64)
    starts = program.dep_start[block.first : block.last + 1]
    deps = program.deps[starts[0] : starts[-1]].astype(np.int64)
    parts = [program.columns[name][rows] for name in SAME_COLUMNS]
    parts.append(np.where(match >= 0, match - block.first, -1))
    parts.append(starts - starts[0])
    parts.append(np.maximum(deps - block.first, -1))
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.digest()


@dataclass(frozen=True)
class Stretch:
    """`count` repetitions of a pattern of `period` layers, `size` rows each, from row `first` on,
    of which the first `keep` stay. Their time is told from two patterns in a row, the first of
    which begins at row `since`."""

    first: int
    size: int
    period: int
    count: int
    keep: int
    since: int

    @property
    def removed(self) -> int:
        return self.count - self.keep


@dataclass(frozen=True)
class Cut:
    """What a stretch became in the shortened program: `removed` repetitions of a pattern, `half` of
    which lie between each two of the three rows `ends`."""

    removed: int
    period: int
    half: int
    ends: tuple[int, int, int]


@dataclass(frozen=True)
class Shortened:
    """A program with repetitions taken out, the cuts, and how many layers were kept."""

    program: Program
    cuts: tuple[Cut, ...]
    kept_layers: int

    @property
    def removed_layers(self) -> int:
        return sum(cut.removed * cut.period for cut in self.cuts)


def shorten(program: Program, keep: int) -> Shortened | None:
    """`program` with at most `keep` repetitions of each run of equal layers; None when there is
    nothing to take out or the layers do not stand one after the other (micro-batches).

    One repetition is enough where what stands in front of it does as much work; else two are kept.
    """
    blocks = layer_blocks(program)
    layers = [block.layer for block in blocks if block.layer >= 0]
    if len(set(layers)) < len(layers) and not _in_turn(program, blocks):
        return None
    stretches = _stretches(program, blocks, keep)
    if not stretches:
        return None
    new_index, kept = _renumber(len(program), stretches)
    matched = program.match[kept]
    if not kept[matched[matched >= 0]].all():
        return None
    cuts = tuple(_cut(stretch, new_index) for stretch in stretches)
    removed = sum(cut.removed * cut.period for cut in cuts)
    return Shortened(_select(program, kept, new_index), cuts, len(layers) - removed)


def _in_turn(program: Program, blocks: list[Block]) -> bool:
    """Whether all layers run on the same cores. Micro-batches in a pipeline of stages do not: their
    layers overlap, so that their times do not add up."""
    used = {
        np.unique(program.core[block.first : block.last]).tobytes()
        for block in blocks
        if block.layer >= 0
    }
    return len(used) == 1


def _stretches(program: Program, blocks: list[Block], keep: int) -> list[Stretch]:
    """The runs of equal layers that are longer than what is kept of them."""
    signatures: list[Hashable] = [
        block_signature(program, b) if b.layer >= 0 else ("outside", i)
        for i, b in enumerate(blocks)
    ]
    found: list[Stretch] = []
    for run in (r for r in find_runs(signatures) if r.count > 1):
        first = blocks[run.start].first
        size = blocks[run.start + run.period - 1].last - first
        before = _before(program, blocks, run)
        stay = keep if before else max(2, keep)
        since = before.first if before and stay == 1 else first + (stay - 2) * size
        if run.count > stay:
            found.append(Stretch(first, size, run.period, run.count, stay, since))
    return found


def _before(program: Program, blocks: list[Block], run: Run) -> Block | None:
    """First block of the pattern in front of `run`, if that is of layers and does as much work."""
    start = run.start - run.period
    if start < 0 or min(block.layer for block in blocks[start : run.start]) < 0:
        return None
    work = []
    for at in (start, run.start):
        rows = slice(blocks[at].first, blocks[at + run.period - 1].last)
        columns = (program.cycles, program.bytes, program.flops)
        work.append([int(column[rows].sum()) for column in columns])
    alike = all(abs(a - b) <= TOLERANCE * max(a, b) for a, b in zip(*work, strict=True))
    return blocks[start] if alike else None


def _renumber(num_tasks: int, stretches: list[Stretch]) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers in the shortened program and which rows are kept; a removed row has the number
    of the row that stands for it in the last kept repetition."""
    kept = np.ones(num_tasks, dtype=bool)
    stand_in = np.arange(num_tasks)
    for s in stretches:
        removed = np.arange(s.first + s.keep * s.size, s.first + s.count * s.size)
        kept[removed] = False
        stand_in[removed] = s.first + (s.keep - 1) * s.size + (removed - s.first) % s.size
    return (np.cumsum(kept) - 1)[stand_in], kept


def _cut(stretch: Stretch, new_index: np.ndarray) -> Cut:
    half = max(1, (stretch.keep - 1) // 2)  # the first one may still be filling the pipeline
    first, size = int(new_index[stretch.first]), stretch.size
    middle, end = first + (stretch.keep - half) * size, first + stretch.keep * size
    start = int(new_index[stretch.since]) if half == 1 else middle - half * size
    return Cut(stretch.removed, stretch.period, half, (start, middle, end))


def _select(program: Program, kept: np.ndarray, new_index: np.ndarray) -> Program:
    """The kept rows, with dependencies and partners renumbered."""
    columns = {name: column[kept] for name, column in program.columns.items()}
    match = columns["match"]
    columns["match"] = np.where(match >= 0, new_index[match], match).astype(match.dtype)
    counts = np.diff(program.dep_start)
    deps = program.deps[np.repeat(kept, counts)]
    starts = np.concatenate(([0], np.cumsum(counts[kept]))).astype(program.dep_start.dtype)
    return replace(
        program, columns=columns, dep_start=starts, deps=new_index[deps].astype(program.deps.dtype)
    )


def added_ps(shortened: Shortened, end_ps: np.ndarray) -> tuple[int, float]:
    """Time of the removed repetitions, which is the mean of the last half of those kept for each,
    and the largest relative difference between that and the mean of the half before it.

    The last ones alone would never settle where refreshes fall unevenly on short layers.

    `end_ps`: end times of the shortened program's tasks.
    """
    total_ps, spread = 0, 0.0
    for cut in shortened.cuts:
        done = [int(end_ps[:end].max(initial=0)) for end in cut.ends]
        previous, last = done[-2] - done[-3], done[-1] - done[-2]
        spread = max(spread, abs(last - previous) / max(last, 1))
        total_ps += cut.removed * last // cut.half
    return total_ps, spread


def interpolate(
    count: int, measure: Callable[[int], int], tolerance: float = TOLERANCE
) -> tuple[list[int], float]:
    """`count` values of a slowly varying series from few of them.

    Measures both ends and the middle; where the middle is off the straight line by more than
    `tolerance`, each half again. Returns all values and the largest relative error met at an
    accepted middle.
    """
    measured = {i: measure(i) for i in sorted({0, count - 1})}
    spread = 0.0
    open_spans = [(0, count - 1)]
    while open_spans:
        low, high = open_spans.pop()
        if high - low < 2:
            continue
        middle = (low + high) // 2
        guess = _between(measured, low, high, middle)
        measured[middle] = measure(middle)
        error = abs(guess - measured[middle]) / max(measured[middle], 1)
        if error > tolerance:
            open_spans += [(low, middle), (middle, high)]
        else:
            spread = max(spread, error)
    known = sorted(measured)
    values = [measured[known[0]]]
    for low, high in pairwise(known):
        values += [_between(measured, low, high, i) for i in range(low + 1, high + 1)]
    return values, spread


def _between(measured: dict[int, int], low: int, high: int, at: int) -> int:
    step = (measured[high] - measured[low]) * (at - low)
    return measured[low] + step // (high - low)
