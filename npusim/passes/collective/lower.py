"""A collective over a group of cores → its SEND, RECV and vector COMPUTE tasks in a ProgramBuilder.

Every function takes `after`, for each rank the tasks it waits for (or nothing at all), and returns
for each rank the tasks after which it is done: what it gets is in place, what it sends has left.

A RECV is posted as soon as its rank has what the steps before gave it, never behind the rank's
own SEND. So under `protocol: handshake` no order of sending and receiving is needed: whatever a
message waits for, at either end, stands before it in the table. `ring_phased` has the
even-odd order instead, for cores that do one thing at a time.

Assumes that received chunks land in buffers of the plan's, and that gathering the pieces of a
chunk costs no more than moving it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from npusim.errors import pick
from npusim.passes.collective import schedule as plans
from npusim.passes.collective.fabric import Fabric, estimate, rectangle
from npusim.passes.collective.message_table import Table, build_table
from npusim.passes.collective.schedule import Layout, Schedule
from npusim.program import COMPUTE, NO_UNIT, SEND, VECTOR_UNIT, ProgramBuilder, dma_unit
from npusim.units import ceil_div

After = Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Emitted:
    """A collective as emitted. `final`: by rank, see the module. `sends`: its SEND tasks (m,), and
    the elements [first, last) that each carries, in the numbering of `schedule.own`."""

    final: list[list[int]]
    schedule: Schedule | None
    sends: np.ndarray
    first: np.ndarray
    last: np.ndarray


def collective(
    b: ProgramBuilder,
    op: int,
    kind: str,
    cores: Sequence[int],
    num_bytes: int,
    after: After,
    fabric: Fabric,
    *,
    algorithm: str = "auto",
    element_bytes: int = 2,
    sizes: Sequence[int] | None = None,
    root: int = 0,
) -> Emitted:
    """Emits one collective of `kind` (a row of COLLECTIVES) over `cores`, in rank order.

    `num_bytes`: the vector each core holds, or ends an all_gather with; what each core sends in
    all_to_all. Chunks differ by at most one element of `element_bytes`, or have `sizes` elements by
    rank. A chunk without bytes has no message. Raises SpecError for an unknown algorithm or kind.
    """
    pick(ALGORITHMS, algorithm, "collective algorithm")
    pick(COLLECTIVES, kind, "collective")
    if len(cores) == 1 or num_bytes == 0:
        return _nothing(cores, after)
    num_elements = ceil_div(num_bytes, element_bytes)
    if kind == plans.ALL_TO_ALL:
        return exchange(
            b, op, cores, _even_exchange(num_bytes, element_bytes, len(cores)), after, fabric
        )
    chunks = tuple(sizes) if sizes is not None else plans.even_sizes(num_elements, len(cores))
    assert len(chunks) == len(cores) and sum(chunks) == num_elements
    grid = rectangle(cores, fabric.columns)
    layout = Layout(chunks, grid, root)
    table = _table(kind, algorithm, layout, _moved(cores, fabric.columns), fabric, element_bytes)
    if algorithm == "mesh2d" and table.schedule.algorithm != "mesh2d":
        _note(
            b, f"mesh2d needs cores in a full rectangle: {kind} over {len(cores)} cores uses ring"
        )
    return _append(b, op, table, cores, num_bytes, element_bytes, after, fabric)


def all_reduce(b, op, cores, num_bytes, after, fabric, **options) -> list[list[int]]:
    """Every core ends with the sum of all cores' vectors of `num_bytes`."""
    return collective(b, op, "all_reduce", cores, num_bytes, after, fabric, **options).final


def reduce_scatter(b, op, cores, num_bytes, after, fabric, **options) -> list[list[int]]:
    """Rank i ends with chunk i of the sum of all cores' vectors of `num_bytes`."""
    return collective(b, op, "reduce_scatter", cores, num_bytes, after, fabric, **options).final


def all_gather(b, op, cores, num_bytes, after, fabric, **options) -> list[list[int]]:
    """Rank i starts with chunk i; every core ends with all `num_bytes`."""
    return collective(b, op, "all_gather", cores, num_bytes, after, fabric, **options).final


def all_to_all(b, op, cores, num_bytes, after, fabric, **options) -> list[list[int]]:
    """Every core sends `num_bytes` in all, divided among the others."""
    return collective(b, op, "all_to_all", cores, num_bytes, after, fabric, **options).final


def broadcast(b, op, cores, num_bytes, after, fabric, **options) -> list[list[int]]:
    """Every core ends with the `num_bytes` of rank `root` (0)."""
    return collective(b, op, "broadcast", cores, num_bytes, after, fabric, **options).final


def exchange(
    b: ProgramBuilder,
    op: int,
    cores: Sequence[int],
    send_bytes: np.ndarray,
    after: After,
    fabric: Fabric,
) -> Emitted:
    """All-to-all of send_bytes[src rank, dst rank]; the diagonal stays at home."""
    sizes = np.array(send_bytes, np.int64)
    np.fill_diagonal(sizes, 0)
    if not sizes.any():
        return _nothing(cores, after)
    table = build_table(plans.pairwise(sizes), len(cores))
    return _append(b, op, table, cores, int(sizes.sum(axis=1).max()), 1, after, fabric)


def point_to_point(
    b: ProgramBuilder,
    op: int,
    src: int,
    dst: int,
    num_bytes: int,
    after_src: Sequence[int] = (),
    after_dst: Sequence[int] = (),
) -> tuple[list[int], list[int]]:
    """One message; the tasks after which the sender and the receiver are done."""
    if src == dst or num_bytes == 0:
        both = [*after_src, *after_dst]
        return (both, both) if src == dst else (list(after_src), list(after_dst))
    send, recv = b.message(src, dst, op, num_bytes, after_src, after_dst)
    return [send], [recv]


