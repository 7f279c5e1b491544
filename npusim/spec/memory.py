"""Memory part of hardware YAML → `Memory`: channels, their timing, and which cores reach them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StrictInt, model_validator

from npusim.spec.base import (
    BandwidthGbS,
    CoreAt,
    Count,
    Index,
    Name,
    NotNegative,
    Positive,
    Spec,
    at,
    rule,
)
from npusim.units import GIB

CoreItem = Annotated[
    Index | str | CoreAt, rule("must be a core id, [row, column] or a first-last range")
]
CoreList = Annotated[
    Literal["all"] | Annotated[tuple[CoreItem, ...], Field(min_length=1)],
    rule("must be all, or a list of core ids, [row, column] pairs and first-last ranges"),
]


# times that may be left out → the time that then holds for them
KIN = {"t_rcd_wr": "t_rcd", "t_rrd_l": "t_rrd", "t_wtr_l": "t_wtr"}


class DramTiming(Spec):
    """Timing of one DRAM channel, JEDEC names. The data rate is `channel_gb_s`; an access is
    `burst_bytes`.

    Blocks of `group_block_bytes` take turns between a row and the same row of a bank of another
    group, so that streams reach the data rate although bursts of one bank group are `t_ccd_l_ns`,
    or `ccd_l_bursts` times what a burst takes, apart; 0: rows lie in one bank each. A time of 0 is
    no limit; `_l` is within a bank group, and as between groups where it is left out. `t_cmd_ns`
    is for channels whose commands share one bus that may be the limit.
    """

    channel_gb_s: BandwidthGbS
    burst_bytes: Annotated[StrictInt, Field(ge=8, le=4096)] = 64
    bank_groups: Annotated[StrictInt, Field(ge=1, le=1024)] = 4
    banks_per_group: Annotated[StrictInt, Field(ge=1, le=1024)] = 4
    group_block_bytes: Annotated[StrictInt, Field(ge=0, le=1 << 20)] = 0
    row_bytes: Annotated[StrictInt, Field(ge=64, le=1 << 20)] = 1024
    t_rcd_ns: NotNegative
    t_rcd_wr_ns: NotNegative | None = None  # before a write; as t_rcd_ns where it is left out
    t_rp_ns: NotNegative
    t_cl_ns: NotNegative
    t_cwl_ns: NotNegative = 0
    t_ras_ns: NotNegative
    t_rrd_ns: NotNegative = 0
    t_rrd_l_ns: NotNegative | None = None
    t_faw_ns: NotNegative = 0
    t_ccd_l_ns: NotNegative = 0
    ccd_l_bursts: Annotated[StrictInt, Field(ge=1, le=16)] = 1  # tCCD_L / tCCD_S, at any data rate
    t_rtp_ns: NotNegative = 0
    t_wtr_ns: NotNegative = 0
    t_wtr_l_ns: NotNegative | None = None
    t_rtw_ns: NotNegative = 0  # command to command
    t_wr_ns: NotNegative = 0
    t_refi_ns: NotNegative = 0
    t_rfc_ns: NotNegative = 0
    t_cmd_ns: NotNegative = 0

    @property
    def num_banks(self) -> int:
        return self.bank_groups * self.banks_per_group

    def ns(self, name: str) -> float:
        """A timing by its name without the unit; one that is left out is that of its kin."""
        value = getattr(self, f"{name}_ns")
        if name == "t_ccd_l" and self.ccd_l_bursts > 1:
            return max(value, self.ccd_l_bursts * self.burst_bytes / self.channel_gb_s)
        return getattr(self, f"{KIN[name]}_ns") if value is None else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.t_refi_ns and self.t_rfc_ns >= self.t_refi_ns:
            raise at(
                ("t_rfc_ns",), f"must be below t_refi_ns {self.t_refi_ns:g}, not {self.t_rfc_ns:g}"
            )
        if self.t_rfc_ns and not self.t_refi_ns:
            raise at(("t_rfc_ns",), f"needs t_refi_ns above 0, not {self.t_refi_ns:g}")
        if self.row_bytes % self.burst_bytes:
            raise at(
                ("row_bytes",),
                f"must be a multiple of burst_bytes {self.burst_bytes}, not {self.row_bytes}",
            )
        return self

    @model_validator(mode="after")
    def _blocks_alternate(self) -> Self:
        block, place = self.group_block_bytes, ("group_block_bytes",)
        if block and (block % self.burst_bytes or self.row_bytes % block):
            raise at(
                place,
                f"must be a multiple of burst_bytes {self.burst_bytes} that divides row_bytes "
                f"{self.row_bytes}, not {block}",
            )
        if block and self.bank_groups % 2:
            raise at(place, f"needs an even number of bank_groups, not {self.bank_groups}")
        return self


class EdgePort(Spec):
    """A memory port at the router of core `at`; on a crossbar it has no place."""

    at: CoreAt | None = None


def _counted(ports: Any) -> Any:
    """`ports: 3` as the list of three ports without a place."""
    if isinstance(ports, bool) or not isinstance(ports, int):
        return ports
    if not 1 <= ports <= 4096:
        raise at((), f"must be 1 to 4,096 ports, not {ports}")
    return ({},) * ports


Ports = Annotated[
    tuple[EdgePort, ...],
    BeforeValidator(_counted, json_schema_input_type=StrictInt | tuple[EdgePort, ...]),
]


class Memory(Spec):
    """Off-core memory.

    `attach: core`: an instance for every core, reached without the NoC. `group`: an
    instance for every `cores_per_instance` consecutive cores, reached without the NoC. `edge`:
    one instance, its channels spread evenly over `ports` of the NoC and reached through it: a list
    of places, or on a crossbar their number. `capacity_gib` and `channels` are those of one
    instance. `cores` are the ones that may use it (default all), so that groups of cores can have
    different memories.
    """

    name: Name = "hbm"
    kind: Literal["dram"] = "dram"
    attach: Literal["core", "group", "edge"] = "core"
    cores: CoreList = "all"
    cores_per_instance: Count = 1
    ports: Ports = ()
    capacity_gib: Annotated[Positive, Field(le=1 << 20)]
    channels: Annotated[StrictInt, Field(ge=1, le=4096)]
    interleave_bytes: Annotated[StrictInt, Field(ge=64, le=1 << 20)] = 4096
    request_latency_ns: NotNegative = 20
    response_latency_ns: NotNegative = 20
    window: Annotated[StrictInt, Field(ge=1, le=256)] = 16
    scheduling: Literal["fr_fcfs", "fcfs"] = "fr_fcfs"
    # fidelity.memory analytic: share of the peak that a stream sustains; null = from the timing
    efficiency_fraction: Annotated[Positive, Field(le=1)] | None = None
    timing: DramTiming

    @property
    def capacity_bytes(self) -> int:
        return int(self.capacity_gib * GIB)

    @property
    def gb_s(self) -> float:
        """Peak bandwidth of one instance."""
        return self.channels * self.timing.channel_gb_s

    @model_validator(mode="after")
    def _ports_match(self) -> Self:
        if self.attach == "edge" and not self.ports:
            raise at(
                ("attach",),
                "edge needs ports, a list of {at: [row, column]}, or on a crossbar a number",
            )
        if self.attach != "edge" and self.ports:
            raise at(("ports",), f"are for attach: edge, not {self.attach}")
        if self.ports and self.channels % len(self.ports):
            raise at(
                ("channels",),
                f"must be a multiple of the {len(self.ports)} ports, not {self.channels}",
            )
        places = [port.at for port in self.ports]
        for index, place in enumerate(places):
            if place and place in places[:index]:
                raise at(
                    ("ports", index, "at"), f"must differ from the other ports, not {list(place)}"
                )
        return self

    @model_validator(mode="after")
    def _sizes_match(self) -> Self:
        burst, least = self.timing.burst_bytes, self.channels * self.interleave_bytes
        if self.interleave_bytes % burst:
            raise at(
                ("interleave_bytes",),
                f"must be a multiple of burst_bytes {burst}, not {self.interleave_bytes}",
            )
        if self.capacity_bytes < least:
            raise at(
                ("capacity_gib",),
                f"must hold channels x interleave_bytes = {least} bytes, not {self.capacity_gib:g}",
            )
        if self.attach != "group" and self.cores_per_instance != 1:
            raise at(
                ("cores_per_instance",),
                f"is for attach: group, not {self.attach}",
            )
        return self
