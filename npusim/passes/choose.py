"""A graph, a chip and the partition asked for → its Scheme; `auto` is the least estimated time.

The estimate of a layer is max(array cycles, memory, rotating weights) + vector work + collectives:
a roofline with α-β communication (the closed forms of npusim.cost.collective). Assumes that the
middle layer stands for all of them, and that every rank takes as long as the slowest.
"""

from dataclasses import dataclass, fields

import networkx as nx

from npusim.cost.collective import collective_cost, collective_ps
from npusim.errors import SpecError
from npusim.passes.cut import cut_graph
from npusim.passes.fabric import Fabric, fabric_of, rectangle
from npusim.passes.partition import PARTITIONS, Comm, Part, Scheme, scheme_of
from npusim.passes.tile import CoreCost, array_costs, bits_to_bytes, core_cost, vector_cost
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Dtypes, Parallel
from npusim.units import cycles_to_ps, format_ps, transfer_ps

CLOSE = 1.02  # estimates this near to each other say nothing about which is faster


@dataclass(frozen=True)
class Chip:
    """The numbers of one group's cores that the estimate looks at; bandwidth 0: no memory."""

    cost: CoreCost
    khz: int
    scratchpad_bytes: int
    memory_bytes: int
    memory_gb_s: float
    fabric: Fabric
    noc_khz: int
    link_gb_s: float
    cores: tuple[int, ...]

    @property
    def alpha_ps(self) -> int:
        cycles = self.fabric.message_cycles + self.fabric.hop_cycles
        return cycles_to_ps(cycles, self.noc_khz) + cycles_to_ps(self.cost.start_cycles, self.khz)


@dataclass(frozen=True)
class Estimate:
    """Time of a layer in ps, by what takes it, and the bytes of all layers' weights on a rank."""

    arrays_ps: int = 0
    memory_ps: int = 0
    rotation_ps: int = 0
    vector_ps: int = 0
    collectives_ps: int = 0

    @property
    def total_ps(self) -> int:
        overlapped = max(self.arrays_ps, self.memory_ps, self.rotation_ps)
        return overlapped + self.vector_ps + self.collectives_ps

    def plus(self, other: "Estimate") -> "Estimate":
        names = [f.name for f in fields(self)]
        return Estimate(*(getattr(self, n) + getattr(other, n) for n in names))


def choose_scheme(
    graph: nx.DiGraph,
    hardware: Hardware,
    parallel: Parallel,
    dtypes: Dtypes,
    cores: list[int],
) -> tuple[Scheme, str]:
    """The Scheme for `cores` (one group), and a sentence about it when it was chosen here.

    Raises SpecError for an unknown partition, or when `auto` finds none that can be used.
    """
    if parallel.partition != "auto":
        return scheme_of(parallel), ""
    if parallel.tp == 1:
        return scheme_of(parallel, "megatron"), ""
    chip = chip_of(hardware, dtypes, cores)
    found, refused = {}, []
    for name in PARTITIONS:
        try:
            scheme = scheme_of(parallel, name)
            found[name] = (scheme, estimate(graph, scheme, chip, parallel.pp))
        except SpecError as error:
            refused.append(error)
    if not found:
        raise refused[-1]
    best = _best({name: estimated for name, (_, estimated) in found.items()})
    return found[best][0], _sentence(best, {n: e for n, (_, e) in found.items()})


def _best(found: dict[str, Estimate]) -> str:
    """The least memory traffic among those within CLOSE of the least time."""
    least = min(e.total_ps for e in found.values())
    near = [name for name, e in found.items() if e.total_ps <= CLOSE * least]
    return min(near, key=lambda name: (found[name].memory_ps, found[name].total_ps))


def _sentence(best: str, found: dict[str, Estimate]) -> str:
    chosen = found[best]
    others = ", ".join(f"{n} {format_ps(e.total_ps)}" for n, e in found.items() if n != best)
    parts = ", ".join(
        f"{f.name.removesuffix('_ps')} {format_ps(getattr(chosen, f.name))}" for f in fields(chosen)
    )
    return (
        f"partition auto: {best}, estimated {format_ps(chosen.total_ps)} a layer ({parts}); "
        f"{others}"
    )


