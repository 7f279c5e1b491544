"""What the passes decided that changes how results are to be read → plain sentences."""

from collections.abc import Iterable

from npusim.passes.demand import StageWork
from npusim.passes.planned import Mapped, Planned, phase_of
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
        _residency(planned, phase_of(work.ops)),
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


def _residency(planned: Planned, phase: str) -> str:
    cores = planned.plan.cores.values()
    memory = sum(region.num_bytes for core in cores for region in core.weights.values())
    resident = sum(len(core.resident) for core in cores)
    everything = resident + sum(len(core.weights) for core in cores)
    if not everything:
        return ""
    where = f" in {phase}" if phase else ""
    if not memory:
        return f"weights{where}: all stay in the scratchpads"
    return (
        f"weights{where}: {format_bytes(memory)} come from memory every iteration, {resident} of "
        f"{everything} tensors stay in the scratchpads"
    )


def _parts(work: StageWork) -> Iterable:
    return work.parts_of_stage()
