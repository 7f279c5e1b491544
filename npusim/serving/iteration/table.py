"""A batch → its time from a user's measured kernels (`iteration: table`).

Axes, as the data show: tokens of the batch; sequences; of attention the prefill chunk, KV before
it, decodes, and KV of *each* decode. That the last is not their sum: 256 decodes of 16,384 take
18.0 ms on an RTX 4090; at 4 KiB a token and layer that is 954 GB/s of its 1,008, 256 times as
much as a sum of 16,384 would be. One `layernorm` is measured, a layer has two: its time is that of
the lone `final_layernorm`.

Assumes that kernels follow one another with nothing between or beside them: gaps on the host are
`serving.host_us`. A server that fuses or captures them is faster by what that saves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from npusim.errors import SpecError
from npusim.serving.iteration.curves import Curve, Surface, Volume
from npusim.serving.iteration.kernel_files import (
    IN_A_LAYER,
    ONCE,
    KernelFiles,
    Points,
    read_kernels,
)
from npusim.serving.request import Work
from npusim.spec.model import Model
from npusim.units import PS_PER_US


@dataclass(slots=True)
class BatchShape:
    """What a table asks of a batch: `tokens` that are new, `sequences`, its `decodes` and the sum
    of their contexts, and (new tokens, context tokens) of every prefill."""

    tokens: int
    sequences: int
    decodes: int
    decode_context_tokens: int
    prefills: list[tuple[int, int]]


class KernelTable:
    """Times of iterations of one model. `load` reads it; it keeps no state but times it looked up.

    Assumes that logits are computed for every request of a batch, also where a prompt is not at its
    end (vLLM discards those); that decodes of one batch cost what as many of their mean context do;
    that several prefills cost the sum of each alone, and that decodes add to them what they add to
    one prefill of all their tokens behind their mean context: one kernel runs both, at less
    parallelism for decodes than a batch of decodes has.
    """

    def __init__(self, files: KernelFiles, num_layers: int):
        self.num_layers = num_layers
        self._dense = _dense_curve(files, num_layers)
        self._sequence = _sum_curve([(1, points) for points in files.sequence.values()])
        attention = files.attention
        self._decode = Surface({at[2:]: attention[at] for at in attention if not at[0]})
        self._mixed = Volume({at: attention[at] for at in attention if at[0]})
        self._by_tokens: dict[int, float] = {}
        self._by_sequences: dict[int, float] = {}

    @classmethod
    def load(cls, path: str | Path, model: Model | None, tp: int = 1) -> "KernelTable":
        """The table in a folder, for all layers of `model` at tensor parallelism `tp`.

        Raises SpecError at `file:line`, see read_kernels(); and without a model, or with one whose
        kernels the format has not.
        """
        if model is None:
            raise SpecError("is missing; a table has times of one layer", "model")
        if model.moe or model.mla:
            raise SpecError(f"serving.table has no experts or MLA, {model.name} has", str(path))
        return cls(read_kernels(path, model, tp), model.num_layers)

    def iteration_ps(self, batch: Sequence[Work]) -> int:
        """Time of an iteration of all layers; 0 for an empty batch."""
        return round(self.iteration_us(batch_shape(batch)) * PS_PER_US) if batch else 0

    def stage_ps(self, batch: Sequence[Work]) -> tuple[int, ...]:
        """The same as the one pipeline stage that a table is of."""
        return (self.iteration_ps(batch),)

    def iteration_us(self, shape: BatchShape) -> float:
        """The same of a batch's shape, in µs."""
        dense = self._by_tokens.get(shape.tokens)
        if dense is None:
            dense = self._by_tokens[shape.tokens] = self._dense.at(shape.tokens)
        sequence = self._by_sequences.get(shape.sequences)
        if sequence is None:
            sequence = self._by_sequences[shape.sequences] = self._sequence.at(shape.sequences)
        return dense + sequence + self.num_layers * self.attention_us(shape)

    def attention_us(self, shape: BatchShape) -> float:
        """Time of one layer's attention kernel, in µs."""
        decodes = shape.decodes
        context = shape.decode_context_tokens / decodes if decodes else 0.0
        if not shape.prefills:
            return self._decode.at(decodes, context)
        mixed, prefills = self._mixed, shape.prefills
        if decodes and len(prefills) == 1:
            return mixed.at(*prefills[0], decodes, context)
        alone = sum([mixed.at(new, before, 0, 0) for new, before in prefills])
        if not decodes:
            return alone
        chunk = sum([new for new, _ in prefills])
        mean = sum([new * before for new, before in prefills]) / chunk
        return alone + mixed.at(chunk, mean, decodes, context) - mixed.at(chunk, mean, 0, 0)


def batch_shape(batch: Sequence[Work]) -> BatchShape:
    """Sums over a batch."""
    tokens = decodes = decode_context = 0
    prefills = []
    for work in batch:
        tokens += work.new_tokens
        if work.decodes:
            decodes += 1
            decode_context += work.context_tokens
        else:
            prefills.append((work.new_tokens, work.context_tokens))
    return BatchShape(tokens, len(batch), decodes, decode_context, prefills)


def _dense_curve(files: KernelFiles, num_layers: int) -> Curve:
    """All kernels of the tokens in one: `num_layers` of a layer's, one of the model's."""
    counts = {name: num_layers * count for name, count in IN_A_LAYER.items()}
    counts |= dict.fromkeys(ONCE, 1)
    return _sum_curve([(counts[name], points) for name, points in files.dense.items()])


def _sum_curve(kernels: list[tuple[int, Points]]) -> Curve:
    """Sum of count x time at all places where any of the kernels was measured."""
    curves = [(count, Curve(points)) for count, points in kernels]
    places = {place for _, curve in curves for place in curve.axis}
    return Curve({place: sum(n * curve.at(place) for n, curve in curves) for place in places})
