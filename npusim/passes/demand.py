"""Parts and caches of a stage, and a core's scratchpad → what each core must hold, and its buffers.

How a scratchpad is divided when not everything fits: up to a quarter for weights on their way, a
sixteenth for KV blocks, the rest for activations (residual, input and output of an op at a time).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np

from npusim.graph.ir import Op
from npusim.passes.cut.heads import Heads
from npusim.passes.kv_cache import CacheShape, rank_bytes
from npusim.passes.partition import Part, Scheme
from npusim.passes.plan import CoreDemand
from npusim.passes.tile import Buffers, CoreCost, bits_to_bytes
from npusim.units import ceil_div

LIVE_TENSORS = 3


class Streams(NamedTuple):
    """What comes from memory piece by piece, and so needs buffers; `any_context`: those for KV are
    as large as any context needs, not only this batch's."""

    weights: bool
    kv: bool
    any_context: bool = False


@dataclass(frozen=True)
class StageWork:
    """What one group of cores does in an iteration: its ops in order, their Parts, the KV cache of
    each of its layers."""

    ops: tuple[Op, ...]
    parts: Mapping[str, Part]
    caches: Mapping[int, CacheShape | None]
    scheme: Scheme

    @cached_property
    def _heads(self) -> dict[int, Heads | None]:
        return {op.layer: self.parts[op.name].heads for op in self.ops if op.kind == "qk"}

    @cached_property
    def live(self) -> tuple[np.ndarray, np.ndarray]:
        return live_elements(self.parts_of_stage())

    @cached_property
    def alike(self) -> list[int]:
        """For every rank the first one that holds and makes as much."""
        columns = [part.weights for part in self.parts_of_stage() if part.weights]
        columns += [tuple(column.tolist()) for column in self.live]
        for heads in dict.fromkeys(h for h in self._heads.values() if h is not None):
            columns += [heads.kv, tuple(parts for _, parts in heads.context)]
        first: dict[tuple[int, ...], int] = {}
        return [first.setdefault(row, rank) for rank, row in enumerate(zip(*columns, strict=True))]

    @cached_property
    def layers(self) -> list[int]:
        return sorted({op.layer for op in self.ops if op.layer >= 0})

    @property
    def pinned(self) -> tuple[Op, ...]:
        """Ops whose weights lie in memory whatever room there is: the micro-workload `gemm`."""
        return tuple(op for op in self.ops if op.role == "gemm")

    def pinned_bytes(self, rank: int, cost: CoreCost) -> list[tuple[str, int]]:
        """(tensor, bytes) of the rank's pinned weights."""
        weights = [(op.name, self.parts[op.name].weights[rank]) for op in self.pinned]
        return [(name, bits_to_bytes(size, cost.weight_bits)) for name, size in weights if size]

    def parts_of_stage(self) -> list[Part]:
        return [self.parts[op.name] for op in self.ops]

    def weight_bytes(self, rank: int, cost: CoreCost) -> list[tuple[str, int]]:
        """(tensor, bytes) of the rank, in the order of their claim to the scratchpad: layers first,
        tables that are only gathered from last. A tied LM head is the embedding's tensor."""
        embedded = any(op.name == "embedding" for op in self.ops)
        found = []
        for op in sorted(self.ops, key=lambda op: op.kind == "embedding"):
            weights = self.parts[op.name].weights
            if op.role != "gemm" and weights and weights[rank] and not (op.tied_to and embedded):
                found.append((op.name, bits_to_bytes(weights[rank], cost.weight_bits)))
        return found

    def kv_bits_per_token(self, rank: int, cost: CoreCost) -> Fraction:
        """Bits of cache that a token of context takes on the rank, in all layers of the stage."""
        found = Fraction(0)
        for layer, shape in self.caches.items():
            heads = self._heads.get(layer)
            if shape is not None and heads is not None:
                own = Fraction(1) if shape.latent else Fraction(heads.kv[rank], heads.num_kv_heads)
                found += shape.row_elements * own / heads.context[rank][1]
        return found * cost.kv_bits

    def kv_bytes(self, layer: int, rank: int, cost: CoreCost) -> int:
        shape = self.caches.get(layer)
        heads = self._heads.get(layer)
        if shape is None or heads is None:
            return 0
        return rank_bytes(shape, heads, rank, shape.rows * shape.row_elements, cost.kv_bits)


