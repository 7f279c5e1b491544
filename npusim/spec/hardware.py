"""Hardware YAML → `Hardware`: a mesh of cores, their memories and the NoC between them.

A core is named by its id, `row * columns + column`, or by `[row, column]` in files.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from npusim.spec.base import ClockMhz, CoreAt, Cycles, Name, Spec, at
from npusim.spec.core import Arrays, Core, Dma, Scratchpad, Sfu, Vector
from npusim.spec.kernels import Kernels
from npusim.spec.links import Chips
from npusim.spec.memory import CoreList, DramTiming, EdgePort, Memory
from npusim.units import clock_khz

__all__ = [
    "Arrays",
    "Chips",
    "Core",
    "CoreGroup",
    "Dma",
    "DramTiming",
    "EdgePort",
    "Hardware",
    "Kernels",
    "Memory",
    "MemoryInstance",
    "Mesh",
    "Noc",
    "Scratchpad",
    "Sfu",
    "Vector",
]


class Mesh(Spec):
    """Rows × columns of cores; on a mesh or torus each has a router."""

    rows: Annotated[StrictInt, Field(ge=1, le=128)]
    columns: Annotated[StrictInt, Field(ge=1, le=128)]

    @property
    def num_cores(self) -> int:
        return self.rows * self.columns


class CoreGroup(Spec):
    """Cores with one spec. `cores` is `all`, or a list of ids, `[row, column]` pairs and
    `first-last` ranges. Groups that list cores may not overlap; they take theirs from `all`."""

    name: Name
    cores: CoreList = "all"
    core: Core


class Noc(Spec):
    """Two networks (requests; responses and messages) of equal width.

    `topology: mesh` is a 2-D mesh with XY routing; `torus` also links the ends of its rows and
    columns, with `one_way` in one direction only (requests east and south, responses and messages
    west and north); `crossbar` is one hub, to and from which every core and every memory port has a
    link. `port_bytes_per_cycle`: width of a memory port's links (default: as the others).
    `flow_control: virtual_channel` shares a link packet by packet; `channel_locked` gives an output
    to one message from its first packet to its last; with two or more `virtual_channels` messages
    then have the last one to themselves. `lock_scope: both` also holds the links of the
    acknowledge path (needs `protocol: handshake`). `buffer_packets` is the depth of an
    input buffer, a virtual channel, in packets of the largest size; smaller ones take less.
    `protocol: handshake` asks the receiver (request, acknowledge) before data moves; `eager` sends
    into buffers that the plan has reserved.
    A message is cut into packets of clamp(bytes / `packets_per_message`, `min_packet_bytes`,
    `max_packet_bytes`).
    """

    topology: Literal["mesh", "torus", "crossbar"] = "mesh"
    one_way: bool = False
    clock_mhz: ClockMhz
    link_bytes_per_cycle: Annotated[StrictInt, Field(ge=1, le=1 << 16)]
    port_bytes_per_cycle: Annotated[StrictInt, Field(ge=1, le=1 << 16)] | None = None
    router_cycles: Cycles = 2
    link_cycles: Annotated[Cycles, Field(ge=1)] = 1
    buffer_packets: Annotated[StrictInt, Field(ge=1, le=1024)] = 4
    virtual_channels: Annotated[StrictInt, Field(ge=1, le=16)] = 2
    flow_control: Literal["virtual_channel", "channel_locked"] = "virtual_channel"
    lock_scope: Literal["data", "both"] = "data"
    arbitration: Literal["round_robin", "fifo"] = "round_robin"
    protocol: Literal["eager", "handshake"] = "eager"
    min_packet_bytes: Annotated[StrictInt, Field(ge=16, le=1 << 20)] = 256
    max_packet_bytes: Annotated[StrictInt, Field(ge=16, le=1 << 20)] = 4096
    packets_per_message: Annotated[StrictInt, Field(ge=1, le=1 << 20)] = 16
    header_bytes: Annotated[StrictInt, Field(ge=0, le=1 << 16)] = 16

    @property
    def khz(self) -> int:
        return clock_khz(self.clock_mhz)

    @property
    def link_gb_s(self) -> float:
        return self.link_bytes_per_cycle * self.clock_mhz / 1000

    @property
    def port_width(self) -> int:
        """Bytes a cycle of a memory port's links."""
        return self.port_bytes_per_cycle or self.link_bytes_per_cycle

    @property
    def port_gb_s(self) -> float:
        return self.port_width * self.clock_mhz / 1000

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_packet_bytes > self.max_packet_bytes:
            raise at(
                ("min_packet_bytes",),
                f"must be at most max_packet_bytes {self.max_packet_bytes}, "
                f"not {self.min_packet_bytes}",
            )
        if self.lock_scope == "both" and self.protocol != "handshake":
            raise at(("lock_scope",), f"both needs protocol: handshake, not {self.protocol}")
        if self.lock_scope == "both" and self.flow_control != "channel_locked":
            raise at(
                ("lock_scope",), f"both needs flow_control: channel_locked, not {self.flow_control}"
            )
        return self

    @model_validator(mode="after")
    def _topology_fits(self) -> Self:
        """A ring of locked channels can deadlock, and so can one without a second slot."""
        if self.one_way and self.topology != "torus":
            raise at(("one_way",), f"needs topology: torus, not {self.topology}")
        if self.topology == "torus" and self.flow_control != "virtual_channel":
            raise at(
                ("flow_control",), f"must be virtual_channel on a torus, not {self.flow_control}"
            )
        if self.topology == "torus" and self.buffer_packets * self.virtual_channels < 2:
            raise at(("buffer_packets",), "must be at least 2 on a torus with one virtual channel")
        return self


