"""Parallel part of a scenario: how the work of one replica, stage and group is divided."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictInt

from npusim.spec.base import Spec

Degree = Annotated[StrictInt, Field(ge=1, le=4096)]
# A file may say auto, which load_scenario() replaces.
TensorDegree = Annotated[
    Degree, BeforeValidator(lambda tp: tp, json_schema_input_type=Degree | Literal["auto"])
]


class Parallel(Spec):
    """How the work is divided. `tp` may be auto: all cores that the chip has for each replica and
    stage, or one chip of the GPU kind. `grid` [rows, columns] of partition mnk, default the
    squarest. `micro_batches` splits a prefill for the pipeline stages. `mla`: absorbed or not,
    auto = absorbed in decode."""

    tp: TensorDegree = 1
    pp: Degree = 1
    dp: Degree = 1
    ep: Degree = 1
    partition: str = "auto"  # a row of passes.partition.PARTITIONS
    collective: str = "auto"  # a row of passes.collective.ALGORITHMS
    grid: tuple[Degree, Degree] | None = None
    micro_batches: Degree = 1
    mla: Literal["auto", "absorbed", "expanded"] = "auto"
