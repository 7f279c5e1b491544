"""Parts, placement and memory plan → tasks of one group of cores, op by op, in a ProgramBuilder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx

from npusim.graph.ir import Op
from npusim.passes.emit.core_state import CoreState, Touch
from npusim.passes.kv_cache import CacheShape
from npusim.passes.partition import Comm, Part, Scheme
from npusim.passes.tile import Tile, bits_to_bytes
from npusim.program import COMPUTE, VECTOR_UNIT, ProgramBuilder, array_unit

Ranks = list[list[int]]  # for every rank of the group, tasks to wait for


@dataclass
class Emission:
    """Writes the tasks of one tensor-parallel group.

    `done` maps an op to the tasks of each rank that its consumers wait for; `spilled` to the
    ranks whose result lies in memory; `late` are tasks to append at the end of the layer. `phased`:
    cores do one thing at a time while weights rotate, as in `collective: ring_phased`.
    """

    builder: ProgramBuilder
    graph: nx.DiGraph
    parts: Mapping[str, Part]
    scheme: Scheme
    cores: Sequence[CoreState]
    phase: str
    communicate: Callable[["Emission", Comm, int, Ranks], Ranks]
    caches: Mapping[int, CacheShape | None]
    layer_ops: Mapping[int, Sequence[Op]]
    phased: bool = False
    done: dict[str, Ranks] = field(default_factory=dict)
    spilled: dict[str, tuple[bool, ...]] = field(default_factory=dict)
    touches: list[Touch] = field(default_factory=list)
    late: list[Callable[[], None]] = field(default_factory=list)

    def op_row(self, op: Op) -> int:
        return self.builder.op(op.name, op.kind, op.layer, self.phase)

    def touch(self, task: int, core: CoreState, tensor: str, layer: int) -> None:
        """Remembers what a load or store touches, so that a repeated layer can touch its own."""
        self.touches.append(Touch(task, core.core, tensor, layer))

    def layer_op(self, layer: int, kind: str) -> Op:
        return next(op for op in self.layer_ops[layer] if op.kind == kind)

    def wait_for(self, op: Op) -> Ranks:
        """Tasks that each rank's share of `op` waits for: those of its producers."""
        names = [n for n in self.graph.predecessors(op.name) if n in self.done]
        if not names:
            return [[] for _ in self.cores]
        if len(names) == 1:
            return self.done[names[0]]
        return [
            list(dict.fromkeys(t for n in names for t in self.done[n][rank]))
            for rank in range(len(self.cores))
        ]

    def input_spilled(self, op: Op, rank: int) -> bool:
        return any(
            self.spilled[n][rank] for n in self.graph.predecessors(op.name) if n in self.spilled
        )

    def emit(self, op: Op, emitters: Mapping[str, "Emitter"]) -> None:
        """All tasks of `op`: collectives before it, its own, collectives after it."""
        part = self.parts[op.name]
        after = self.wait_for(op)
        for comm in part.before:
            after = self.collective(part, comm, after)
        self.spilled[op.name] = self.exceeding(part.outputs)
        after = emitters[op.kind](self, part, after)
        row = len(self.builder.ops) - 1
        if part.after:
            after = self.transfer_spilled(part.outputs, row, after, self.spill_load)
        for comm in part.after:
            after = self.collective(part, comm, after)
        self.spilled[op.name] = self.exceeding(part.kept or part.outputs)
        if part.after:
            after = self.transfer_spilled(part.kept or part.outputs, row, after, self.spill_store)
        self.done[op.name] = after

    def exceeding(self, elements: Sequence[int]) -> tuple[bool, ...]:
        """The ranks on which a tensor of so many elements lies in memory."""
        return tuple(
            bits_to_bytes(size, core.cost.activation_bits) > core.spill_limit_bytes
            for size, core in zip(elements, self.cores, strict=True)
        )

    def transfer_spilled(
        self, elements: Sequence[int], row: int, after: Ranks, transfer: Callable[..., int]
    ) -> Ranks:
        """A message or collective reads an operand that lies in memory, and writes a result that
        goes there.

        Assumes that it streams: pieces that are on their way need no room.
        """
        done = [list(tasks) for tasks in after]
        for rank, spilled in enumerate(self.exceeding(elements)):
            if spilled:
                core = self.cores[rank]
                size = bits_to_bytes(elements[rank], core.cost.activation_bits)
                done[rank] = [transfer(core, row, size, after[rank])]
        return done

    def collective(self, part: Part, comm: Comm, after: Ranks) -> Ranks:
        op = part.op
        row = self.builder.op(f"{op.name}.{comm.kind}", "collective", op.layer, self.phase)
        return self.communicate(self, comm, row, after)

    def end_layer(self) -> None:
        """Appends what may come late: stores that would hold up the loads behind them."""
        for append in self.late:
            append()
        self.late.clear()

    def run_tiles(
        self,
        core: CoreState,
        tiles: Sequence[Tile],
        row: int,
        after: list[int],
        tensor: str = "",
        first_unit: int = array_unit(0),
        ready: Sequence[int] = (),
    ) -> list[int]:
        """Loads, computations, stores of `tiles` on one core; returns what consumers wait for.
        `ready`: for each tile the task that brings its weights, where it is there already."""
        last: dict[int, int] = {}
        stores: list[int] = []
        earlier: list[list[int]] = []
        for index, tile in enumerate(tiles):
            loads = self._tile_loads(core, tile, row, after, earlier, tensor)
            loads += ready[index : index + 1]
            tasks = []
            for array, (cycles, sram_bytes, flops) in enumerate(tile.computes):
                unit = VECTOR_UNIT if tile.on_vector else first_unit + array
                # a unit runs its tasks in order: only the first must wait for the producers
                waits = loads if unit in last else loads + after
                task = self.builder.task(
                    COMPUTE, core.core, unit, row, waits,
                    cycles=cycles, num_bytes=sram_bytes, flops=flops,
                )  # fmt: skip
                last[unit] = task
                tasks.append(task)
            if tile.weight_bytes:
                core.weights.hold(tile.weight_bytes, tasks)
            if tile.output_bytes:
                stores.append(self.spill_store(core, row, tile.output_bytes, tasks))
            earlier.append(tasks)
        return list(last.values()) + stores if tiles else after

    def _tile_loads(
        self,
        core: CoreState,
        tile: Tile,
        row: int,
        after: list[int],
        earlier: list[list[int]],
        tensor: str,
    ) -> list[int]:
        loads = []
        if tile.weight_bytes:
            task = core.load_weight(
                self.builder, row, tensor, tile.weight_offset, tile.weight_bytes
            )
            self.touch(task, core, tensor, self.builder.ops[row].layer)
            loads.append(task)
        if tile.input_bytes:
            room = earlier[-2] if len(earlier) > 1 else []  # two buffers
            loads.append(self.spill_load(core, row, tile.input_bytes, after + room))
        return loads

    def spill_load(self, core: CoreState, row: int, num_bytes: int, after: list[int]) -> int:
        return self.builder.load(
            core.core, row, core.memory_id, core.spill_address, num_bytes, after,
            engine=core.load_engine,
        )  # fmt: skip

    def spill_store(self, core: CoreState, row: int, num_bytes: int, after: list[int]) -> int:
        return self.builder.store(
            core.core, row, core.memory_id, core.spill_address, num_bytes, after,
            engine=core.store_engine,
        )  # fmt: skip


Emitter = Callable[[Emission, Part, Ranks], Ranks]
