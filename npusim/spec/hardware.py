"""Hardware YAML → `Hardware`: a mesh of cores, their memories and the NoC between them.

A core is named by its id, `row * columns + column`, or by `[row, column]` in files.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from npusim.spec.base import Spec
from npusim.units import GIB, MIB, clock_khz

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
CoreAt = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class Mesh(Spec):
    """Rows × columns of routers, one core at each."""

    rows: Annotated[int, Field(ge=1, le=64)]
    columns: Annotated[int, Field(ge=1, le=64)]

    @property
    def num_cores(self) -> int:
        return self.rows * self.columns


class Arrays(Spec):
    """The systolic arrays of a core, all alike.

    `rate` multiplies the MACs a processing element does in a cycle, by data type of the operands;
    a type that is not listed has 1. `fold_overlap` loads the next fold's stationary operand while
    the current one streams (double-buffered injection).
    """

    rows: Annotated[int, Field(ge=1, le=4096)]
    columns: Annotated[int, Field(ge=1, le=4096)]
    count: Annotated[int, Field(ge=1, le=64)] = 1
    dataflow: Literal["ws", "os", "is"] = "ws"
    fold_overlap: bool = True
    rate: dict[str, Positive] = {}


class Vector(Spec):
    """Vector unit: `lanes` × `alus_per_lane` simple operations a cycle, in 16-bit or wider types."""

    lanes: Count
    alus_per_lane: Count = 1


class Sfu(Spec):
    """Special functions (exp, rsqrt, sigmoid): `lanes` results a cycle."""

    lanes: Count


class Scratchpad(Spec):
    """On-core SRAM. Its bandwidth is `banks * bank_bytes_per_cycle` a core cycle, shared by the
    DMA engines, the NoC and the arrays."""

    capacity_mib: Positive
    banks: Count = 16
    bank_bytes_per_cycle: Count = 16
    block_bytes: Annotated[int, Field(ge=16)] = 1024

    @property
    def capacity_bytes(self) -> int:
        return int(self.capacity_mib * MIB)

    @property
    def bytes_per_cycle(self) -> int:
        return self.banks * self.bank_bytes_per_cycle


class Dma(Spec):
    """DMA engines of a core. Engine 0 sends messages; loads and stores use the others, or 0 when
    it is the only one. A transfer is cut into units of at most `unit_bytes`; an engine
    has at most `max_outstanding` of them in flight and issues one every `issue_cycles`."""

    engines: Annotated[int, Field(ge=1, le=32)] = 2
    unit_bytes: Annotated[int, Field(ge=64, le=1 << 20)] = 4096
    max_outstanding: Annotated[int, Field(ge=1, le=4096)] = 16
    issue_cycles: Annotated[int, Field(ge=1)] = 1


class Core(Spec):
    """One core: arrays, vector unit, SFU, scratchpad, DMA engines. `task_start_cycles` is added to
    every compute task (decode, descriptor fetch, pipeline start)."""

    clock_mhz: Positive
    arrays: Arrays
    vector: Vector
    sfu: Sfu
    scratchpad: Scratchpad
    dma: Dma = Dma()
    task_start_cycles: Annotated[int, Field(ge=0)] = 0

    @property
    def khz(self) -> int:
        return clock_khz(self.clock_mhz)


class CoreGroup(Spec):
    """Cores with one spec. `cores` is `all`, or a list of ids, `[row, column]` pairs and
    `first-last` ranges. Where groups overlap the later one wins."""

    name: str
    cores: Literal["all"] | tuple[int | str | CoreAt, ...] = "all"
    core: Core


class DramTiming(Spec):
    """Timing of one DRAM channel, JEDEC names. The data rate is `channel_gb_s`; an access is
    `burst_bytes`. `t_ccd_l_ns` 0 means that bursts follow one another at the data rate."""

    channel_gb_s: Positive
    burst_bytes: Annotated[int, Field(ge=8, le=4096)] = 64
    bank_groups: Count = 4
    banks_per_group: Count = 4
    row_bytes: Annotated[int, Field(ge=64, le=1 << 20)] = 1024
    t_rcd_ns: NotNegative
    t_rp_ns: NotNegative
    t_cl_ns: NotNegative
    t_cwl_ns: NotNegative = 0
    t_ras_ns: NotNegative
    t_rrd_ns: NotNegative = 0
    t_faw_ns: NotNegative = 0
    t_ccd_l_ns: NotNegative = 0
    t_wtr_ns: NotNegative = 0
    t_rtw_ns: NotNegative = 0
    t_wr_ns: NotNegative = 0
    t_refi_ns: NotNegative = 0
    t_rfc_ns: NotNegative = 0

    @property
    def num_banks(self) -> int:
        return self.bank_groups * self.banks_per_group

    @model_validator(mode="after")
    def _refresh_fits(self):
        if self.t_refi_ns and self.t_rfc_ns >= self.t_refi_ns:
            raise ValueError(f"t_rfc_ns {self.t_rfc_ns} must be below t_refi_ns {self.t_refi_ns}")
        if self.row_bytes % self.burst_bytes:
            raise ValueError(
                f"row_bytes {self.row_bytes} must be a multiple of burst_bytes {self.burst_bytes}"
            )
        return self


class EdgePort(Spec):
    """A memory port at the router of core `at`."""

    at: CoreAt


class Memory(Spec):
    """Off-core memory.

    `attach: core`: an instance for every core, reached without the NoC. `group`: an
    instance for every `cores_per_instance` consecutive core ids, reached without the NoC. `edge`:
    one instance, its channels spread evenly over `ports` of the mesh and
    reached through the NoC. `capacity_gib` and `channels` are those of one instance.
    """

    name: str = "hbm"
    kind: Literal["dram"] = "dram"
    attach: Literal["core", "group", "edge"] = "core"
    cores_per_instance: Count = 1
    ports: tuple[EdgePort, ...] = ()
    capacity_gib: Positive
    channels: Annotated[int, Field(ge=1, le=4096)]
    interleave_bytes: Annotated[int, Field(ge=64, le=1 << 20)] = 4096
    request_latency_ns: NotNegative = 20
    response_latency_ns: NotNegative = 20
    window: Annotated[int, Field(ge=1, le=256)] = 16
    scheduling: Literal["fr_fcfs", "fcfs"] = "fr_fcfs"
    timing: DramTiming

    @property
    def capacity_bytes(self) -> int:
        return int(self.capacity_gib * GIB)

    @property
    def gb_s(self) -> float:
        """Peak bandwidth of one instance."""
        return self.channels * self.timing.channel_gb_s

    @model_validator(mode="after")
    def _ports_match(self):
        if (self.attach == "edge") != bool(self.ports):
            raise ValueError(
                f"ports are for attach: edge, and needed there; attach is {self.attach}"
            )
        if self.attach == "edge" and self.channels % len(self.ports):
            raise ValueError(
                f"channels {self.channels} must be a multiple of the {len(self.ports)} ports"
            )
        return self


class Noc(Spec):
    """2-D mesh with XY routing; two networks (requests, responses and messages) of equal width.

    `flow_control: virtual_channel` shares a link packet by packet; `channel_locked` gives an output
    to one message from its first packet to its last. `lock_scope: both` also holds the links of the
    acknowledge path (needs `protocol: handshake`). `buffer_packets` is the depth of an
    input buffer, a virtual channel. `protocol: handshake` asks the receiver (request, acknowledge)
    before data moves; `eager` sends into buffers that the plan has reserved.
    A message is cut into packets of clamp(bytes / `packets_per_message`, `min_packet_bytes`,
    `max_packet_bytes`).
    """

    clock_mhz: Positive
    link_bytes_per_cycle: Annotated[int, Field(ge=1, le=1 << 16)]
    router_cycles: Annotated[int, Field(ge=0)] = 2
    link_cycles: Annotated[int, Field(ge=1)] = 1
    buffer_packets: Annotated[int, Field(ge=1, le=1024)] = 4
    virtual_channels: Annotated[int, Field(ge=1, le=16)] = 2
    flow_control: Literal["virtual_channel", "channel_locked"] = "virtual_channel"
    lock_scope: Literal["data", "both"] = "data"
    arbitration: Literal["round_robin", "fifo"] = "round_robin"
    protocol: Literal["eager", "handshake"] = "eager"
    min_packet_bytes: Annotated[int, Field(ge=16)] = 256
    max_packet_bytes: Annotated[int, Field(ge=16, le=1 << 20)] = 4096
    packets_per_message: Annotated[int, Field(ge=1)] = 16
    header_bytes: Annotated[int, Field(ge=0)] = 16

    @property
    def khz(self) -> int:
        return clock_khz(self.clock_mhz)

    @property
    def link_gb_s(self) -> float:
        return self.link_bytes_per_cycle * self.clock_mhz / 1000

    @model_validator(mode="after")
    def _consistent(self):
        if self.min_packet_bytes > self.max_packet_bytes:
            raise ValueError(
                f"min_packet_bytes {self.min_packet_bytes} is above max_packet_bytes "
                f"{self.max_packet_bytes}"
            )
        if self.lock_scope == "both" and self.protocol != "handshake":
            raise ValueError("lock_scope: both needs protocol: handshake")
        return self


class Hardware(Spec):
    """A chip: mesh, cores, memories, NoC."""

    name: str
    description: str = ""
    mesh: Mesh
    core_groups: Annotated[tuple[CoreGroup, ...], Field(min_length=1)]
    memories: tuple[Memory, ...] = ()
    noc: Noc

    @field_validator("memories")
    @classmethod
    def _names_differ(cls, memories):
        names = [m.name for m in memories]
        if len(set(names)) != len(names):
            raise ValueError(f"memory names must differ: {', '.join(names)}")
        return memories

    @model_validator(mode="after")
    def _places_exist(self):
        covered = self.group_of_core()
        if None in covered:
            raise ValueError(f"core {covered.index(None)} belongs to no core group")
        for memory in self.memories:
            for port in memory.ports:
                self.core_id(port.at)
            if memory.attach == "group" and self.mesh.num_cores % memory.cores_per_instance:
                raise ValueError(
                    f"cores_per_instance {memory.cores_per_instance} does not divide "
                    f"the {self.mesh.num_cores} cores"
                )
        return self

    def core_id(self, at: int | str | CoreAt) -> int:
        """Core id of an id or a `[row, column]` pair; ValueError when it is outside the mesh."""
        mesh = self.mesh
        row, column = divmod(at, mesh.columns) if isinstance(at, int) else at
        if not (0 <= row < mesh.rows and 0 <= column < mesh.columns):
            raise ValueError(
                f"core {at if isinstance(at, int) else list(at)} is outside the "
                f"{mesh.rows}x{mesh.columns} mesh"
            )
        return row * mesh.columns + column

    def group_of_core(self) -> list[int | None]:
        """Index into `core_groups` by core id; None for a core that no group names."""
        groups: list[int | None] = [None] * self.mesh.num_cores
        for index, group in enumerate(self.core_groups):
            for core_id in self.cores_of(group):
                groups[core_id] = index
        return groups

    def cores_of(self, group: CoreGroup) -> list[int]:
        """Core ids that a group lists."""
        if group.cores == "all":
            return list(range(self.mesh.num_cores))
        ids: list[int] = []
        for item in group.cores:
            if isinstance(item, str):
                first, sep, last = item.partition("-")
                if not (sep and first.strip().isdigit() and last.strip().isdigit()):
                    raise ValueError(f"cores of {group.name!r}: {item!r} is not first-last")
                ids += range(self.core_id(int(first)), self.core_id(int(last)) + 1)
            else:
                ids.append(self.core_id(item))
        return ids

    def core(self, core_id: int) -> Core:
        """Spec of one core."""
        index = self.group_of_core()[core_id]
        assert index is not None
        return self.core_groups[index].core

    def cores(self) -> list[Core]:
        """Spec of every core, by id."""
        return [self.core_groups[index or 0].core for index in self.group_of_core()]

    def memory_instances(self) -> list["MemoryInstance"]:
        """Every instance of every memory, in file order, then by the first core it serves."""
        found: list[MemoryInstance] = []
        everyone = tuple(range(self.mesh.num_cores))
        for memory in self.memories:
            size = {"core": 1, "group": memory.cores_per_instance, "edge": len(everyone)}
            step = size[memory.attach]
            for first in range(0, len(everyone), step):
                found.append(
                    MemoryInstance(
                        memory_id=len(found), memory=memory, cores=everyone[first : first + step]
                    )
                )
        return found


class MemoryInstance(Spec):
    """One address space: `memory_id` (dense, chip-wide), its spec and the cores that may use it."""

    memory_id: int
    memory: Memory
    cores: tuple[int, ...]
