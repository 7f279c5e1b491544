"""Settled instances and how their iterations are timed → sentences for the user."""

from collections.abc import Sequence

from npusim.serving.iteration.times import Facts
from npusim.serving.neighbours import neighbours_of
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
    """Which instances use the same memory of a chip, and what is made of that."""
    if kind == "live":
        return []
    groups = dict.fromkeys(
        tuple(sorted((index, *around.others)))
        for index, around in enumerate(neighbours_of(settled))
        if around.others
    )
    return [
        f"{', '.join(settled[i].row.name for i in group)} share a memory: {kind} gives each an "
        "even part of its bandwidth while the others are busy; iteration live lets them contend"
        for group in groups
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
        text += f"; tp {parallel.tp}, pp {parallel.pp}"
        if one.setup.hardware.kernels is None:
            text += f", {parallel.partition} on {one.footprint.placement}"
    return text
