"""A graph, a chip, a partition and a placement → Scheme and groups of cores; `auto` is the least
estimated time of the two together."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod

import networkx as nx

from npusim.errors import CapacityError, NpusimError, SpecError
from npusim.passes.cut.graph import cut_graph
from npusim.passes.estimate import Chip, Estimate, chip_of, estimate
from npusim.passes.partition import PARTITIONS, Part, Scheme, scheme_of
from npusim.passes.place import place_with_note
from npusim.passes.share import WHOLE, Share
from npusim.passes.tile import bits_to_bytes
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Dtypes, Parallel
from npusim.units import format_bytes, format_ps

CLOSE = 1.02  # estimates this near to each other say nothing about which is faster
PLACEMENTS_TRIED = ("auto", "mesh2d")  # for placement auto: the best ring, the best grid

Groups = list[list[list[int]]]


@dataclass(frozen=True)
class Choice:
    """A scheme and a placement with what they are estimated to take (None: not estimated), and what
    other iterations that they are chosen for take."""

    scheme: Scheme
    placement: str
    groups: Groups
    note: str
    estimate: Estimate | None = None
    beside: tuple[Estimate, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.scheme.name} on {self.placement}"


def choose(
    graph: nx.DiGraph,
    hardware: Hardware,
    parallel: Parallel,
    placement: str,
    dtypes: Dtypes,
    share: Share = WHOLE,
    beside: Sequence[nx.DiGraph] = (),
) -> tuple[Choice, list[str]]:
    """The mapping to use, on cores of the share, and sentences on what was chosen. `beside`: other
    iterations that use it as well, each as important as `graph`.

    Raises SpecError for an unknown partition or placement, or when `auto` finds none that can be
    used; CapacityError when those that can be used do not fit.
    """
    placements = _placements(hardware, parallel, placement, share.cores)
    schemes = _schemes(parallel)
    if len(schemes) * len(placements) == 1:
        name, (groups, note) = next(iter(placements.items()))
        return Choice(schemes[0], name, groups, note), [note]
    graphs = [graph, *beside]
    found, refused = _estimated(graphs, hardware, parallel, dtypes, schemes, placements)
    if not found:
        raise next((e for e in reversed(refused) if isinstance(e, CapacityError)), refused[-1])
    best = _best(found)
    return best, [*([_sentence(best, found)] if len(found) > 1 else []), best.note]


def _placements(
    hardware: Hardware, parallel: Parallel, placement: str, cores: tuple[int, ...] | None
) -> dict[str, tuple[Groups, str]]:
    grids = parallel.partition in ("auto", "mnk") and parallel.tp > 3
    tried = PLACEMENTS_TRIED if placement == "auto" and grids else (placement,)
    tp, pp, dp = parallel.tp, parallel.pp, parallel.dp
    return {name: place_with_note(name, hardware, tp, pp, dp, cores=cores) for name in tried}


def _schemes(parallel: Parallel) -> list[Scheme]:
    if parallel.partition != "auto":
        return [scheme_of(parallel)]
    if parallel.tp == 1:
        return [scheme_of(parallel, "megatron")]
    return [scheme_of(parallel, name) for name in PARTITIONS]


def _estimated(
    graphs: Sequence[nx.DiGraph],
    hardware: Hardware,
    parallel: Parallel,
    dtypes: Dtypes,
    schemes: list[Scheme],
    placements: dict[str, tuple[Groups, str]],
) -> tuple[list[Choice], list[NpusimError]]:
    """Every scheme that can be used on every placement."""
    groups = next(iter(placements.values()))[0]
    chip = chip_of(hardware, dtypes, [c for replica in groups for stage in replica for c in stage])
    found: list[Choice] = []
    refused: list[NpusimError] = []
    for scheme in schemes:
        try:
            layers = [_middle_layer(graph, scheme) for graph in graphs]
            streams = [
                _streams(graph, parts, scheme, chip, parallel.pp)
                for graph, parts in zip(graphs, layers, strict=True)
            ]
        except (SpecError, CapacityError) as error:
            refused.append(error)
            continue
        for name, (groups, note) in placements.items():
            times = [
                estimate(parts, scheme, chip, groups[0][0], streaming)
                for parts, streaming in zip(layers, streams, strict=True)
            ]
            found.append(Choice(scheme, name, groups, note, times[0], tuple(times[1:])))
    return found, refused


def _middle_layer(graph: nx.DiGraph, scheme: Scheme) -> list[Part]:
    """Parts of the middle layer, or of all ops when there are no layers. Assumes that the middle
    layer stands for all."""
    layers = graph.graph["layers"]
    names = layers[len(layers) // 2] if layers else tuple(graph.nodes)
    return list(cut_graph(graph.subgraph(names), scheme).values())


def _streams(graph: nx.DiGraph, parts: list[Part], scheme: Scheme, chip: Chip, pp: int) -> bool:
    """Whether weights come from memory: they exceed the scratchpad, or are those of the
    micro-workload `gemm`. Raises CapacityError when they exceed the memory too."""
    held = max(
        sum(bits_to_bytes(p.weights[rank], chip.cost.weight_bits) for p in parts if p.weights)
        for rank in range(scheme.tp)
    )
    held *= -(-max(1, len(graph.graph["layers"])) // pp)
    if held > chip.scratchpad_bytes + chip.memory_bytes:
        raise CapacityError(
            f"partition {scheme.name}: weights need {format_bytes(held)} a core, which has "
            f"{format_bytes(chip.scratchpad_bytes + chip.memory_bytes)}; raise tp or pp, or use "
            "fewer bits"
        )
    pinned = chip.memory_bytes and any(part.op.role == "gemm" for part in parts)
    return bool(pinned) or held > chip.scratchpad_bytes


def _times(choice: Choice) -> Estimate:
    assert choice.estimate is not None
    return choice.estimate


def _best(found: list[Choice]) -> Choice:
    """Among those within CLOSE of the least time, the one with the least work in all. Of several
    iterations the product counts, so that a short one weighs as much as a long one."""

    def product(choice: Choice, what: str) -> int:
        return prod(getattr(times, what) for times in (_times(choice), *choice.beside))

    least = min(product(choice, "total_ps") for choice in found)
    near = [choice for choice in found if product(choice, "total_ps") <= CLOSE * least]
    return min(near, key=lambda choice: product(choice, "work_ps"))


def _sentence(best: Choice, found: list[Choice]) -> str:
    times = _times(best)
    by_scheme: dict[str, int] = {}
    for choice in found:
        name = choice.scheme.name
        by_scheme[name] = min(by_scheme.get(name, _times(choice).total_ps), _times(choice).total_ps)
    others = ", ".join(
        f"{name} {format_ps(ps)}" for name, ps in by_scheme.items() if name != best.scheme.name
    )
    parts = ", ".join(
        f"{f.name.removesuffix('_ps')} {format_ps(getattr(times, f.name))}"
        for f in fields(times)
        if getattr(times, f.name)
    )
    why = f", chosen with {len(best.beside)} other kinds of iterations" if best.beside else ""
    return (
        f"partition: {best.name}, estimated {format_ps(times.total_ps)} a layer ({parts}){why}"
        + (f"; others at best: {others}" if others else "")
    )
