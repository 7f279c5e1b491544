"""`chips` of hardware YAML → `Chips`: equal chips, the links between them, their library's times.

`npusim.cost.interconnect` turns it into the time of a collective.
"""

from math import prod
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, StrictFloat, StrictInt, model_validator

from npusim.spec.base import BandwidthGbS, Name, NotNegative, Spec, at

LinkOp = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "point_to_point"
]
ALL_OPS: tuple[LinkOp, ...] = get_args(LinkOp)
Size = Annotated[StrictInt, Field(ge=1, le=4096)]
# algorithm → ops that it has
ALGORITHM_OPS: dict[str, tuple[LinkOp, ...]] = {
    "ring": ALL_OPS,
    "direct": ("all_gather", "reduce_scatter", "all_reduce"),
    "one_shot": ("all_reduce",),
}


class LinkEstimate(Spec):
    """What a library believes of a protocol when it chooses one: alpha + steps * step + bytes on
    the link / rate."""

    alpha_us: NotNegative
    step_us: NotNegative
    gb_s: BandwidthGbS


class LinkProtocol(Spec):
    """One way in which a library runs some collectives.

    `alpha_us`: start and synchronisation of the collective; `step_us`: latency of one step;
    `efficiency_fraction`: sustained share of the link rate; `own_gb_s`: rate at which a chip copies
    the piece that does not travel; `reduce_gb_s`: rate at which it adds up what it gets (both
    default: hidden behind the link). `algorithm`: `ring`; `direct`, a message to every chip at once
    (all_reduce in two rounds); `one_shot`, all_reduce in which every chip reads all vectors.
    `max_bytes`: the largest vector it takes. `estimate`: rows that have one are taken by it.
    """

    ops: Annotated[tuple[LinkOp, ...], Field(min_length=1)] = ALL_OPS
    algorithm: Literal["ring", "direct", "one_shot"] = "ring"
    alpha_us: NotNegative
    step_us: NotNegative = 0
    efficiency_fraction: Annotated[StrictFloat, Field(gt=0, le=1)] = 1.0
    own_gb_s: BandwidthGbS | None = None
    reduce_gb_s: BandwidthGbS | None = None
    max_bytes: Annotated[StrictInt, Field(ge=1, le=1 << 44)] | None = None
    estimate: LinkEstimate | None = None

    @model_validator(mode="after")
    def _algorithm_has_the_ops(self) -> Self:
        for index, op in enumerate(self.ops):
            if op not in ALGORITHM_OPS[self.algorithm]:
                choices = ", ".join(ALGORITHM_OPS[self.algorithm])
                raise at(
                    ("ops", index), f"must be one of {choices} for {self.algorithm}, not {op!r}"
                )
        return self


class Chips(Spec):
    """`count` equal chips. `link_gb_s`: all links of one chip together, each direction.

    `switch`: any chip reaches any other at the full rate. `fully_connected`: a link to each other
    chip. `ring`: a link to each neighbour; `one_way_ring`: to the next only. `torus`: links to
    the neighbours in a `grid` of two or three dimensions. `protocols`: by name, how the library
    runs collectives; one that covers every op is enough."""

    count: Annotated[StrictInt, Field(ge=1, le=65536)]
    topology: Literal["switch", "fully_connected", "ring", "one_way_ring", "torus"]
    grid: Annotated[tuple[Size, ...], Field(min_length=2, max_length=3)] | None = None
    link_gb_s: BandwidthGbS
    protocols: Annotated[dict[Name, LinkProtocol], Field(min_length=1)]

    @model_validator(mode="after")
    def _grid_matches(self) -> Self:
        if self.topology != "torus" and self.grid:
            raise at(("grid",), f"is for topology torus, not {self.topology}")
        if self.topology == "torus" and not self.grid:
            raise at(("topology",), "torus needs grid, [rows, columns] or three sizes")
        if self.grid and prod(self.grid) != self.count:
            raise at(("grid",), f"must hold the {self.count} chips, not {list(self.grid)}")
        return self

    @model_validator(mode="after")
    def _protocols_fit(self) -> Self:
        for name, protocol in self.protocols.items():
            if protocol.algorithm != "ring" and self.topology not in ("switch", "fully_connected"):
                raise at(
                    ("protocols", name, "algorithm"),
                    f"must be ring on a {self.topology}, not {protocol.algorithm}",
                )
        covered = {op for p in self.protocols.values() if not p.max_bytes for op in p.ops}
        missing = sorted(set(ALL_OPS) - covered)
        if missing:
            raise at(("protocols",), f"must cover {missing[0]} of any size (no max_bytes)")
        return self