def chip_of(hardware: Hardware, dtypes: Dtypes, cores: list[int]) -> Chip:
    """Assumes that all cores of the group are like its first one."""
    spec = hardware.core(cores[0])
    memories = [i for i in hardware.memory_instances() if cores[0] in i.cores]
    return Chip(
        cost=core_cost(spec, dtypes),
        khz=spec.khz,
        scratchpad_bytes=spec.scratchpad.capacity_bytes,
        memory_bytes=sum(i.memory.capacity_bytes // len(i.cores) for i in memories),
        memory_gb_s=sum(i.memory.gb_s / len(i.cores) for i in memories[:1]),
        fabric=fabric_of(hardware),
        noc_khz=hardware.noc.khz,
        link_gb_s=hardware.noc.link_gb_s,
        cores=tuple(cores),
    )


def estimate(graph: nx.DiGraph, scheme: Scheme, chip: Chip, pp: int) -> Estimate:
    """Estimated times of the middle layer (of the whole graph when it has none).

    Raises SpecError when the scheme cannot cut the layer, or its weights exceed the memory.
    """
    layers = graph.graph["layers"]
    names = layers[len(layers) // 2] if layers else tuple(graph.nodes)
    parts = cut_graph(graph.subgraph(names), scheme)
    bits = chip.cost.weight_bits
    held = max(
        sum(bits_to_bytes(p.weights[rank], bits) for p in parts.values() if p.weights)
        for rank in range(scheme.tp)
    )
    num_layers = -(-max(1, len(layers)) // pp)
    if held * num_layers > chip.scratchpad_bytes + chip.memory_bytes:
        raise SpecError(
            f"partition {scheme.name} needs {held * num_layers} bytes of weights a core"
        )
    streams = held * num_layers > chip.scratchpad_bytes
    total = Estimate()
    for part in parts.values():
        total = total.plus(_op_estimate(part, chip, streams))
    return total


def _op_estimate(part: Part, chip: Chip, streams: bool) -> Estimate:
    cost = chip.cost
    vector = 0
    if part.share and (part.op.vector_ops or part.op.sfu_ops):
        vector = max(vector_cost(part.op, a, b, cost)[0] for a, b in set(part.share))
    weights = max(part.weights, default=0)
    moved = bits_to_bytes(weights, cost.weight_bits) if streams else 0
    spilled = bits_to_bytes(max(part.outputs, default=0), cost.activation_bits)
    if spilled > chip.scratchpad_bytes // 6:
        moved += 2 * spilled
    return Estimate(
        arrays_ps=cycles_to_ps(_array_cycles(part, cost), chip.khz),
        memory_ps=transfer_ps(moved, chip.memory_gb_s) if chip.memory_gb_s else 0,
        rotation_ps=_rotation_ps(part, weights, chip),
        vector_ps=cycles_to_ps(vector, chip.khz),
        collectives_ps=sum(_comm_ps(comm, chip) for comm in part.before + part.after),
    )


def _array_cycles(part: Part, cost: CoreCost) -> int:
    """Cycles of the slowest rank's GEMMs; attention, alike in all schemes, counts nothing."""
    if part.experts:
        return max(
            sum(max(c for c, _, _ in array_costs(t, k, n, cost)) for t in tokens if t)
            for (_, k, n), tokens in set(zip(part.shapes, part.experts, strict=True))
        )
    if part.op.kind != "matmul":
        return 0
    cycles = 0
    for m, k, n in set(part.shapes):
        widths = part.blocks or (n,)
        one = sum(max(c for c, _, _ in array_costs(m, k, w, cost)) for w in widths if m and k and w)
        cycles = max(cycles, one)
    return cycles


def _rotation_ps(part: Part, weights: int, chip: Chip) -> int:
    steps = len(part.blocks) - 1
    if steps < 1:
        return 0
    block = bits_to_bytes(weights, chip.cost.weight_bits)
    return steps * (chip.alpha_ps + transfer_ps(block, chip.link_gb_s))


def _comm_ps(comm: Comm, chip: Chip) -> int:
    """The cheapest algorithm of the first group; the groups work side by side."""
    kind = "all_gather" if comm.kind == "gather" else comm.kind
    group = [chip.cores[rank] for rank in comm.groups[0]]
    size = bits_to_bytes(max(comm.elements), chip.cost.activation_bits)
    rows = rectangle(group, chip.fabric.columns)
    costs = [collective_cost(kind, name, size, len(group)) for name in ("ring", "tree")]
    if rows:
        costs.append(collective_cost(kind, "mesh2d", size, len(group), (len(rows), len(rows[0]))))
    return min(collective_ps(c, chip.alpha_ps, chip.link_gb_s) for c in costs if c)
