"""An operator graph, a chip and a mapping → a Program, by one visible list of passes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import networkx as nx

from npusim.errors import CapacityError, SpecError
from npusim.graph.ir import Op, ops_in_order
from npusim.passes.choose import Choice, choose
from npusim.passes.cut.graph import check_parts, cut_graph
from npusim.passes.demand import Limits, StageWork, Streams, core_demand, limits
from npusim.passes.emit.stages import emit_program
from npusim.passes.fit import fit_hint
from npusim.passes.kv_cache import CacheShape, cache_shape
from npusim.passes.notes import notes_of
from npusim.passes.partition import Part, Scheme
from npusim.passes.plan import CoreDemand, MemoryMap, MemoryPlan, Region, plan_memory
from npusim.passes.planned import Mapped, Planned
from npusim.passes.share import WHOLE, Share
from npusim.passes.split import micro_batches, replicas
from npusim.passes.stage import assign_stages
from npusim.passes.tile import core_cost
from npusim.program import Program, check
from npusim.spec.hardware import Hardware, Scratchpad
from npusim.spec.scenario import Dtypes, Parallel
from npusim.units import format_bytes


def lower(
    graph: nx.DiGraph,
    hardware: Hardware,
    parallel: Parallel,
    placement: str,
    dtypes: Dtypes,
    share: Share = WHOLE,
) -> Program:
    """The task streams of one iteration on a share of the chip.

    Raises SpecError when the mapping cannot be used for this graph or chip, CapacityError when the
    iteration does not fit the chip.
    """
    try:
        mapped, choice_notes = map_graph(graph, hardware, parallel, placement, dtypes, share)[::2]
        return _lower(mapped, choice_notes, hardware, parallel, dtypes, share)
    except CapacityError as error:
        hint = fit_hint(graph, hardware, parallel, dtypes, share)
        raise CapacityError(f"{error}{hint}") from None


def _lower(
    mapped: Mapped,
    notes: list[str],
    hardware: Hardware,
    parallel: Parallel,
    dtypes: Dtypes,
    share: Share,
) -> Program:
    planned = plan(mapped, hardware, share)
    program = emit_program(mapped, planned, hardware, parallel, dtypes)
    program.notes[:0] = notes
    program.notes += notes_of(mapped, planned)
    check(program)
    return program


def map_graph(
    graph: nx.DiGraph,
    hardware: Hardware,
    parallel: Parallel,
    placement: str,
    dtypes: Dtypes,
    share: Share = WHOLE,
    beside: Sequence[nx.DiGraph] = (),
) -> tuple[Mapped, Choice, list[str]]:
    """The work of every group of cores, the mapping that was chosen (for `graph` and the iterations
    `beside` it), and sentences on why.

    Raises as choose().
    """
    whole = replicas(graph, parallel.dp)
    batches = [micro_batches(g, parallel.micro_batches) for g in whole]
    stages = stages_of(graph, parallel.pp)
    choice, notes = choose(batches[0][0], hardware, parallel, placement, dtypes, share, beside)
    scheme = choice.scheme
    works = [[partition(batch, scheme, stages) for batch in replica] for replica in batches]
    everything = [
        replica[0] if len(replica) == 1 else partition(g, scheme, stages)
        for g, replica in zip(whole, works, strict=True)
    ]
    mapped = Mapped(
        [_by_stage(replica) for replica in works], everything, batches, choice.groups, scheme,
        {core: core_cost(spec, dtypes) for core, spec in enumerate(hardware.cores())},
    )  # fmt: skip
    return mapped, choice, notes


def stages_of(graph: nx.DiGraph, pp: int) -> list[range]:
    """Layers of every stage. What stands before the layers goes with the first stage, the rest
    with the last."""
    num_layers = len(graph.graph["layers"])
    if not num_layers:
        if pp > 1:
            raise SpecError(f"pp must be 1 for work without layers, not {pp}", "parallel.pp")
        return [range(0)]
    return assign_stages(num_layers, pp)


def partition(graph: nx.DiGraph, scheme: Scheme, stages: list[range]) -> list[StageWork]:
    """The work of each stage."""
    parts = cut_graph(graph, scheme)
    check_parts(graph, parts, scheme.tp)
    ops = ops_in_order(graph)
    starts = graph.graph.get("kv_starts", {})
    works = [_stage_work(tuple(own), parts, scheme, starts) for own in _ops_by_stage(ops, stages)]
    assert sum(len(work.ops) for work in works) == len(ops)
    return works


def _ops_by_stage(ops: list[Op], stages: list[range]) -> list[list[Op]]:
    found: list[list[Op]] = [[] for _ in stages]
    seen_layers = False
    for op in ops:
        seen_layers = seen_layers or op.layer >= 0
        if op.layer < 0:
            found[-1 if seen_layers else 0].append(op)
        else:
            found[next(i for i, stage in enumerate(stages) if op.layer in stage)].append(op)
    return found


def _stage_work(
    ops: tuple[Op, ...],
    parts: Mapping[str, Part],
    scheme: Scheme,
    starts: Mapping[int, tuple[int, ...]],
) -> StageWork:
    by_layer: dict[int, list[Op]] = {}
    for op in ops:
        by_layer.setdefault(op.layer, []).append(op)
    caches: dict[int, CacheShape | None] = {
        layer: cache_shape(own, starts.get(layer, ())) for layer, own in by_layer.items()
    }
    return StageWork(ops, parts, caches, scheme)


def _by_stage(works: list[list[StageWork]]) -> list[list[StageWork]]:
    """[micro-batch][stage] → [stage][micro-batch]."""
    return [list(stage) for stage in zip(*works, strict=True)]


def plan(mapped: Mapped, hardware: Hardware, share: Share = WHOLE, with_kv: bool = True) -> Planned:
    """Where weights and KV lie. First as if all of it fitted the scratchpads, which then need no
    buffers for what streams; when it does not, with buffers. With a fixed room for KV those for KV
    are there in any case, and only weights decide. `with_kv` false: no place for the KV."""
    fixed = share.kv_room_bytes is not None
    streamed = _must_stream(mapped, hardware)
    planned = _plan(mapped, hardware, Streams(streamed, streamed, fixed), share, with_kv)
    spilled = planned.plan.cores.values()
    if not streamed and any(core.weights or (core.kv and not fixed) for core in spilled):
        planned = _plan(mapped, hardware, Streams(True, True, fixed), share, with_kv)
    cores = {core for replica in mapped.groups for stage in replica for core in stage}
    assert set(planned.plan.cores) == cores
    return planned


def _must_stream(mapped: Mapped, hardware: Hardware) -> bool:
    """What can be told at once: weights are pinned to memory, or exceed a group's first core."""
    for whole, stages in zip(mapped.whole, mapped.groups, strict=True):
        for work, cores in zip(whole, stages, strict=True):
            weights = work.weight_bytes(0, mapped.costs[cores[0]])
            capacity = hardware.core(cores[0]).scratchpad.capacity_bytes
            if work.pinned or sum(size for _, size in weights) > capacity:
                return True
    return False


