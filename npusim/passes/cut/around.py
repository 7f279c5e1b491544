"""What the cut of an op looks at beside the op itself, and what all cuts use."""

from dataclasses import dataclass

from npusim.errors import SpecError
from npusim.graph.ir import Op
from npusim.passes.cut.heads import Heads
from npusim.passes.partition import Part, Scheme, shards

WHOLE = (1, 1)  # the share of a rank that does all of an op's vector work


@dataclass(frozen=True)
class Around:
    """What a cut looks at beside its op: the scheme, the layer's heads and qk op (None outside
    attention), the Parts of the op's producers, whether the residual stream is cut by tokens over
    all ranks, and whether a consumer needs all tokens of the result."""

    scheme: Scheme
    heads: Heads | None
    qk: Op | None
    inputs: tuple[Part, ...]
    sequence: bool = False
    gathered: bool = False

    @property
    def layout(self) -> str:
        found = {part.layout for part in self.inputs} or {"rows"}
        return next(name for name in ("split", "rows", "whole") if name in found)

    def token_shards(self, tokens: int) -> tuple[int, ...]:
        """Rows of the residual stream that each rank has."""
        if self.sequence:
            return shards(tokens, self.scheme.tp)
        return tuple(
            r for r in shards(tokens, self.scheme.rows) for _ in range(self.scheme.columns)
        )


def need(op: Op, size: int, parts: int, what: str) -> None:
    if parts > size:
        raise SpecError(
            f"{parts} ranks cannot share the {size} {what} of {op.name}; lower tp below that",
            "parallel.tp",
        )


def head_share(heads: Heads) -> tuple[tuple[int, int], ...]:
    return tuple(
        (query, heads.num_heads * parts)
        for query, (_, parts) in zip(heads.query, heads.context, strict=True)
    )
