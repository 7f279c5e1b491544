"""A layer's Parts on the cores of one group → its estimated time, a roofline with α-β collectives.

The estimate is the larger of what weights and KV take from memory, which is fetched ahead, and
max(array cycles, rotating weights) + vector work + collectives (closed forms of
npusim.cost.collective, the serial bytes times the messages on the busiest link, and the additions
of a reduction) + activations that go through memory. Assumes that every rank takes as long as the
slowest, and that every rank attends like the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from npusim.cost.collective import Cost, collective_cost, collective_ps
from npusim.cost.paths import Grid, hops, max_link_load
from npusim.cost.vector import vector_cycles
from npusim.passes.collective.fabric import Fabric, fabric_of, rectangle
from npusim.passes.demand import activation_room, live_elements, windows_bytes
from npusim.passes.emit.attention_blocks import attention_cycles
from npusim.passes.kv_cache import cache_shape, rank_bytes
from npusim.passes.partition import Comm, Part, Scheme
from npusim.passes.tile import CoreCost, bits_to_bytes, core_cost, gemm_costs, vector_cost
from npusim.spec.hardware import Hardware, MemoryInstance, Noc
from npusim.spec.scenario import Dtypes
from npusim.units import ceil_div, cycles_to_ps, transfer_ps

# the part of a collective's serial bytes that is added to what is there
REDUCED = {"reduce_scatter": 1.0, "all_reduce": 0.5}

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Chip:
    """The numbers of a group's cores that the estimate looks at; bandwidth 0: no memory."""

    cost: CoreCost
    khz: int
    scratchpad_bytes: int
    memory_bytes: int
    memory_gb_s: float
    fabric: Fabric
    noc_khz: int
    link_gb_s: float


@dataclass(frozen=True)
class Estimate:
    """Time of a layer in ps, by what takes it."""

    arrays_ps: int = 0
    memory_ps: int = 0
    rotation_ps: int = 0
    vector_ps: int = 0
    collectives_ps: int = 0
    spills_ps: int = 0

    @cached_property
    def total_ps(self) -> int:
        own = max(self.arrays_ps, self.rotation_ps) + self.vector_ps
        return max(self.memory_ps, own + self.collectives_ps + self.spills_ps)

    @cached_property
    def work_ps(self) -> int:
        """What all units do together, hidden or not."""
        return sum(getattr(self, f.name) for f in fields(self))

    def plus(self, other: "Estimate") -> "Estimate":
        names = [f.name for f in fields(self)]
        return Estimate(*(getattr(self, n) + getattr(other, n) for n in names))


