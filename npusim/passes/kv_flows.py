"""Cache rows of a layer and two groups of cores → Flows: which core sends what to which.

A rank of the destination gets each KV head that it holds (the latent of MLA counts as one) from the
nearest ranks that hold it. Ranks that share a head hold interleaved tokens of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import lcm

import networkx as nx
import numpy as np

from npusim.cost.paths import Grid, hops
from npusim.graph.ir import Op, ops_in_order
from npusim.passes.cut.heads import Heads, kv_heads_of, spread_heads
from npusim.passes.footprint import Footprint
from npusim.passes.kv_cache import cache_shape
from npusim.units import ceil_div


@dataclass(frozen=True)
class RowShape:
    """What a token adds to the cache of a layer: the elements of all its heads. `latent`: one for
    all of them."""

    elements: int
    num_heads: int
    num_kv_heads: int
    latent: bool


@dataclass(frozen=True)
class KvRow:
    """A layer's cache and the names of the ops that make it."""

    layer: int
    shape: RowShape
    producers: tuple[str, ...]


@dataclass(frozen=True)
class KvHome:
    """Where an instance keeps KV: core ids by stage and rank; (core, memory id, first byte) of each
    core with a memory; how much of a request's cache is in the scratchpads."""

    groups: tuple[tuple[int, ...], ...]
    places: tuple[tuple[int, int, int], ...] = ()
    resident_fraction: float = 0.0


@dataclass(frozen=True)
class Flow:
    """Bytes from core to core, from `offset_bytes` on of the `cache_bytes` that the source holds of
    the layer."""

    src: int
    dst: int
    num_bytes: int
    offset_bytes: int
    cache_bytes: int


def kv_rows(graph: nx.DiGraph) -> tuple[KvRow, ...]:
    """The cache rows of every layer of a graph, in order."""
    by_layer: dict[int, list[Op]] = {}
    for op in ops_in_order(graph):
        by_layer.setdefault(op.layer, []).append(op)
    found = []
    for layer, ops in sorted(by_layer.items()):
        shape, qk = cache_shape(ops), next((op for op in ops if op.kind == "qk"), None)
        if shape is None or qk is None:
            continue
        row = RowShape(shape.row_elements, qk.heads, qk.kv_heads, shape.latent)
        found.append(KvRow(layer, row, _producers(graph, ops, qk)))
    return tuple(found)


def _producers(graph: nx.DiGraph, ops: Sequence[Op], qk: Op) -> tuple[str, ...]:
    """What writes the cache, and what turns or norms it on its way to the scores."""
    own = graph.subgraph([op.name for op in ops])
    writers = {op.name for op in ops if op.kv_write_elements}
    behind = writers.union(*(nx.descendants(own, name) for name in writers))
    on_its_way = behind & nx.ancestors(own, qk.name)
    return tuple(
        op.name
        for op in ops
        if op.name in on_its_way and (op.name in writers or op.kind in ("norm", "rope"))
    )


def kv_home(found: Footprint, resident_fraction: float = 0.0) -> KvHome:
    """The home of an instance's KV; cores that share a memory have equal parts of its free room."""
    places = []
    for memory in found.memories:
        part = memory.free_bytes // len(memory.cores) // 4096 * 4096
        for index, core in enumerate(memory.cores):
            places.append((core, memory.memory_id, memory.first_free + index * part))
    return KvHome(found.groups, tuple(sorted(places)), resident_fraction)


@lru_cache(maxsize=4096)
def flows(
    shape: RowShape,
    tokens: int,
    kv_bits: int,
    src: tuple[int, ...],
    dst: tuple[int, ...],
    grid: Grid,
) -> tuple[Flow, ...]:
    """One flow for each pair of cores (by rank in `src` and `dst`) that has bytes to move, in order
    of the source's rank."""
    found: dict[tuple[int, int], tuple[int, int]] = {}  # ranks → first head, bits
    head_bits = shape.elements * kv_bits // _num_heads(shape)
    here, there = (_heads(shape, len(cores)) for cores in (src, dst))
    holders = _holders(shape, here)
    for rank, core in enumerate(dst):
        for head in _held(shape, there, rank):
            group = _nearest(holders[head], src, core, grid)
            for source in group:
                rows = _common(tokens, here.context[source], there.context[rank])
                first, bits = found.get((source, rank), (head, 0))
                found[source, rank] = first, bits + rows * head_bits
    made = []
    for (source, rank), (first, bits) in sorted(found.items()):
        rows = _common(tokens, here.context[source], (0, 1))
        held = _held(shape, here, source)
        offset = ceil_div((first - held[0]) * rows * head_bits, 8)
        cache = ceil_div(len(held) * rows * head_bits, 8)
        if bits:
            made.append(Flow(src[source], dst[rank], ceil_div(bits, 8), offset, cache))
    return tuple(made)


def _num_heads(shape: RowShape) -> int:
    return 1 if shape.latent else shape.num_kv_heads


def _heads(shape: RowShape, ranks: int) -> Heads:
    return spread_heads(shape.num_heads, shape.num_kv_heads, ranks)


def _held(shape: RowShape, heads: Heads, rank: int) -> range:
    return range(1) if shape.latent else kv_heads_of(heads, rank)


def _holders(shape: RowShape, heads: Heads) -> dict[int, list[tuple[int, ...]]]:
    """KV head → groups of ranks that together hold all tokens of it."""
    in_groups = {rank for group in heads.groups for rank in group}
    alone = [(rank,) for rank in range(len(heads.query)) if rank not in in_groups]
    found: dict[int, list[tuple[int, ...]]] = {}
    for group in sorted([*heads.groups, *alone]):
        for head in _held(shape, heads, group[0]):
            found.setdefault(head, []).append(group)
    return found


def _nearest(
    groups: Sequence[tuple[int, ...]], src: Sequence[int], core: int, grid: Grid
) -> tuple[int, ...]:
    """The group with the fewest hops a rank to `core`, of several the first."""

    def distance(group: tuple[int, ...]) -> float:
        cores = np.array([src[rank] for rank in group])
        return float(hops(cores, np.full_like(cores, core), grid).mean())

    return groups[0] if len(groups) == 1 else min(groups, key=distance)


def _common(tokens: int, one: tuple[int, int], other: tuple[int, int]) -> int:
    """Tokens that two ranks both hold; (index, parts): those with number index modulo parts."""
    (i, a), (j, b) = one, other
    period = lcm(a, b)
    starts = (t for t in range(i, period, a) if t % b == j)
    return sum(max(0, ceil_div(tokens - t, period)) for t in starts)