class Hardware(Spec):
    """A chip: mesh, cores, memories, NoC."""

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    mesh: Mesh
    core_groups: tuple[CoreGroup, ...]
    memories: tuple[Memory, ...] = ()
    noc: Noc
    chips: Chips | None = None  # equal chips that work together
    kernels: Kernels | None = None  # given: lowered as kernels, by passes/shared

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for key in ("core_groups", "memories"):
            names = [item.name for item in getattr(self, key)]
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise at((key, index, "name"), f"must differ from the others, not {name!r}")
        return self

    @model_validator(mode="after")
    def _groups_cover_the_mesh(self) -> Self:
        owner: dict[int, CoreGroup] = {}
        for index, group in enumerate(self.core_groups):
            place = ("core_groups", index, "cores")
            for core_id in self._listed(group.cores, place):
                if core_id in owner and owner[core_id].cores != "all":
                    other = owner[core_id].name
                    raise at(place, f"must not repeat core {core_id}, already in {other!r}")
                owner[core_id] = group
        used = set(map(id, owner.values()))
        for index, group in enumerate(self.core_groups):
            if id(group) not in used:
                raise at(("core_groups", index, "cores"), "leave no core to this group")
        missing = set(range(self.mesh.num_cores)) - owner.keys()
        if missing:
            raise at(("core_groups",), f"must cover the mesh; core {min(missing)} has no group")
        return self

    @model_validator(mode="after")
    def _memories_fit_the_mesh(self) -> Self:
        for index, memory in enumerate(self.memories):
            self._check_ports(memory, ("memories", index, "ports"))
            served = self._listed(memory.cores, ("memories", index, "cores"))
            if len(set(served)) != len(served):
                raise at(("memories", index, "cores"), "must not repeat a core")
            if memory.attach == "group" and len(served) % memory.cores_per_instance:
                raise at(
                    ("memories", index, "cores_per_instance"),
                    f"must divide the {len(served)} cores, not {memory.cores_per_instance}",
                )
        return self

    def _check_ports(self, memory: Memory, place: tuple[str | int, ...]) -> None:
        """A port has a place where the NoC has routers, and none on a crossbar."""
        for index, port in enumerate(memory.ports):
            if self.noc.topology == "crossbar" and port.at is not None:
                raise at(
                    (*place, index, "at"), "has no meaning on a crossbar; give a number of ports"
                )
            if self.noc.topology != "crossbar" and port.at is None:
                raise at(
                    place, "must be a list of {at: [row, column]} unless noc.topology is crossbar"
                )
            if port.at is not None:
                self._id_at(port.at, (*place, index, "at"))

    @property
    def grid(self) -> tuple[int, int, str, bool]:
        """Rows, columns, topology, one-way: what `npusim.cost.paths.Grid` is made of."""
        return self.mesh.rows, self.mesh.columns, self.noc.topology, self.noc.one_way

    @model_validator(mode="after")
    def _kernels_fit(self) -> Self:
        if self.kernels is not None:
            self.kernels.check(self.memories, self.mesh.num_cores)
        return self

    def core_id(self, at: int | str | CoreAt) -> int:
        """Core id of an id or a `[row, column]` pair; ValueError when it is outside the mesh."""
        mesh = self.mesh
        row, column = at if isinstance(at, tuple | list) else divmod(int(at), mesh.columns)
        if not (0 <= row < mesh.rows and 0 <= column < mesh.columns):
            raise ValueError(
                f"core {list(at) if isinstance(at, tuple | list) else at} is outside the "
                f"{mesh.rows}x{mesh.columns} mesh"
            )
        return row * mesh.columns + column

    def group_of_core(self) -> list[int]:
        """Index into `core_groups` by core id."""
        groups = [0] * self.mesh.num_cores
        for index, group in enumerate(self.core_groups):
            for core_id in self.cores_of(group):
                groups[core_id] = index
        return groups

    def cores_of(self, group: CoreGroup | Memory) -> list[int]:
        """Core ids that a group or a memory lists."""
        return self._listed(group.cores, ())

    def listed_cores(self, cores: CoreList) -> list[int]:
        """Core ids of a `cores` value from elsewhere; ValueError when one is outside the mesh."""
        try:
            return self._listed(cores, ())
        except PydanticCustomError as error:
            raise ValueError(error.message()) from None

    def core(self, core_id: int) -> Core:
        """Spec of one core; for many, `cores()` is quicker."""
        return self.core_groups[self.group_of_core()[core_id]].core

    def cores(self) -> list[Core]:
        """Spec of every core, by id."""
        return [self.core_groups[index].core for index in self.group_of_core()]

    def memory_instances(self) -> list["MemoryInstance"]:
        """Every instance of every memory, in file order, then by the first core it serves."""
        found: list[MemoryInstance] = []
        for memory in self.memories:
            served = sorted(self.cores_of(memory))
            sizes = {"core": 1, "group": memory.cores_per_instance, "edge": len(served)}
            size = sizes[memory.attach]
            for first in range(0, len(served), size):
                cores = tuple(served[first : first + size])
                found.append(MemoryInstance(memory_id=len(found), memory=memory, cores=cores))
        return found

    def _listed(self, cores: CoreList, place: tuple[str | int, ...]) -> list[int]:
        """Core ids of a `cores` value that stands at `place`."""
        if cores == "all":
            return list(range(self.mesh.num_cores))
        ids: list[int] = []
        for item in cores:
            if not isinstance(item, str):
                ids.append(self._id_at(item, place))
                continue
            first, _, last = (part.strip() for part in item.partition("-"))
            if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
                raise at(place, f"must hold ids, [row, column] and first-last ranges, not {item!r}")
            self._id_at(int(last), place)
            ids += range(int(first), int(last) + 1)
        return ids

    def _id_at(self, core: int | CoreAt, place: tuple[str | int, ...]) -> int:
        try:
            return self.core_id(core)
        except ValueError:
            mesh = f"{self.mesh.rows}x{self.mesh.columns}"
            where = core if isinstance(core, int) else list(core)
            raise at(place, f"must lie in the {mesh} mesh, not {where}") from None


class MemoryInstance(Spec):
    """One address space: `memory_id` (dense, chip-wide), its spec and the cores that may use it."""

    memory_id: int
    memory: Memory
    cores: tuple[int, ...]
