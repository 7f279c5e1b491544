"""What emission knows of a core while it writes the core's tasks: costs, plan, buffers in use."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from npusim.passes.plan import CorePlan
from npusim.passes.tile import Buffers, CoreCost
from npusim.program import ProgramBuilder


@dataclass
class Window:
    """A buffer of `limit_bytes` that loads fill and computations free, first in, first out."""

    limit_bytes: int
    used_bytes: int = 0
    held: deque[tuple[int, list[int]]] = field(default_factory=deque)

    def reserve(self, num_bytes: int) -> list[int]:
        """Tasks that must end before `num_bytes` more find room."""
        waits: list[int] = []
        while self.held and self.used_bytes + num_bytes > self.limit_bytes:
            size, tasks = self.held.popleft()
            self.used_bytes -= size
            waits += tasks
        return waits

    def hold(self, num_bytes: int, tasks: list[int]) -> None:
        """`num_bytes` are in use until `tasks` have ended."""
        self.used_bytes += num_bytes
        self.held.append((num_bytes, tasks))

    def free_after(self, tasks: list[int]) -> None:
        """The oldest bytes held for tasks that were not known yet are in use until `tasks` end."""
        next((own for _, own in self.held if not own), []).extend(tasks)

    def shift(self, num_tasks: int) -> None:
        """The same state, `num_tasks` rows later in the program."""
        self.held = deque((size, [t + num_tasks for t in tasks]) for size, tasks in self.held)


class Touch(NamedTuple):
    """A load or store of weights or KV: its task, its core, the tensor's name ("" for the KV cache)
    and the layer."""

    task: int
    core: int
    tensor: str
    layer: int


@dataclass
class CoreState:
    """One core during emission. By layer: `kv_address`, where the KV cache starts (as if all of it
    lay in memory), `kv_resident_bytes`, how much is in the scratchpad, `kv_bytes`, its size."""

    core: int
    cost: CoreCost
    plan: CorePlan
    buffers: Buffers
    weights: Window
    kv: Window
    memory_id: int
    spill_address: int
    spill_limit_bytes: int
    num_engines: int
    kv_address: dict[int, int]
    kv_resident_bytes: dict[int, int]
    kv_bytes: dict[int, int]
    kv_memory_id: int

    @property
    def load_engine(self) -> int:
        return min(1, self.num_engines - 1)

    @property
    def store_engine(self) -> int:
        """Assumes stores on an engine of their own from three engines on, so that a store that
        waits for its result does not hold up the loads behind it."""
        return min(2, self.num_engines - 1)

    def load_weight(
        self, builder: ProgramBuilder, op_row: int, tensor: str, offset: int, num_bytes: int
    ) -> int:
        """Loads a weight tile as soon as the weight buffer has room for it."""
        region = self.plan.weights[tensor]
        return builder.load(
            self.core,
            op_row,
            region.memory_id,
            region.address + offset,
            num_bytes,
            self.weights.reserve(num_bytes),
            engine=self.load_engine,
        )
