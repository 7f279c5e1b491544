"""A resolved scenario → its instances settled on their cores: what each holds, its room for KV."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from npusim.errors import SpecError
from npusim.graph import batch as batches
from npusim.graph.batch import Batch, Slice
from npusim.graph.transformer import build
from npusim.passes.footprint import Footprint, footprint
from npusim.passes.share import Share
from npusim.serve_trace import InstanceRow
from npusim.serving.kv.blocks import KvSize
from npusim.serving.kv_room import check_room, given_room, kv_size, spare_room, token_bytes
from npusim.serving.placement import place_instances
from npusim.serving.shared_memory import Bases, SharedMemories
from npusim.spec.load import Setup
from npusim.spec.serving import Instance, Kv, Limits

TYPICAL_DECODES = batches.decode(16, 1024)
TYPICAL_PROMPT = batches.prefill(1, 256)


@dataclass(frozen=True)
class Settled:
    """An instance on its cores. `setup` has its parallel, partition and placement; `footprint` is
    None where iterations are read from a table."""

    row: InstanceRow
    setup: Setup
    limits: Limits
    kv: Kv
    size: KvSize
    share: Share
    footprint: Footprint | None = None
    memory_ids: tuple[int, ...] = ()  # memories of its chip that its cores may use

    @property
    def kv_tokens(self) -> int:
        """Tokens of context that its KV memory holds."""
        return self.size.num_tokens

    @property
    def memory_tokens(self) -> int:
        """Those that are not in scratchpads."""
        return self.kv_tokens - self.size.sram_blocks * self.size.block_tokens


def settle(setup: Setup) -> list[Settled]:
    """Every instance of the scenario, a count apart.

    Raises SpecError when they do not fit the mesh, CapacityError when weights and buffers do not
    fit an instance's cores, or leave no room for KV.
    """
    wanted = _expand(setup)
    if setup.scenario.serving.iteration == "table":
        return [_of_table(setup, instance, i) for i, instance in enumerate(wanted)]
    _check_chips(setup, wanted)
    cores = _cores(setup, wanted)
    memories = _shared(setup, wanted, cores)
    return [
        _settle(setup, instance, index, own, memories)
        for index, (instance, own) in enumerate(zip(wanted, cores, strict=True))
    ]


def _check_chips(setup: Setup, wanted: Sequence[Instance]) -> None:
    """Instances have the chips that they ask for. Of chips that run kernels each has tp x pp of its
    own; a chip file without `chips` may stand for any number of others."""
    chips = setup.hardware.chips
    if chips is None:
        return
    if setup.hardware.kernels is not None:
        degrees = [one.parallel for one in wanted if one.parallel is not None]
        needed = sum(one.tp * one.pp for one in degrees)
        if needed > chips.count:
            raise SpecError(
                f"need {needed} chips (tp x pp each), {setup.hardware.name} has {chips.count}; "
                "lower tp, pp or count, or raise hw.chips.count",
                "serving.instances",
            )
        return
    last = max(instance.chip for instance in wanted)
    if last >= chips.count:
        raise SpecError(
            f"must be below the {chips.count} chips of {setup.hardware.name}, not {last}",
            "serving.instances.chip",
        )


def _expand(setup: Setup) -> list[Instance]:
    """One Instance a count, with what the scenario gives to all filled in."""
    scenario = setup.scenario
    serving, found = scenario.serving, []
    for instance in serving.instances:
        given = instance.model_dump(exclude_none=True)
        defaults = {
            "parallel": scenario.parallel,
            "placement": scenario.placement,
            "scheduler": serving.scheduler,
            "limits": serving.limits,
            "kv": serving.kv,
        }
        update = {key: value for key, value in defaults.items() if key not in given}
        one = instance.model_copy(update={**update, "count": 1})
        found += [_without_outputs(one) if one.role == "prefill" else one] * instance.count
    return found


def _without_outputs(instance: Instance) -> Instance:
    """A prefill instance keeps no room for tokens that come out elsewhere."""
    kv = instance.kv
    assert kv is not None
    reserve = "prompt" if kv.reserve == "output" else kv.reserve
    return instance.model_copy(update={"kv": kv.model_copy(update={"reserve": reserve})})


def _cores(setup: Setup, wanted: Sequence[Instance]) -> list[tuple[int, ...]]:
    """Of a chip that runs kernels, all cores; an instance is tp x pp such chips."""
    hardware = setup.hardware
    if hardware.kernels is not None:
        return [tuple(range(hardware.mesh.num_cores)) for _ in wanted]
    listed = enumerate(setup.scenario.serving.instances)
    rows = [row for row, instance in listed for _ in range(instance.count)]
    found: list[tuple[int, ...]] = [()] * len(wanted)
    for chip in sorted({instance.chip for instance in wanted}):
        own = [i for i, instance in enumerate(wanted) if instance.chip == chip]
        placed = place_instances(
            setup.scenario.serving.placement, hardware, [wanted[i] for i in own],
            [rows[i] for i in own],
        )  # fmt: skip
        for i, cores in zip(own, placed, strict=True):
            found[i] = cores
    return found


def _shared(
    setup: Setup, wanted: Sequence[Instance], cores: Sequence[tuple[int, ...]]
) -> SharedMemories:
    """What instances need of memories that several of them reach. Chips that run kernels are an
    instance's own."""
    if setup.hardware.kernels is not None:
        return SharedMemories([])
    reached = [_reached(setup, own) for own in cores]
    sharers = Counter(
        (instance.chip, memory_id)
        for instance, ids in zip(wanted, reached, strict=True)
        for memory_id in ids
    )
    needs = []
    for instance, own, ids in zip(wanted, cores, reached, strict=True):
        held: dict[int, int] = {}
        if any(sharers[instance.chip, memory_id] > 1 for memory_id in ids):
            memories = _footprint(setup, instance, _share(setup, instance, own)).memories
            held = {memory.memory_id: memory.first_free for memory in memories}
        needs.append((instance.chip, {memory_id: held.get(memory_id, 0) for memory_id in ids}))
    return SharedMemories(needs)


