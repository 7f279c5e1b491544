"""Flows of KV from core to core → messages in pieces that pass through windows at both ends.

A piece is LOAD of what is not resident, SEND, RECV, STORE of what is not resident there. Assumes
that a layer's cache lies head after head, an even fraction of each in the scratchpad, and that a
head which several ranks need is loaded for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from npusim.cost.paths import Grid
from npusim.passes.emit.core_state import Window
from npusim.passes.kv_flows import Flow, KvHome, KvRow, flows
from npusim.passes.move_engines import MoveEngines
from npusim.passes.stage import assign_stages
from npusim.program import ProgramBuilder
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import DTYPE_BITS, Dtypes

WINDOW_PARTS = 16  # of a scratchpad, as the plan has it for KV on its way
PIECES = 2  # of a window: one is on its way while the next is loaded


class Mover:
    """Appends the messages of flows; knows what windows hold and where memories are filled to."""

    def __init__(
        self,
        builder: ProgramBuilder,
        rows: Sequence[KvRow],
        source: KvHome,
        hardware: Hardware,
        dtypes: Dtypes,
        engines: MoveEngines,
    ) -> None:
        self.builder, self.source, self.engines = builder, source, engines
        self.position = {row.layer: index for index, row in enumerate(rows)}
        self.grid, self.bits = Grid(*hardware.grid), DTYPE_BITS[dtypes.kv]
        self.specs = hardware.cores()
        self.windows: dict[tuple[int, bool], Window] = {}  # by core, and whether it receives
        self.filled: dict[int, int] = {}
        self.ops: dict[int, int] = {}

    def op_row(self, row: KvRow) -> int:
        """The program's op of the row's layer."""
        if row.layer not in self.ops:
            name = f"layer{row.layer}.kv_transfer"
            self.ops[row.layer] = self.builder.op(name, "transfer", row.layer, "transfer")
        return self.ops[row.layer]

    def cores(self, row: KvRow, home: KvHome) -> tuple[int, ...]:
        """The cores of `home` that hold the row's layer."""
        stage, _ = _stage(len(self.position), len(home.groups), self.position[row.layer])
        return home.groups[stage]

    def flows(self, row: KvRow, tokens: int, destination: KvHome) -> tuple[Flow, ...]:
        """Who sends what of `tokens` tokens of the row."""
        src, dst = self.cores(row, self.source), self.cores(row, destination)
        return flows(row.shape, tokens, self.bits, src, dst, self.grid)

    def move(
        self,
        flow: Flow,
        row: KvRow,
        destination: KvHome,
        after: list[int],
        at_hand: bool = False,
    ) -> None:
        """One flow in pieces; `at_hand`: the source has all of it in its scratchpad. A core that is
        at both ends keeps what it has."""
        if flow.src == flow.dst:
            return
        here = 1.0 if at_hand else _resident(self.source, flow.src)
        kept = int(flow.num_bytes * here)
        wanted = int(flow.num_bytes * _resident(destination, flow.dst))
        first, size = self._first_byte(flow, row, here), self._piece_bytes(flow)
        for start in range(0, flow.num_bytes, size):
            end = min(start + size, flow.num_bytes)
            loaded, stored = (end - max(start, min(part, end)) for part in (kept, wanted))
            piece = _Piece(flow, self.op_row(row), end - start, loaded, stored)
            self._piece(piece, first + end - loaded - kept, destination, after)

    def _piece(self, piece: "_Piece", offset: int, destination: KvHome, after: list[int]) -> None:
        """LOAD from `offset` of the source's KV on, SEND, RECV, STORE; loads and stores as far as
        there are bytes for them."""
        flow, waits, room = piece.flow, list(after), list[int]()
        leaves, arrives = self._window(flow.src, False), self._window(flow.dst, True)
        if piece.loaded_bytes:
            waits.append(self._load(piece, offset, leaves.reserve(piece.loaded_bytes)))
        if piece.stored_bytes:
            room = arrives.reserve(piece.stored_bytes)
        send, recv = self.builder.message(
            flow.src, flow.dst, piece.op, piece.num_bytes, waits, room,
            engine=self._engine(flow.src, self.engines.send),
        )  # fmt: skip
        if piece.loaded_bytes:
            leaves.hold(piece.loaded_bytes, [send])
        if piece.stored_bytes:
            arrives.hold(piece.stored_bytes, [self._store(piece, destination, recv)])

    def _engine(self, core: int, engine: int) -> int:
        return min(engine, self.specs[core].dma.engines - 1)

    def _first_byte(self, flow: Flow, row: KvRow, resident: float) -> int:
        """Of what the flow takes from the source's memory, behind the layers before it."""
        num_stages = len(self.source.groups)
        _, before = _stage(len(self.position), num_stages, self.position[row.layer])
        layers = before * (flow.cache_bytes - int(flow.cache_bytes * resident))
        return layers + flow.offset_bytes - int(flow.offset_bytes * resident)

    def _piece_bytes(self, flow: Flow) -> int:
        return max(1, min(self._window_bytes(flow.src), self._window_bytes(flow.dst)) // PIECES)

    def _window_bytes(self, core: int) -> int:
        return self.specs[core].scratchpad.capacity_bytes // WINDOW_PARTS

    def _window(self, core: int, receives: bool) -> Window:
        return self.windows.setdefault((core, receives), Window(self._window_bytes(core)))

    def _load(self, piece: "_Piece", offset: int, waits: list[int]) -> int:
        core = piece.flow.src
        memory_id, address = _place(self.source, core)
        return self.builder.load(
            core, piece.op, memory_id, address + offset, piece.loaded_bytes, waits,
            engine=self._engine(core, self.engines.load),
        )  # fmt: skip

    def _store(self, piece: "_Piece", home: KvHome, recv: int) -> int:
        core, size = piece.flow.dst, piece.stored_bytes
        memory_id, address = _place(home, core)
        offset = self.filled.get(core, 0)
        self.filled[core] = offset + size
        return self.builder.store(
            core, piece.op, memory_id, address + offset, size, [recv],
            engine=self._engine(core, self.engines.store),
        )  # fmt: skip


@dataclass(frozen=True)
class _Piece:
    """What of a flow goes in one message, and how much of it is loaded and stored."""

    flow: Flow
    op: int
    num_bytes: int
    loaded_bytes: int
    stored_bytes: int


@lru_cache(maxsize=1024)
def _stage(num_layers: int, num_stages: int, index: int) -> tuple[int, int]:
    """The stage of a layer, and how many layers of it stand before."""
    stages = assign_stages(num_layers, num_stages)
    stage = next(i for i, layers in enumerate(stages) if index in layers)
    return stage, index - stages[stage].start


def _place(home: KvHome, core: int) -> tuple[int, int]:
    return next((memory_id, address) for c, memory_id, address in home.places if c == core)


def _resident(home: KvHome, core: int) -> float:
    """A core without memory has all of it in its scratchpad."""
    has_memory = any(c == core for c, _, _ in home.places)
    return home.resident_fraction if has_memory else 1.0
