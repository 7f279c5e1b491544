"""Settled instances and how their iterations are timed → sentences for the user."""

from collections.abc import Sequence

from npusim.serving.iteration.times import Facts
from npusim.serving.settle import Settled


def notes(settled: Sequence[Settled], kind: str, facts: Facts) -> list[str]:
    """What was settled, one sentence for all instances that are alike; what times of `kind` leave
    out; and the facts."""
    names: dict[str, list[str]] = {}
    for one in settled:
        names.setdefault(_settled_text(one), []).append(one.row.name)
    texts = [f"{', '.join(own)}: {text}" for text, own in names.items()]
    return [*texts, *_contention(settled, kind), *_sentence(kind, facts)]


def _contention(settled: Sequence[Settled], kind: str) -> list[str]:
    """A warning for every group of instances whose cores use the same memory of a chip, where
    iterations are timed alone: together they may take more than its bandwidth."""
    if kind == "live":
        return []
    users: dict[tuple[int, int], list[str]] = {}
    for one in settled:
        if one.footprint is None or one.setup.hardware.kernels is not None:
            continue
        for memory in one.setup.hardware.memory_instances():
            if not set(memory.cores).isdisjoint(one.row.cores):
                users.setdefault((one.row.chip, memory.memory_id), []).append(one.row.name)
    return [
        f"{', '.join(names)} share a memory, and {kind} times each as if all of its bandwidth were "
        f"its own: up to {len(names)} times too fast where all are busy; iteration live lets them "
        "contend"
        for names in dict.fromkeys(tuple(names) for names in users.values())
        if len(names) > 1
    ]


def _sentence(kind: str, facts: Facts) -> list[str]:
    """The facts in words: counts as they are, fractions in per cent."""
    words = [
        f"{name.removesuffix('_fraction').replace('_', ' ')} "
        + (f"{value:.0%}" if isinstance(value, float) else f"{value}")
        for name, value in facts.items()
    ]
    return [f"iteration {kind}: {', '.join(words)}"] if words else []


def _settled_text(one: Settled) -> str:
    text = f"KV {one.size.num_blocks} blocks of {one.size.block_tokens} tokens"
    if one.size.sram_blocks:
        text += f", {one.size.sram_blocks} of them in scratchpads"
    if one.size.memory_tokens:
        text += f", and a ring of {one.size.memory_tokens} tokens in memory"
    if one.footprint is not None:
        parallel = one.footprint.parallel
        text += f"; tp {parallel.tp}, pp {parallel.pp}, {parallel.partition} on "
        text += one.footprint.placement
    return text
