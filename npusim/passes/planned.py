"""Mapped and planned work → the state of every core before emission, and rows of the result."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import networkx as nx

from npusim.graph.ir import Op
from npusim.passes.demand import Limits, StageWork
from npusim.passes.emit.core_state import CoreState, Window
from npusim.passes.partition import Scheme
from npusim.passes.plan import CorePlan, MemoryPlan
from npusim.passes.tile import CoreCost
from npusim.spec.hardware import Hardware


@dataclass(frozen=True)
class Mapped:
    """The work of every group, works[replica][stage][micro-batch]; of all its micro-batches
    together, whole[replica][stage]; the cores of groups[replica][stage]."""

    works: list[list[list[StageWork]]]
    whole: list[list[StageWork]]
    graphs: list[list[nx.DiGraph]]
    groups: list[list[list[int]]]
    scheme: Scheme
    costs: Mapping[int, CoreCost]


@dataclass(frozen=True)
class Planned:
    """Where everything lies: the memory plan and the buffer limits of every core."""

    plan: MemoryPlan
    limits: Mapping[int, Limits]
    spills: Mapping[int, tuple[int, int]]

    def spill_region(self, core: int) -> tuple[int, int]:
        """(memory id, address) for activations that do not fit; (-1, 0) when all do."""
        return self.spills.get(core, (-1, 0))


def phase_of(ops: tuple[Op, ...]) -> str:
    """`prefill` when some request has several new tokens, else `decode`; "" without attention."""
    slices = next((op.slices for op in ops if op.kind == "qk"), ())
    if not slices:
        return ""
    return "prefill" if any(new > 1 for new, _, _ in slices) else "decode"


def core_states(mapped: Mapped, planned: Planned, hardware: Hardware) -> dict[int, CoreState]:
    """Emission state of every core that is used."""
    states = {}
    specs = hardware.cores()
    for replica, stages in zip(mapped.whole, mapped.groups, strict=True):
        for work, cores in zip(replica, stages, strict=True):
            for rank, core in enumerate(cores):
                engines = specs[core].dma.engines
                states[core] = _core_state(mapped, planned, work, rank, core, engines)
    return states


def _core_state(
    mapped: Mapped,
    planned: Planned,
    work: StageWork,
    rank: int,
    core: int,
    num_engines: int,
) -> CoreState:
    own, limit, cost = planned.plan.cores[core], planned.limits[core], mapped.costs[core]
    own = _with_tied(own, work)
    memory_id, spill_address = planned.spill_region(core)
    address, sizes = {}, {}
    resident = dict(zip(work.layers, own.sram_kv, strict=True))
    offset = own.kv.address if own.kv else 0
    for layer in work.layers:
        sizes[layer] = work.kv_bytes(layer, rank, cost)
        address[layer] = offset - resident[layer]
        offset += sizes[layer] - resident[layer]
    return CoreState(
        core=core, cost=cost, plan=own, buffers=limit.buffers,
        weights=Window(limit.weight_window_bytes), kv=Window(limit.kv_window_bytes),
        memory_id=memory_id, spill_address=spill_address,
        spill_limit_bytes=limit.spill_limit_bytes, num_engines=num_engines,
        kv_address=address, kv_resident_bytes=resident, kv_bytes=sizes,
        kv_memory_id=own.kv.memory_id if own.kv else -1,
    )  # fmt: skip


def _with_tied(own: CorePlan, work: StageWork) -> CorePlan:
    """A tied LM head reads the embedding's table."""
    names = [op.name for op in work.ops if op.tied_to in own.weights]
    tied = {name: own.weights["embedding"] for name in names}  # noqa: C420
    return replace(own, weights={**own.weights, **tied})


def placed_rows(mapped: Mapped, planned: Planned) -> list[dict]:
    """One row a core: its place in the mapping and what it holds where."""
    rows = []
    for replica, stages in enumerate(mapped.groups):
        for stage, cores in enumerate(stages):
            for rank, core in enumerate(cores):
                own = planned.plan.cores[core]
                rows.append(
                    {
                        "core": core,
                        "replica": replica,
                        "stage": stage,
                        "rank": rank,
                        "resident_weights": len(own.resident),
                        "memory_weight_bytes": sum(r.num_bytes for r in own.weights.values()),
                        "sram_kv_bytes": own.sram_kv_bytes,
                        "memory_kv_bytes": own.kv.num_bytes if own.kv else 0,
                        "peak_sram_bytes": own.peak_sram_bytes,
                    }
                )
    return rows
