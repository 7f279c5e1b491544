"""What the cut of an op looks at beside the op itself, and what all cuts use."""

from dataclasses import dataclass

from npusim.errors import SpecError
from npusim.graph.ir import Op
from npusim.passes.heads import Heads
from npusim.passes.partition import Part, Scheme

WHOLE = (1, 1)  # the share of a rank that does all of an op's vector work


@dataclass(frozen=True)
class Around:
    """What a cut looks at beside its op: the scheme, the layer's heads and qk op (None outside
    attention), and the Parts of the op's producers."""

    scheme: Scheme
    heads: Heads | None
    qk: Op | None
    inputs: tuple[Part, ...]

    @property
    def layout(self) -> str:
        return "split" if any(part.layout == "split" for part in self.inputs) else "rows"


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