def chip_of(hardware: Hardware, dtypes: Dtypes, used: Sequence[int]) -> Chip:
    """`used`: the cores that work, which share the bandwidth of their memories. Assumes that all
    are like the first."""
    spec = hardware.core(used[0])
    memories = [i for i in hardware.memory_instances() if used[0] in i.cores]
    return Chip(
        cost=core_cost(spec, dtypes),
        khz=spec.khz,
        scratchpad_bytes=spec.scratchpad.capacity_bytes,
        memory_bytes=sum(i.memory.capacity_bytes // len(i.cores) for i in memories),
        memory_gb_s=sum(_share_gb_s(i, used, hardware.noc) for i in memories[:1]),
        fabric=fabric_of(hardware),
        noc_khz=hardware.noc.khz,
        link_gb_s=hardware.noc.link_gb_s,
    )


def _share_gb_s(instance: MemoryInstance, used: Sequence[int], noc: Noc) -> float:
    """A core's part of a memory's bandwidth; on the NoC no more than the links of its ports
    and of the core carry. Assumes that the links in between carry it."""
    num_users, ports = len({*instance.cores} & {*used}), instance.memory.ports
    if not ports:
        return instance.memory.gb_s / num_users
    carried = min(instance.memory.gb_s, len(ports) * noc.port_gb_s)
    return min(carried / num_users, noc.link_gb_s)


def estimate(
    parts: Sequence[Part], scheme: Scheme, chip: Chip, cores: Sequence[int], streams: bool
) -> Estimate:
    """Estimated times of `parts` on `cores` (by rank); `streams`: weights come from memory."""
    limit = _spill_limit(parts, scheme, chip)
    total = _attention(parts, chip, streams)
    paths: dict[Groups, tuple[int, int]] = {}

    def path(groups: Groups) -> tuple[int, int]:
        if groups not in paths:
            paths[groups] = _ring_path(groups, cores, chip.fabric.grid)
        return paths[groups]

    for part in parts:
        total = total.plus(_work(part, chip, streams, limit)).plus(
            Estimate(
                rotation_ps=_rotation_ps(part, chip, path),
                collectives_ps=sum(
                    _comm_ps(c, chip, cores, path) for c in part.before + part.after
                ),
            )
        )
    return total


def _ring_path(groups: Groups, cores: Sequence[int], grid: Grid) -> tuple[int, int]:
    """(longest hop, messages on the busiest link) when all groups do a ring step at once."""
    pairs = [
        (cores[group[i]], cores[group[(i + 1) % len(group)]])
        for group in groups
        if len(group) > 1
        for i in range(len(group))
    ]
    if not pairs:
        return 0, 1
    src, dst = (np.array(column) for column in zip(*pairs, strict=True))
    return int(hops(src, dst, grid).max()), max_link_load(src, dst, grid)


def _work(part: Part, chip: Chip, streams: bool, limit: int) -> Estimate:
    cost = chip.cost
    vector = 0
    if part.share and (part.op.vector_ops or part.op.sfu_ops):
        vector = max(vector_cost(part.op, a, b, cost)[0] for a, b in set(part.share))
    moved = bits_to_bytes(max(part.weights, default=0), cost.weight_bits) if streams else 0
    spilled = _spilled_bytes(part, cost.activation_bits, limit)
    return Estimate(
        arrays_ps=cycles_to_ps(_array_cycles(part, cost), chip.khz),
        memory_ps=_memory_ps(moved, chip),
        vector_ps=cycles_to_ps(vector, chip.khz),
        spills_ps=_memory_ps(spilled, chip),
    )


def _memory_ps(num_bytes: int, chip: Chip) -> int:
    return transfer_ps(num_bytes, chip.memory_gb_s) if chip.memory_gb_s else 0


def _spill_limit(parts: Sequence[Part], scheme: Scheme, chip: Chip) -> int:
    """As the plan will have it, with the windows that are usual when weights stream."""
    capacity, cost = chip.scratchpad_bytes, chip.cost
    live = bits_to_bytes(int(live_elements(parts)[0][0]), cost.activation_bits)
    weights = sum(bits_to_bytes(p.weights[0], cost.weight_bits) for p in parts if p.weights)
    windows = windows_bytes(min(weights, capacity // 4), capacity // 16, scheme)
    return activation_room(live, capacity, windows)[1]


def _spilled_bytes(part: Part, bits: int, limit: int) -> int:
    """What does not fit is written once and read once, before a collective and behind it."""
    sizes = [max(part.outputs, default=0)]
    if part.after:
        sizes.append(max(part.kept or part.outputs, default=0))
    return sum(2 * size for size in (bits_to_bytes(s, bits) for s in sizes) if size > limit)


def _attention(parts: Sequence[Part], chip: Chip, streams: bool) -> Estimate:
    """Array work and context of the first rank's attention, alike in all schemes; softmax is vector
    work."""
    by_kind = {part.op.kind: part for part in parts}
    if "qk" not in by_kind:
        return Estimate()
    qk, av = by_kind["qk"], by_kind["av"]
    assert qk.heads is not None
    cycles = attention_cycles(qk.op, av.op, qk.heads, 0, chip.cost)
    shape = cache_shape([part.op for part in parts])
    context = 0
    if shape and streams:
        rows = sum(attended - new for new, attended, _ in shape.slices)
        context = rank_bytes(shape, qk.heads, 0, rows * shape.row_elements, chip.cost.kv_bits)
    return Estimate(arrays_ps=cycles_to_ps(cycles, chip.khz), memory_ps=_memory_ps(context, chip))


def _array_cycles(part: Part, cost: CoreCost) -> int:
    """Cycles of the slowest rank's GEMMs; attention counts apart."""
    if part.experts:
        return max(
            sum(_slowest(t, k, n, cost) for t in tokens)
            for (_, k, n), tokens in set(zip(part.shapes, part.experts, strict=True))
        )
    if part.op.kind != "matmul":
        return 0
    return max(
        sum(_slowest(m, k, width, cost) for width in part.blocks or (n,))
        for m, k, n in set(part.shapes)
    )


def _slowest(m: int, k: int, n: int, cost: CoreCost) -> int:
    if not (m and k and n):
        return 0
    return max(cycles for cycles, _, _ in gemm_costs(m, k, n, cost)[1])


def _alpha_ps(chip: Chip, longest: int) -> int:
    cycles = chip.fabric.message_cycles + longest * chip.fabric.hop_cycles
    return cycles_to_ps(cycles, chip.noc_khz) + cycles_to_ps(chip.cost.start_cycles, chip.khz)


def _rotation_ps(part: Part, chip: Chip, path) -> int:
    steps = len(part.blocks) - 1
    if steps < 1:
        return 0
    longest, load = path(part.ring)
    block = bits_to_bytes(max(part.weights), chip.cost.weight_bits)
    return steps * (_alpha_ps(chip, longest) + transfer_ps(load * block, chip.link_gb_s))


def _comm_ps(comm: Comm, chip: Chip, cores: Sequence[int], path) -> int:
    """The cheapest algorithm. Assumes that a mesh's rows and columns are free of other messages,
    and that a tree's steps cross as many links as a ring's."""
    kind = "all_gather" if comm.kind == "gather" else comm.kind
    size = bits_to_bytes(max(comm.elements), chip.cost.activation_bits)
    longest, load = path(comm.groups)
    group = [cores[rank] for rank in comm.groups[0]]
    found = [
        _cost_ps(kind, collective_cost(kind, name, size, len(group)), chip, longest, load)
        for name in ("ring", "tree")
    ]
    grid = rectangle(group, chip.fabric.columns)
    if grid:
        shape = (len(grid), len(grid[0]))
        cost = collective_cost(kind, "mesh2d", size, len(group), shape)
        found.append(_cost_ps(kind, cost, chip, chip.fabric.grid.nearest, 1))
    return min(ps for ps in found if ps is not None)


def _cost_ps(kind: str, cost: Cost | None, chip: Chip, longest: int, load: int) -> int | None:
    if cost is None:
        return None
    loaded = cost._replace(serial=cost.serial * load)
    moved = collective_ps(loaded, _alpha_ps(chip, longest), chip.link_gb_s)
    return moved + _reduction_ps(int(cost.serial * REDUCED.get(kind, 0)), chip)


def _reduction_ps(num_bytes: int, chip: Chip) -> int:
    """Additions of what arrives: by the vector unit, or as fast as the scratchpad reads two pieces
    and writes one."""
    cost = chip.cost
    vector = vector_cycles(ceil_div(num_bytes * 8, cost.activation_bits), cost.lanes, cost.alus)
    return cycles_to_ps(max(vector, ceil_div(3 * num_bytes, cost.port_bytes)), chip.khz)