def _reached(setup: Setup, cores: tuple[int, ...]) -> list[int]:
    """Memories that some of the cores may use."""
    memories = setup.hardware.memory_instances()
    return [m.memory_id for m in memories if not set(cores).isdisjoint(m.cores)]


def _share(setup: Setup, instance: Instance, cores: tuple[int, ...], bases: Bases = ()) -> Share:
    """What is known of an instance's share before it is settled."""
    if setup.hardware.kernels is not None:
        return Share()
    assert instance.kv is not None
    return Share(
        cores=cores, memory_base=bases, kv_room_bytes=given_room(setup, instance.kv, cores)
    )


def _settle(
    setup: Setup,
    instance: Instance,
    index: int,
    cores: tuple[int, ...],
    memories: SharedMemories,
) -> Settled:
    assert instance.limits and instance.kv
    kernels = setup.hardware.kernels is not None
    share = _share(setup, instance, cores, memories.bases(instance.chip))
    held = _footprint(setup, instance, share)
    if not kernels:
        share = replace(
            share, buffers_bytes=held.buffers_bytes, kv_room_bytes=spare_room(held, share)
        )
    reached = [] if kernels else _reached(setup, cores)
    fraction = memories.fraction(instance.chip, held.memories)
    size = kv_size(setup, instance.kv, held, share, fraction)
    memories.claim(instance.chip, reached, held.memories)
    scenario = setup.scenario.model_copy(
        update={"parallel": held.parallel, "placement": held.placement}
    )
    check_room(index, size)
    return Settled(
        row=_row(setup, instance, index, cores, size),
        setup=replace(setup, scenario=scenario),
        limits=instance.limits,
        kv=instance.kv,
        size=size,
        share=share,
        footprint=held,
        memory_ids=tuple(reached),
    )


def _footprint(setup: Setup, instance: Instance, share: Share) -> Footprint:
    """What an instance holds in its largest iteration. What is `auto` of its mapping is chosen for
    that and, where it decodes as well, for a decode step."""
    assert instance.placement is not None and instance.parallel is not None
    parallel = instance.parallel.model_copy(update={"micro_batches": 1})
    assert setup.model is not None
    beside = [] if instance.role == "decode" else [TYPICAL_PROMPT]
    beside += [TYPICAL_DECODES] if instance.role == "both" else []
    largest, *others = (
        build(setup.model, batch, parallel.mla) for batch in (largest_batch(instance), *beside)
    )
    return footprint(
        largest, setup.hardware, parallel, instance.placement, setup.scenario.dtype, share,
        beside=others,
    )  # fmt: skip


def largest_batch(instance: Instance) -> Batch:
    """The batch with most activations: `max_tokens` tokens of prompts; of an instance that only
    decodes, a token of each of `max_requests`."""
    limits = instance.limits
    assert limits is not None
    if instance.role == "decode":
        return batches.decode(min(limits.max_requests, limits.max_tokens), 1)
    return (Slice(limits.max_tokens),)


def _row(
    setup: Setup, instance: Instance, index: int, cores: tuple[int, ...], size: KvSize
) -> InstanceRow:
    assert instance.parallel is not None and instance.scheduler is not None
    return InstanceRow(
        name=f"{instance.role} {index}",
        role=instance.role,
        chip=instance.chip,
        cores=cores,
        tp=instance.parallel.tp,
        pp=instance.parallel.pp,
        scheduler=instance.scheduler,
        num_blocks=size.num_blocks + size.memory_tokens // size.block_tokens,
        block_tokens=size.block_tokens,
        sram_blocks=size.sram_blocks,
        kv_bytes_per_token=token_bytes(setup),
    )


def _of_table(setup: Setup, instance: Instance, index: int) -> Settled:
    """An instance whose iterations are measured: its KV memory is what the user says."""
    assert instance.kv and instance.limits
    if instance.kv.num_blocks is None:
        raise SpecError("is missing; needed by iteration table", "serving.kv.num_blocks")
    size = KvSize(instance.kv.num_blocks, 0, instance.kv.block_tokens)
    return Settled(
        _row(setup, instance, index, (), size), setup, instance.limits, instance.kv, size, Share()
    )
