"""Core part of hardware YAML → `Core`: arrays, vector unit, SFU, scratchpad, DMA engines."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from npusim.spec.base import ClockMhz, Count, Cycles, Dtype, Positive, Spec, at
from npusim.units import MIB, clock_khz


class Arrays(Spec):
    """The systolic arrays of a core, all alike.

    `rate` multiplies the MACs a processing element does in a cycle, by data type of the operands;
    a type that is not listed has 1. `fold_overlap` loads the next fold's stationary operand while
    the current one streams (double-buffered injection).
    """

    rows: Annotated[StrictInt, Field(ge=1, le=4096)]
    columns: Annotated[StrictInt, Field(ge=1, le=4096)]
    count: Annotated[StrictInt, Field(ge=1, le=31)] = 1  # units 1…31 of a core are its arrays
    dataflow: Literal["ws", "os", "is"] = "ws"
    fold_overlap: StrictBool = True
    rate: dict[Dtype, Positive] = {}


class Vector(Spec):
    """Vector unit: `lanes` × `alus_per_lane` simple operations a cycle, in 16 bit or wider."""

    lanes: Count
    alus_per_lane: Count = 1


class Sfu(Spec):
    """Special functions (exp, rsqrt, sigmoid): `lanes` results a cycle."""

    lanes: Count


class Scratchpad(Spec):
    """On-core SRAM. Its bandwidth is `banks * bank_bytes_per_cycle` a core cycle, shared by the
    DMA engines, the NoC and the arrays."""

    capacity_mib: Annotated[Positive, Field(le=1 << 20)]
    banks: Count = 16
    bank_bytes_per_cycle: Count = 16
    block_bytes: Annotated[StrictInt, Field(ge=16, le=1 << 30)] = 1024

    @property
    def capacity_bytes(self) -> int:
        return int(self.capacity_mib * MIB)

    @property
    def bytes_per_cycle(self) -> int:
        return self.banks * self.bank_bytes_per_cycle

    @model_validator(mode="after")
    def _holds_a_block(self) -> Self:
        if self.block_bytes > self.capacity_bytes:
            raise at(
                ("block_bytes",),
                f"must be at most the {self.capacity_bytes} bytes of capacity_mib, "
                f"not {self.block_bytes}",
            )
        return self


class Dma(Spec):
    """DMA engines of a core. Engine 0 sends messages; loads and stores use the others, or 0 when
    it is the only one. A transfer is cut into units of at most `unit_bytes`; an engine
    has at most `max_outstanding` of them in flight and issues one every `issue_cycles`."""

    engines: Annotated[StrictInt, Field(ge=1, le=32)] = 2
    unit_bytes: Annotated[StrictInt, Field(ge=64, le=1 << 20)] = 4096
    max_outstanding: Annotated[StrictInt, Field(ge=1, le=4096)] = 16
    issue_cycles: Annotated[Cycles, Field(ge=1)] = 1


class Core(Spec):
    """One core: arrays, vector unit, SFU, scratchpad, DMA engines. `task_start_cycles` is added to
    every compute task (decode, descriptor fetch, pipeline start)."""

    clock_mhz: ClockMhz
    arrays: Arrays
    vector: Vector
    sfu: Sfu
    scratchpad: Scratchpad
    dma: Dma = Dma()
    task_start_cycles: Cycles = 0

    @property
    def khz(self) -> int:
        return clock_khz(self.clock_mhz)

    @model_validator(mode="after")
    def _scratchpad_holds_a_unit(self) -> Self:
        if self.dma.unit_bytes > self.scratchpad.capacity_bytes:
            raise at(
                ("dma", "unit_bytes"),
                f"must be at most the {self.scratchpad.capacity_bytes} bytes of the scratchpad, "
                f"not {self.dma.unit_bytes}",
            )
        return self