@dataclass(frozen=True)
class Limits:
    """Buffer sizes of one core, and the size from which an activation tensor lives in memory."""

    weight_window_bytes: int
    kv_window_bytes: int
    spill_limit_bytes: int
    buffers_bytes: int
    spill_bytes: int

    @property
    def buffers(self) -> Buffers:
        slot = max(1, self.weight_window_bytes // 2)
        return Buffers(slot, max(1, self.spill_limit_bytes // 4))


def limits(
    works: Sequence[StageWork],
    rank: int,
    cost: CoreCost,
    capacity_bytes: int,
    streams: Streams,
    fixed_bytes: int = 0,
) -> Limits:
    """`fixed_bytes`: the buffers of every iteration, which hold this one's unless it cannot do with
    so little; 0: what this iteration needs. Assumes that norm weights cost no loads: those of two
    layers are part of the buffers."""
    scheme = works[0].scheme
    weight_window = _window(works[0], rank, cost, capacity_bytes // 4) if streams.weights else 0
    kv_window = _kv_window(works, rank, cost, capacity_bytes // 16) if streams.kv else 0
    if streams.any_context:
        kv_window = capacity_bytes // 16
    windows = windows_bytes(weight_window, kv_window, scheme) + 2 * _norm_bytes(works[0], cost)
    live, largest = _activations(works, rank, cost)
    if fixed_bytes:
        kept, limit = _fixed_room(live, fixed_bytes - windows)
    else:
        kept, limit = activation_room(live, capacity_bytes, windows)
    least = ceil_div(live, max(_tokens(work) for work in works))  # all but a token streams
    return Limits(
        weight_window or capacity_bytes // 4,
        kv_window or capacity_bytes // 16,
        limit,
        max(max(kept, least) + windows, fixed_bytes),
        2 * largest if largest > limit else 0,
    )


def windows_bytes(weights: int, kv: int, scheme: Scheme) -> int:
    """Room for weights and KV on their way; blocks that rotate are sent from a third half."""
    rotating = scheme.rotating and scheme.rows > 1
    return weights + kv + (weights // 2 if rotating else 0)


def activation_room(live: int, capacity_bytes: int, windows: int) -> tuple[int, int]:
    """(bytes for activations, size from which a tensor goes to memory): none does when all that
    lives fits beside the windows, else those above a third of five eighths of the scratchpad."""
    left = max(0, capacity_bytes - windows)
    if live <= left:
        return live, left
    bound = min(left, capacity_bytes * 5 // 8)
    return bound, bound // LIVE_TENSORS


def _fixed_room(live: int, room: int) -> tuple[int, int]:
    """As activation_room(), in buffers that have a size: `room` is left beside the windows."""
    left = max(0, room)
    return (live, left) if live <= left else (left, left // LIVE_TENSORS)


def _tokens(work: StageWork) -> int:
    return max((op.m for op in work.ops if op.kind in ("matmul", "norm")), default=1)


def _norm_bytes(work: StageWork, cost: CoreCost) -> int:
    """Norm weights of the layer with most of them."""
    by_layer: dict[int, int] = {}
    for op in work.ops:
        if op.kind == "norm":
            size = bits_to_bytes(op.weight_elements, cost.weight_bits)
            by_layer[op.layer] = by_layer.get(op.layer, 0) + size
    return max(by_layer.values(), default=0)


def _activations(works: Sequence[StageWork], rank: int, cost: CoreCost) -> tuple[int, int]:
    """(most bytes live at once, largest tensor) over the micro-batches."""
    live, largest = (max(int(work.live[i][rank]) for work in works) for i in (0, 1))
    return bits_to_bytes(live, cost.activation_bits), bits_to_bytes(largest, cost.activation_bits)


def live_elements(parts: Sequence[Part]) -> tuple[np.ndarray, np.ndarray]:
    """(most elements of activations live at once, largest tensor), both by rank.

    Assumes that the residual stream, an op's input and its output are live at once.
    """
    found = [part for part in parts if part.outputs]
    held = np.array([np.maximum(part.outputs, part.kept or 0) for part in found], np.int64)
    none = 0 * held[:1]
    adds = held[[part.op.kind == "add" for part in found]]
    residual = np.concatenate([none, adds]).max(axis=0)
    pairs = np.concatenate([held, none]) + np.concatenate([none, held])
    return residual + pairs.max(axis=0), held.max(axis=0)


def _window(work: StageWork, rank: int, cost: CoreCost, bound_bytes: int) -> int:
    """As much as the weights of a layer, so that no load runs more than a layer ahead; for rotating
    blocks at least two pieces of the largest."""
    by_layer: dict[int, int] = {}
    for op in work.ops:
        weights = work.parts[op.name].weights
        if weights and op.kind != "embedding":
            size = bits_to_bytes(weights[rank], cost.weight_bits)
            by_layer[op.layer] = by_layer.get(op.layer, 0) + size
    in_layers = [size for layer, size in by_layer.items() if layer >= 0 and size]
    return min(bound_bytes, min(in_layers, default=max(by_layer.values(), default=0)))


def _kv_window(works: Sequence[StageWork], rank: int, cost: CoreCost, bound_bytes: int) -> int:
    sizes = [work.kv_bytes(layer, rank, cost) for work in works for layer in work.layers]
    return min(bound_bytes, min((s for s in sizes if s), default=0))


def core_demand(
    work: StageWork, rank: int, cost: CoreCost, limit: Limits, has_memory: bool
) -> CoreDemand:
    """`work`: that of all micro-batches together. Without a memory nothing is pinned to it."""
    kv = tuple(work.kv_bytes(layer, rank, cost) for layer in work.layers)
    pinned = [] if has_memory else work.pinned_bytes(rank, cost)
    weights = (*work.weight_bytes(rank, cost), *pinned)
    return CoreDemand(limit.buffers_bytes, weights, kv)
