"""What every core must hold → what stays in its scratchpad and where in memory the rest lies.

The order of section 6 of the multi-core NPU study (arXiv 2510.05632): buffers first, since nothing
runs without them; then blocks of KV cache; then whole weight tensors, best effort. What finds
no room lies in the core's memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field

from npusim.errors import CapacityError
from npusim.passes.share import WHOLE, Share
from npusim.spec.hardware import Hardware, MemoryInstance
from npusim.units import ceil_div, format_bytes


@dataclass(frozen=True)
class CoreDemand:
    """What one core must hold. `buffers_bytes`: activations, double buffers, communication.
    `weights`: (tensor name, bytes) in the order of their claim to the scratchpad; `kv_layers`: the
    bytes of KV cache of each layer."""

    buffers_bytes: int = 0
    weights: tuple[tuple[str, int], ...] = ()
    kv_layers: tuple[int, ...] = ()

    @property
    def kv_bytes(self) -> int:
        return sum(self.kv_layers)


@dataclass(frozen=True)
class Region:
    """A contiguous piece of one memory instance."""

    memory_id: int
    address: int
    num_bytes: int


@dataclass(frozen=True)
class CorePlan:
    """Where a core's things lie. `resident`: weight tensors in the scratchpad; `weights`: those in
    memory; `sram_kv`: bytes of each layer's KV cache in the scratchpad; `kv` holds the rest, None
    when there is none. `peak_sram_bytes` counts whole blocks."""

    core_id: int
    resident: tuple[str, ...]
    weights: Mapping[str, Region]
    sram_kv: tuple[int, ...]
    kv: Region | None
    peak_sram_bytes: int

    @property
    def sram_kv_bytes(self) -> int:
        return sum(self.sram_kv)


@dataclass
class MemoryMap:
    """Hands out disjoint address ranges of the memory instances, each from its base upwards: that
    in `base`, (memory id, first free byte), else 0."""

    instances: Sequence[MemoryInstance]
    base: InitVar[Iterable[tuple[int, int]]] = ()
    used_bytes: list[int] = field(init=False)
    _capacity_bytes: list[int] = field(init=False, repr=False)
    _stripe_bytes: list[int] = field(init=False, repr=False)

    def __post_init__(self, base: Iterable[tuple[int, int]]) -> None:
        self.used_bytes = [0] * len(self.instances)
        self._capacity_bytes = [i.memory.capacity_bytes for i in self.instances]
        self._stripe_bytes = [i.memory.interleave_bytes for i in self.instances]
        for memory_id, first in base:
            self._use(memory_id, first)

    def fits(self, memory_id: int, num_bytes: int) -> bool:
        return self.used_bytes[memory_id] + num_bytes <= self._capacity_bytes[memory_id]

    def alloc(self, memory_id: int, num_bytes: int) -> int:
        """Address of `num_bytes` free bytes, a multiple of the instance's interleave.

        Raises CapacityError with demand and bound when the instance is too full.
        """
        address = self.used_bytes[memory_id]
        if not self.fits(memory_id, num_bytes):
            memory = self.instances[memory_id].memory
            raise CapacityError(
                f"{memory.name} {memory_id} needs {format_bytes(address + num_bytes)}, "
                f"it has {format_bytes(memory.capacity_bytes)}; raise tp or pp, "
                "use a smaller batch or context, or raise capacity_gib"
            )
        # The end is rounded up, and may stand above the capacity when nothing more is asked for.
        self._use(memory_id, address + num_bytes)
        return address

    def _use(self, memory_id: int, end: int) -> None:
        stripe = self._stripe_bytes[memory_id]
        self.used_bytes[memory_id] = ceil_div(end, stripe) * stripe


@dataclass(frozen=True)
class MemoryPlan:
    """The plans of all cores asked for, and the map to place more things with."""

    cores: Mapping[int, CorePlan]
    memory: MemoryMap


@dataclass(frozen=True)
class _Split:
    """A demand after the scratchpad has taken its part; names in order, `kv_bytes` what spills."""

    resident: tuple[str, ...]
    spilled: tuple[tuple[str, int], ...]
    sram_kv: tuple[int, ...]
    kv_bytes: int
    peak_sram_bytes: int

    @property
    def num_bytes(self) -> int:
        return self.kv_bytes + sum(size for _, size in self.spilled)


def plan_memory(
    hardware: Hardware, demands: Mapping[int, CoreDemand], share: Share = WHOLE
) -> MemoryPlan:
    """Plans of the cores in `demands` (core id → demand), above what others hold in memory.

    Raises CapacityError when a core's buffers (and a fixed room for KV) exceed its scratchpad, or
    what spills exceeds the memories that the cores can reach.
    """
    splits = {c: _fill_scratchpad(hardware, c, demand, share) for c, demand in demands.items()}
    memory = MemoryMap(hardware.memory_instances(), share.memory_base)
    reach = _reachable(memory.instances)
    plans = {}
    for core_id, split in splits.items():
        regions = _place_spilled(core_id, split, memory, reach.get(core_id, ()), splits)
        plans[core_id] = CorePlan(
            core_id,
            split.resident,
            {name: regions[name] for name, _ in split.spilled},
            split.sram_kv,
            regions.get(_KV),
            split.peak_sram_bytes,
        )
    return MemoryPlan(plans, memory)


_KV = "\0kv"  # cannot be a tensor's name


def _fill_scratchpad(hardware: Hardware, core_id: int, demand: CoreDemand, share: Share) -> _Split:
    """Buffers, then KV blocks, then every weight tensor that still fits, in the order given."""
    scratchpad = hardware.core(core_id).scratchpad
    block = scratchpad.block_bytes
    num_blocks = scratchpad.capacity_bytes // block
    free = num_blocks - ceil_div(demand.buffers_bytes, block)
    if free < 0:
        raise CapacityError(
            f"core {core_id}: buffers need {format_bytes(demand.buffers_bytes)} of scratchpad, "
            f"it has {format_bytes(num_blocks * block)}; use smaller tiles, a higher tp, fewer "
            "tokens an iteration, or raise scratchpad.capacity_mib"
        )
    if share.kv_room_bytes is None:
        sram_kv = _resident_kv(demand, free, block, share.kv_resident_fraction)
        free -= sum(ceil_div(size, block) for size in sram_kv)
    else:
        room = share.kv_room_bytes // block
        free -= room
        _check_room(core_id, demand, room * block, num_blocks * block, free)
        sram_kv = _resident_kv(demand, room, block, share.kv_resident_fraction)
    resident, spilled = [], []
    for name, size in demand.weights:
        if ceil_div(size, block) <= free:
            resident.append(name)
            free -= ceil_div(size, block)
        else:
            spilled.append((name, size))
    peak = (num_blocks - free) * block
    left = demand.kv_bytes - sum(sram_kv)
    return _Split(tuple(resident), tuple(spilled), sram_kv, left, peak)


def _check_room(core_id: int, demand: CoreDemand, room: int, capacity: int, free: int) -> None:
    if free < 0:
        raise CapacityError(
            f"core {core_id}: buffers of {format_bytes(demand.buffers_bytes)} and KV room of "
            f"{format_bytes(room)} exceed the scratchpad of {format_bytes(capacity)}; use less "
            "room for KV, fewer tokens an iteration, or raise scratchpad.capacity_mib"
        )


def _resident_kv(
    demand: CoreDemand, free_blocks: int, block: int, fraction: float
) -> tuple[int, ...]:
    """Bytes of each layer's cache that stay: all, or whole blocks in proportion to its size, so
    that equal layers stay equal; no more than `fraction` of each."""
    sizes = demand.kv_layers
    needed = sum(ceil_div(size, block) for size in sizes)
    if needed <= free_blocks and fraction >= 1:
        return sizes
    room, total = free_blocks * block, max(1, sum(sizes))
    return tuple(min(int(size * fraction), size * room // total) // block * block for size in sizes)


def _reachable(instances: Iterable[MemoryInstance]) -> dict[int, list[int]]:
    """Core id → the memory instances it may use, in file order."""
    reach: dict[int, list[int]] = {}
    for instance in instances:
        for core_id in instance.cores:
            reach.setdefault(core_id, []).append(instance.memory_id)
    return reach


def _place_spilled(
    core_id: int,
    split: _Split,
    memory: MemoryMap,
    memory_ids: Sequence[int],
    splits: Mapping[int, _Split],
) -> dict[str, Region]:
    """Each spilled tensor, then the KV cache, in the first reachable memory with room."""
    things = [*split.spilled, *([(_KV, split.kv_bytes)] if split.kv_bytes else [])]
    regions = {}
    for name, size in things:
        memory_id = next((m for m in memory_ids if memory.fits(m, size)), None)
        if memory_id is None:
            raise CapacityError(_too_much(core_id, memory, memory_ids, splits))
        regions[name] = Region(memory_id, memory.alloc(memory_id, size), size)
    return regions


def _too_much(
    core_id: int, memory: MemoryMap, memory_ids: Sequence[int], splits: Mapping[int, _Split]
) -> str:
    lever = "raise tp or pp, or use a smaller batch or context or fewer bits"
    if not memory_ids:
        return (
            f"core {core_id}: {format_bytes(splits[core_id].num_bytes)} of weights and KV do not "
            f"fit its scratchpad and it has no memory; {lever}, or add a memory"
        )
    instances = [memory.instances[m] for m in memory_ids]
    sharers = {c for instance in instances for c in instance.cores} & splits.keys()
    demand = sum(splits[c].num_bytes for c in sharers)
    bound = sum(instance.memory.capacity_bytes for instance in instances)
    names = " and ".join(dict.fromkeys(instance.memory.name for instance in instances))
    whose = f"core {core_id}" if len(sharers) == 1 else f"cores {min(sharers)} to {max(sharers)}"
    pieces = " in pieces too small for a whole tensor" if demand <= bound else ""
    return (
        f"{whose}: weights and KV need {format_bytes(demand)} of {names}, which has "
        f"{format_bytes(bound)}{pieces}; {lever}"
    )
