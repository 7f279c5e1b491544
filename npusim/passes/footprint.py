"""An instance's largest iteration and its share of the chip → Footprint: what its cores hold, and
what is left for the KV cache.

To settle an instance: footprint() with its cores, the bases of its memories and the scratchpad room
that it gives to KV; then a Share with the largest `buffers_bytes` found, and the partition and
placement found. Every iteration lowered with these has the same weights in the scratchpads.

Assumes that the iteration has the operators of all others: what only some have (the LM head) claims
the scratchpad behind the layers, and the forms of MLA have weights of equal size.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import networkx as nx

from npusim.errors import SpecError
from npusim.passes.pipeline import map_graph, plan
from npusim.passes.plan import MemoryMap
from npusim.passes.planned import Mapped, Planned
from npusim.passes.share import WHOLE, Share
from npusim.passes.shared.held import Held, held_by_chip
from npusim.program import NONE
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Dtypes, Parallel


@dataclass(frozen=True)
class CoreFootprint:
    """What one core holds. `scratchpad_bytes` in whole blocks, `unclaimed_bytes` of it are for
    nothing but KV (a fixed room among them). `kv_bits_per_token`: the cache of one token of context
    in all layers of the core; where it is not in the scratchpad it lies in `memory_id` (NONE: the
    core has no memory). A window of attention is not taken into account."""

    core: int
    stage: int
    rank: int
    scratchpad_bytes: int
    block_bytes: int
    buffers_bytes: int
    resident_weight_bytes: int
    memory_weight_bytes: int
    unclaimed_bytes: int
    kv_bits_per_token: Fraction
    memory_id: int

    @property
    def weight_bytes(self) -> int:
        return self.resident_weight_bytes + self.memory_weight_bytes


@dataclass(frozen=True)
class MemoryFootprint:
    """A memory instance that `cores` of the serving instance keep KV in: bytes free for that, from
    `first_free` on, the first byte above weights and spilled activations."""

    memory_id: int
    cores: tuple[int, ...]
    first_free: int
    free_bytes: int


@dataclass(frozen=True)
class Footprint:
    """`groups`: core ids by stage and rank; `parallel` and `placement` as they were chosen. A chip
    that is lowered as kernels has one entry, core 0, for a chip of each stage."""

    groups: tuple[tuple[int, ...], ...]
    cores: tuple[CoreFootprint, ...]
    memories: tuple[MemoryFootprint, ...]
    parallel: Parallel
    placement: str

    @property
    def buffers_bytes(self) -> int:
        """What a Share needs."""
        return max(core.buffers_bytes for core in self.cores)

    def memory_tokens(self) -> int:
        """Tokens of context whose KV cache the memories hold; 0 when some core has none."""
        bits = {core.core: core.kv_bits_per_token for core in self.cores}
        if any(core.memory_id == NONE and core.kv_bits_per_token for core in self.cores):
            return 0
        sums = [(m.free_bytes, sum(bits[core] for core in m.cores)) for m in self.memories]
        return min((int(8 * free / own) for free, own in sums if own), default=0)


def footprint(
    graph: nx.DiGraph,
    hardware: Hardware,
    parallel: Parallel,
    placement: str,
    dtypes: Dtypes,
    share: Share = WHOLE,
    beside: Sequence[nx.DiGraph] = (),
) -> Footprint:
    """What an instance holds while it runs `graph`, whose own KV cache is left out; without
    `kv_room_bytes` no room is kept for KV in the scratchpads. `beside`: other iterations (a decode
    step) that `auto` chooses a mapping for, each as important as the largest.

    Raises SpecError when the mapping cannot be used for this model, these cores, or an instance (dp
    above 1); CapacityError when weights and buffers do not fit.
    """
    if parallel.dp > 1:
        raise SpecError("an instance is one replica; dp must be 1, list more instances", "parallel")
    if hardware.kernels is not None:
        held = held_by_chip(graph, hardware, parallel, dtypes)
        return _of_chip(held, hardware, parallel, placement, share)
    mapped, choice, _ = map_graph(graph, hardware, parallel, placement, dtypes, share, beside)
    fixed = replace(share, kv_room_bytes=share.kv_room_bytes or 0)
    planned = plan(mapped, hardware, fixed, with_kv=False)
    memories = _memories(planned, hardware)
    return Footprint(
        groups=tuple(tuple(cores) for cores in choice.groups[0]),
        cores=_cores(mapped, planned, hardware, fixed, memories),
        memories=memories,
        parallel=parallel.model_copy(update={"partition": choice.scheme.name}),
        placement=choice.placement,
    )


def _cores(
    mapped: Mapped,
    planned: Planned,
    hardware: Hardware,
    share: Share,
    memories: tuple[MemoryFootprint, ...],
) -> tuple[CoreFootprint, ...]:
    memory_of = {core: m.memory_id for m in memories for core in m.cores}
    specs, found = hardware.cores(), []
    for stage, (work, cores) in enumerate(zip(mapped.whole[0], mapped.groups[0], strict=True)):
        for rank, core in enumerate(cores):
            own, cost, pad = planned.plan.cores[core], mapped.costs[core], specs[core].scratchpad
            block = pad.block_bytes
            capacity = pad.capacity_bytes // block * block
            in_memory = sum(region.num_bytes for region in own.weights.values())
            held = [*work.weight_bytes(rank, cost), *work.pinned_bytes(rank, cost)]
            room = (share.kv_room_bytes or 0) // block * block
            found.append(
                CoreFootprint(
                    core=core, stage=stage, rank=rank, scratchpad_bytes=capacity, block_bytes=block,
                    buffers_bytes=planned.limits[core].buffers_bytes,
                    resident_weight_bytes=sum(size for _, size in held) - in_memory,
                    memory_weight_bytes=in_memory,
                    unclaimed_bytes=capacity - own.peak_sram_bytes + room,
                    kv_bits_per_token=work.kv_bits_per_token(rank, cost),
                    memory_id=memory_of.get(core, NONE),
                )
            )  # fmt: skip
    return tuple(found)


def _memories(planned: Planned, hardware: Hardware) -> tuple[MemoryFootprint, ...]:
    """Assumes that a core keeps its KV in the memory with most room of those that it reaches, and
    that each core's part of it starts on a stripe of its own."""
    used = planned.plan.memory.used_bytes
    instances = hardware.memory_instances()
    room = {i.memory_id: i.memory.capacity_bytes - used[i.memory_id] for i in instances}
    users: dict[int, list[int]] = defaultdict(list)
    for core in sorted(planned.limits):
        reached = [i.memory_id for i in instances if core in i.cores]
        if reached:
            users[max(reached, key=room.__getitem__)].append(core)
    return tuple(
        MemoryFootprint(
            memory_id, tuple(cores), used[memory_id],
            max(0, room[memory_id] - len(cores) * instances[memory_id].memory.interleave_bytes),
        )
        for memory_id, cores in users.items()
    )  # fmt: skip


def _of_chip(
    held: Held,
    hardware: Hardware,
    parallel: Parallel,
    placement: str,
    share: Share,
) -> Footprint:
    """One chip for all: what is not weights or activations is for KV."""
    memory_id = held.memory_id
    above = MemoryMap(hardware.memory_instances(), share.memory_base)
    first = above.used_bytes[memory_id] + held.weight_bytes + held.activation_bytes
    free = held.room_bytes - first
    core = CoreFootprint(
        core=0, stage=0, rank=0, scratchpad_bytes=0, block_bytes=1, buffers_bytes=0,
        resident_weight_bytes=0, memory_weight_bytes=held.weight_bytes, unclaimed_bytes=0,
        kv_bits_per_token=held.kv_bits_per_token, memory_id=memory_id,
    )  # fmt: skip
    memories = (MemoryFootprint(memory_id, (0,), first, max(0, free)),)
    return Footprint(((0,),), (core,), memories, parallel, placement)
