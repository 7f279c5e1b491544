"""What the passes decided that changes how results are to be read → plain sentences."""

from collections.abc import Iterable

from npusim.passes.demand import StageWork
from npusim.passes.partition import Part
from npusim.passes.planned import Mapped, Planned, phase_of
from npusim.passes.tile import bits_to_bytes
from npusim.units import format_bytes


def notes_of(mapped: Mapped, planned: Planned) -> list[str]:
    """One sentence a fact; nothing about what is as one would expect."""
    work = mapped.works[0][0][0]
    found = [
        _kv_replicas(work),
        _latent_cache(work),
        _context_split(work),
        _sequence_parallel(work),
        _repeated_work(mapped),
        _experts(work),
        _spills(planned),
        _residency(mapped, planned, phase_of(work.ops)),
    ]
    return [note for note in found if note]


def _kv_replicas(work: StageWork) -> str:
    heads = next((p.heads for p in _parts(work) if p.op.kind == "qk"), None)
    if heads is None or heads.replicas <= 1 or any(s and s.latent for s in work.caches.values()):
        return ""
    return (
        f"KV heads: {heads.num_kv_heads} over {work.scheme.tp} ranks, "
        f"each stored {heads.replicas:.3g} times on average"
    )


def _latent_cache(work: StageWork) -> str:
    latent = any(shape and shape.latent for shape in work.caches.values())
    if not latent or work.scheme.tp == 1:
        return ""
    return "MLA: the latent KV cache serves all heads, every rank of a group stores all of it"


def _context_split(work: StageWork) -> str:
    heads = next((p.heads for p in _parts(work) if p.op.kind == "qk"), None)
    if heads is None or not heads.groups:
        return ""
    parts = max(parts for _, parts in heads.context)
    return (
        f"attention: tp {work.scheme.tp} exceeds {heads.num_heads} heads, so up to {parts} ranks "
        "share a head, each with a part of its context; partial results are merged by messages"
    )


def _sequence_parallel(work: StageWork) -> str:
    if not any(part.op.kind == "norm" and part.kept for part in _parts(work)):
        return ""
    return "megatron: sequence-parallel, each rank adds and norms its own tokens"


def _repeated_work(mapped: Mapped) -> str:
    """How much more weight the ranks hold together than the model has, where some is repeated."""
    held, own = 0, 0
    for work in mapped.works[0]:
        for part in _parts(work[0]):
            if part.op.kind in ("matmul", "experts"):
                held += sum(part.weights)
                own += part.op.weight_elements
    if not own or held <= own:
        return ""
    return f"weights: the ranks of a group hold {held / own:.3g} times the model's, some repeated"


def _experts(work: StageWork) -> str:
    if not any(part.experts for part in _parts(work)):
        return ""
    size = work.scheme.tp // work.scheme.ep
    where = f"{work.scheme.ep} groups of {size} ranks" if work.scheme.ep > 1 else "all ranks"
    return f"experts: over {where}, each expert cut column and row; routing is balanced"


def _spills(planned: Planned) -> str:
    sizes = [limit.spill_bytes // 2 for limit in planned.limits.values() if limit.spill_bytes]
    if not sizes:
        return ""
    return (
        f"activations: tensors of up to {format_bytes(max(sizes))} a core do not fit the "
        f"scratchpad and go through memory, on {len(sizes)} cores; more parallel.micro_batches "
        "make them smaller"
    )


def _residency(mapped: Mapped, planned: Planned, phase: str) -> str:
    cores = planned.plan.cores.values()
    resident = sum(len(core.resident) for core in cores)
    everything = resident + sum(len(core.weights) for core in cores)
    if not everything:
        return ""
    where = f" in {phase}" if phase else ""
    if resident == everything:
        return f"weights{where}: all stay in the scratchpads"
    return (
        f"weights{where}: {format_bytes(_loaded_bytes(mapped, planned))} come from memory every "
        f"iteration, {resident} of {everything} tensors stay in the scratchpads"
    )


def _loaded_bytes(mapped: Mapped, planned: Planned) -> int:
    """Weights loaded in an iteration, again for every micro-batch. Assumes that none are loaded
    twice for activations that stream."""
    total = 0
    for works, stages in zip(mapped.works, mapped.groups, strict=True):
        for micro_batches, cores in zip(works, stages, strict=True):
            for rank, core in enumerate(cores):
                in_memory, cost = planned.plan.cores[core].weights, mapped.costs[core]
                total += sum(
                    bits_to_bytes(_read_elements(part, rank), cost.weight_bits)
                    for work in micro_batches
                    for part in _parts(work)
                    if part.op.name in in_memory or part.op.tied_to in in_memory
                )
    return total


def _read_elements(part: Part, rank: int) -> int:
    """Of a table the rows of the rank's tokens, of experts those that have tokens, else all."""
    _, depth, width = part.shapes[rank]
    if part.op.kind == "embedding":
        return min(part.shapes[rank][0] * width, part.weights[rank])
    if part.experts:
        return depth * width * sum(1 for tokens in part.experts[rank] if tokens)
    return part.weights[rank]


def _parts(work: StageWork) -> Iterable[Part]:
    return work.parts_of_stage()