def _plan(
    mapped: Mapped, hardware: Hardware, streams: Streams, share: Share, with_kv: bool
) -> Planned:
    reach: dict[int, int] = {}
    for instance in hardware.memory_instances():
        for core in instance.cores:
            reach.setdefault(core, instance.memory_id)
    demands, bounds, pinned, specs = {}, {}, {}, hardware.cores()
    for replica, whole, stages in zip(mapped.works, mapped.whole, mapped.groups, strict=True):
        for works, work, cores in zip(replica, whole, stages, strict=True):
            known: dict[tuple, tuple[Limits, CoreDemand]] = {}
            alike = list(zip(*(w.alike for w in (*works, work)), strict=True))
            for rank, core in enumerate(cores):
                cost = mapped.costs[core]
                capacity = _room_bytes(specs[core].scratchpad, share)
                own = streams._replace(any_context=streams.any_context and core in reach)
                key = (alike[rank], cost, capacity, own, core in reach)
                if key not in known:
                    limit = limits(works, rank, cost, capacity, own, share.buffers_bytes)
                    known[key] = limit, core_demand(work, rank, cost, limit, core in reach)
                bounds[core], demand = known[key]
                demands[core] = demand if with_kv else replace(demand, kv_layers=())
                pinned[core] = work.pinned_bytes(rank, cost) if core in reach else []
    placed = plan_memory(hardware, demands, share)
    return Planned(
        _with_pinned(placed, pinned, reach), bounds, _spill_regions(placed.memory, bounds, reach)
    )


def _room_bytes(scratchpad: Scratchpad, share: Share) -> int:
    """Whole blocks of a scratchpad that are not for KV in any case."""
    block = scratchpad.block_bytes
    return (scratchpad.capacity_bytes // block - (share.kv_room_bytes or 0) // block) * block


def _with_pinned(
    placed: MemoryPlan, pinned: Mapping[int, list[tuple[str, int]]], reach: Mapping[int, int]
) -> MemoryPlan:
    """The plan with places in memory for what must lie there."""
    cores = dict(placed.cores)
    for core, tensors in pinned.items():
        found = {
            name: Region(reach[core], placed.memory.alloc(reach[core], size), size)
            for name, size in tensors
        }
        cores[core] = replace(cores[core], weights={**cores[core].weights, **found})
    return MemoryPlan(cores, placed.memory)


def _spill_regions(
    memory: MemoryMap, bounds: Mapping[int, Limits], reach: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """Room in memory for the activations that exceed the scratchpad.

    Raises CapacityError for a core without memory.
    """
    regions = {}
    for core, limit in bounds.items():
        if not limit.spill_bytes:
            continue
        if core not in reach:
            raise CapacityError(
                f"core {core}: activations of {format_bytes(limit.spill_bytes // 2)} do not fit "
                f"its scratchpad and it has no memory; use fewer tokens an iteration, raise tp or "
                "scratchpad.capacity_mib"
            )
        regions[core] = (reach[core], memory.alloc(reach[core], limit.spill_bytes))
    return regions