def chosen(
    kind: str,
    cores: Sequence[int],
    num_bytes: int,
    fabric: Fabric,
    *,
    algorithm: str = "auto",
    element_bytes: int = 2,
) -> tuple[str, float]:
    """Algorithm that `collective` would use, and its α-β estimate in NoC cycles."""
    if len(cores) == 1 or num_bytes == 0:
        return algorithm, 0.0
    at = np.array(cores)
    if kind == plans.ALL_TO_ALL:
        schedule = plans.pairwise(_even_exchange(num_bytes, element_bytes, len(cores)))
        return schedule.algorithm, estimate(schedule, at, fabric, 1)
    sizes = plans.even_sizes(ceil_div(num_bytes, element_bytes), len(cores))
    layout = Layout(sizes, rectangle(cores, fabric.columns))
    near = _moved(cores, fabric.columns)
    schedule = _table(kind, algorithm, layout, near, fabric, element_bytes).schedule
    return schedule.algorithm, estimate(schedule, at, fabric, element_bytes)


def _moved(cores: Sequence[int], columns: int) -> tuple[int, ...]:
    """The cores moved to the corner of the mesh: groups of one shape share a table."""
    row = min(core // columns for core in cores)
    column = min(core % columns for core in cores)
    return tuple(core - row * columns - column for core in cores)


# A pure function's results, kept because layers repeat the same collective; a table of 64 ranks
# takes up to 1.5 MB, hence few of them.
@lru_cache(maxsize=32)
def _table(
    kind: str,
    algorithm: str,
    layout: Layout,
    cores: tuple[int, ...],
    fabric: Fabric,
    element_bytes: int,
) -> Table:
    at = np.array(cores)
    schedule = ALGORITHMS[algorithm](kind, layout, lambda s: estimate(s, at, fabric, element_bytes))
    return build_table(schedule, layout.num_ranks)


# Unit by task kind: COMPUTE, LOAD, STORE, SEND, RECV, SYNC.
_UNIT = np.array([VECTOR_UNIT, NO_UNIT, NO_UNIT, dma_unit(0), NO_UNIT, NO_UNIT])


def _append(
    b: ProgramBuilder,
    op: int,
    table: Table,
    cores: Sequence[int],
    num_bytes: int,
    element_bytes: int,
    after: After,
    fabric: Fabric,
) -> Emitted:
    """Appends a table: ranks become cores, its ids the Program's."""
    base, num_ranks = len(b), len(cores)
    at = np.array(cores)
    core, compute = at[table.rank], table.kind == COMPUTE
    message = table.kind == SEND
    # The last element may be a part of one.
    first, last = (np.minimum(e * element_bytes, num_bytes) for e in (table.first, table.last))
    moved = last - first
    elements = np.where(compute, table.last - table.first, 0)
    rate, start = np.array(fabric.elements_per_cycle), np.array(fabric.start_cycles)
    columns = {
        "kind": table.kind,
        "core": core,
        "unit": _UNIT[table.kind],
        "cycles": np.where(compute, -(-elements // rate[core]) + start[core], 0),
        # A reduction reads two chunks and writes one.
        "bytes": np.where(compute, 3 * moved, moved),
        "peer": np.where(table.peer >= 0, at[table.peer], -1),
        "match": np.where(table.match >= 0, table.match + base, -1),
        "op": op,
        "flops": elements,
    }
    waits = [list(tasks) for tasks in after] if after else [[] for _ in cores]
    counts = np.ones(len(core), np.int64)
    counts[:num_ranks] = [len(tasks) for tasks in waits]
    given = np.array([task for tasks in waits for task in tasks], np.int64)
    deps = np.concatenate([given, table.dep[num_ranks:] + base])
    b.extend(columns, np.concatenate([[0], np.cumsum(counts)]), deps)
    final = [[task + base for task in tasks] for tasks in table.final]
    sends = np.flatnonzero(message)
    return Emitted(final, table.schedule, sends + base, table.first[sends], table.last[sends])


def _even_exchange(num_bytes: int, element_bytes: int, num_ranks: int) -> np.ndarray:
    """Bytes each rank sends each other one: the ones after it in order get the even sizes."""
    num_elements = ceil_div(num_bytes, element_bytes)
    row = np.array(plans.even_sizes(num_elements, num_ranks - 1)) * element_bytes
    row[-1] -= num_elements * element_bytes - num_bytes  # the last element may be a part of one
    sizes = np.zeros((num_ranks, num_ranks), np.int64)
    for rank in range(num_ranks):
        sizes[rank, (rank + 1 + np.arange(num_ranks - 1)) % num_ranks] = row
    return sizes


def _nothing(cores: Sequence[int], after: After) -> Emitted:
    none = np.empty(0, np.int64)
    final = [list(tasks) for tasks in after] if after else [[] for _ in cores]
    return Emitted(final, None, none, none, none)


def _note(b: ProgramBuilder, text: str) -> None:
    if text not in b.notes:
        b.notes.append(text)


ALGORITHMS: dict[str, Callable[..., Schedule]] = {
    "auto": plans.auto,
    "ring": plans.ring,
    "ring_phased": plans.ring_phased,
    "tree": plans.tree,
    "mesh2d": plans.mesh2d,
}
COLLECTIVES = {
    "all_reduce": all_reduce,
    "reduce_scatter": reduce_scatter,
    "all_gather": all_gather,
    "all_to_all": all_to_all,
    "broadcast": broadcast,
}
