"""Parts of matmuls and experts → loads of weight tiles, array tasks, and rotating weight blocks."""

from collections.abc import Callable
from dataclasses import replace

from npusim.passes.emit.alike import by_rank
from npusim.passes.emit.core_state import CoreState
from npusim.passes.emit.kv import load_context
from npusim.passes.emit.tasks import Emission, Ranks
from npusim.passes.partition import Part, shards
from npusim.passes.tile import (
    CoreCost,
    Streams,
    Tile,
    array_cost,
    bits_to_bytes,
    faster,
    gemm_costs,
    tile_gemm,
    vector_gemm_cost,
)
from npusim.units import ceil_div

MAX_EXPERT_TASKS = 16


def emit_matmul(emission: Emission, part: Part, after: Ranks) -> Ranks:
    """Each rank's GEMM; with `part.ring` the weight blocks go round the ring."""
    if part.ring:
        return _emit_ring(emission, part, after)
    op, row = part.op, emission.op_row(part.op)

    def same(rank: int) -> tuple:
        held = (part.heads.kv[rank], part.heads.context[rank][1]) if part.heads else None
        return part.shapes[rank], part.weights[rank], _streams(emission, part, rank), held

    def emit(rank: int) -> list[int]:
        core, (m, k, n) = emission.cores[rank], part.shapes[rank]
        tiles = tile_gemm(
            m, k, n, core.cost, core.buffers, _streams(emission, part, rank),
            part.weights[rank] - k * n,
        )  # fmt: skip
        context: list[int] = []
        if op.kv_read_elements:  # MLA expanded: the latents of the context come from the cache
            context = load_context(emission, part, rank, row)
        done = emission.run_tiles(core, tiles, row, after[rank] + context, op.name)
        for _ in context:
            core.kv.free_after(done)
        return done

    buffers = ("weights", "kv") if op.kv_read_elements else ("weights",)
    return by_rank(emission, op.layer, after, same, emit, buffers)


def _streams(emission: Emission, part: Part, rank: int) -> Streams:
    name, core = part.op.name, emission.cores[rank]
    return Streams(
        weights=name in core.plan.weights,
        inputs=emission.input_spilled(part.op, rank),
        outputs=emission.spilled[name][rank],
    )


# ---- rotating weights ---------------------------------------------------------------------------


def _emit_ring(emission: Emission, part: Part, after: Ranks) -> Ranks:
    """Each rank's block goes once round its ring; a block too large for the weight buffer goes in
    several pieces, one after the other."""
    row = emission.op_row(part.op)
    rotate = emission.builder.op(
        f"{part.op.name}.rotate", "collective", part.op.layer, emission.phase
    )
    pieces = _num_pieces(emission, part)
    ring = _Ring(emission, part, row, rotate, pieces, after)
    for piece in range(pieces):
        ring.go_round(piece)
    return ring.done


def _num_pieces(emission: Emission, part: Part) -> int:
    largest = max(
        ceil_div(bits_to_bytes(size, core.cost.weight_bits), core.buffers.weight_slot_bytes)
        for size, core in zip(part.weights, emission.cores, strict=True)
    )
    return min(largest, max(1, min(part.blocks)))


class _Ring:
    """One matmul with rotating weights while it is emitted. In step s a rank computes with the
    block of the rank s places before it and hands it on. A rank posts the RECV of a block when it
    has computed with and sent on the block before the current one: two buffers. With
    `emission.phased` a rank does one thing at a time: it computes, then even places send and
    receive, odd places receive and send."""

    def __init__(
        self, emission: Emission, part: Part, row: int, rotate: int, pieces: int, after: Ranks
    ) -> None:
        self.emission, self.part, self.row, self.rotate = emission, part, row, rotate
        self.pieces, self.after = pieces, after
        self.done: Ranks = [list(tasks) for tasks in after]
        self.freed: Ranks = [[] for _ in emission.cores]
        self.place = {rank: place for ring in part.ring for place, rank in enumerate(ring)}

    def width(self, rank: int, step: int, piece: int) -> int:
        """Columns of n that a rank computes with in a step."""
        blocks = self.part.blocks
        return shards(blocks[(self.place[rank] - step) % len(blocks)], self.pieces)[piece]

    def num_bytes(self, rank: int, step: int, piece: int) -> int:
        elements = self.part.shapes[rank][1] * self.width(rank, step, piece)
        return bits_to_bytes(elements, self.emission.cores[rank].cost.weight_bits)

    def go_round(self, piece: int) -> None:
        """One piece of each rank's weight block goes round all ranks, which multiply by it."""
        ranks = range(len(self.emission.cores))
        own = [self._load(rank, piece) for rank in ranks]
        held = own
        for step in range(len(self.part.blocks)):
            arrived: Ranks = [[] for _ in ranks]
            sends: Ranks = [[] for _ in ranks]
            if self.emission.phased:
                computed = self._compute_all(step, piece, held, own)
                held = [h + c for h, c in zip(held, computed, strict=True)]
            if step < len(self.part.blocks) - 1:
                self._pass_on(step, piece, held, sends, arrived)
            if not self.emission.phased:
                computed = self._compute_all(step, piece, held, own)
            for rank in ranks:
                self.done[rank] = computed[rank] or self.done[rank]
                self.freed[rank] = computed[rank] + sends[rank]
                core = self.emission.cores[rank]
                if step == 0 and self.part.op.name in core.plan.weights:
                    core.weights.hold(self._loaded(rank, piece), self.freed[rank] or held[rank])
            held = arrived

    def _compute_all(self, step: int, piece: int, held: Ranks, own: Ranks) -> Ranks:
        return [self._compute(r, step, piece, held[r], own[r]) for r in range(len(held))]

    def _loaded(self, rank: int, piece: int) -> int:
        """Bytes of a piece of the rank's own block, the bias with the first one."""
        bias = self._bias(rank) if piece == 0 else 0
        elements = self.part.shapes[rank][1] * self.width(rank, 0, piece) + bias
        return bits_to_bytes(elements, self.emission.cores[rank].cost.weight_bits)

    def _bias(self, rank: int) -> int:
        held = self.part.shapes[rank][1] * self.part.blocks[self.place[rank]]
        return self.part.weights[rank] - held

    def _tiles(self, rank: int, step: int, piece: int, streams: Streams) -> tuple[Tile, ...]:
        core = self.emission.cores[rank]
        m, k, _ = self.part.shapes[rank]
        return tile_gemm(
            m, k, self.width(rank, step, piece), core.cost, core.buffers, streams,
            self._bias(rank) if piece == 0 and streams.weights else 0,
        )  # fmt: skip

    def _load(self, rank: int, piece: int) -> list[int]:
        """Loads of the tiles of the rank's own block, when there is room for all of it."""
        core, name = self.emission.cores[rank], self.part.op.name
        total = self._loaded(rank, piece)
        if name not in core.plan.weights or not total:
            return []
        region, builder = core.plan.weights[name], self.emission.builder
        address = region.address + sum(self._loaded(rank, earlier) for earlier in range(piece))
        waits = core.weights.reserve(total)
        loads = []
        for size in self._load_sizes(rank, piece, total):
            task = builder.load(
                core.core, self.row, region.memory_id, address, size, waits,
                engine=core.load_engine,
            )  # fmt: skip
            self.emission.touch(task, core, name, self.part.op.layer)
            address, waits = address + size, []  # the queue keeps them in order
            loads.append(task)
        return loads

    def _load_sizes(self, rank: int, piece: int, total: int) -> list[int]:
        """In tiles where nothing runs before, behind which the load could hide: smaller GEMMs take
        longer in all."""
        sizes = [tile.weight_bytes for tile in self._tiles(rank, 0, piece, Streams())]
        return [total] if self.after[rank] or sum(sizes) != total else sizes

    def _pass_on(self, step: int, piece: int, held: Ranks, sends: Ranks, arrived: Ranks) -> None:
        cores, phased = self.emission.cores, self.emission.phased
        for ring in self.part.ring:
            places = range(len(ring))
            for place in [*places[::2], *places[1::2]] if phased else places:
                rank, receiver = ring[place], ring[(place + 1) % len(ring)]
                num_bytes = self.num_bytes(rank, step, piece)
                if not num_bytes:
                    continue
                ready, room = held[rank], self.freed[receiver]
                if phased:
                    ready = ready + (arrived[rank] if place % 2 else [])
                    room = room + held[receiver] + sends[receiver]
                send, recv = self.emission.builder.message(
                    cores[rank].core, cores[receiver].core, self.rotate, num_bytes, ready, room
                )
                sends[rank].append(send)
                arrived[receiver].append(recv)

    def _compute(
        self, rank: int, step: int, piece: int, held: list[int], loads: list[int]
    ) -> list[int]:
        """The GEMM of a step; the rank's own block, when inputs do not stream, tile by tile as it
        is loaded."""
        core, after = self.emission.cores[rank], self.after[rank]
        streams = _streams(self.emission, self.part, rank)
        if step == 0 and len(loads) > 1 and not streams.inputs:
            tiles = self._tiles(rank, 0, piece, Streams(True, False, streams.outputs))
            loaded = [replace(tile, weight_bytes=0) for tile in tiles]
            return self.emission.run_tiles(core, loaded, self.row, after, ready=loads)
        tiles = self._tiles(rank, step, piece, Streams(False, streams.inputs, streams.outputs))
        return self.emission.run_tiles(core, tiles, self.row, held + after)


# ---- mixture of experts -------------------------------------------------------------------------


def emit_experts(emission: Emission, part: Part, after: Ranks) -> Ranks:
    """GEMMs of the rank's experts that have tokens; several experts share a task when there are
    many. Assumes that experts without tokens are not loaded."""
    op, row = part.op, emission.op_row(part.op)

    def same(rank: int) -> tuple:
        return part.shapes[rank], part.experts[rank], op.name in emission.cores[rank].plan.weights

    def emit(rank: int) -> list[int]:
        core = emission.cores[rank]
        tiles = _expert_tiles(part, rank, core, op.name in core.plan.weights)
        return emission.run_tiles(core, tiles, row, after[rank], op.name)

    return by_rank(emission, op.layer, after, same, emit, ("weights",))


def _expert_tiles(part: Part, rank: int, core: CoreState, streams: bool) -> list[Tile]:
    _, k, n = part.shapes[rank]
    active = [(i, tokens) for i, tokens in enumerate(part.experts[rank]) if tokens]
    if not active:
        return []
    expert_bytes = bits_to_bytes(k * n, core.cost.weight_bits)
    by_buffer = max(1, core.buffers.weight_slot_bytes // max(1, expert_bytes))
    per_task = max(1, min(by_buffer, -(-len(active) // MAX_EXPERT_TASKS)))
    tiles: list[Tile] = []
    for first in range(0, len(active), per_task):
        batch = active[first : first + per_task]
        if expert_bytes > core.buffers.weight_slot_bytes and streams:
            tiles += _cut_expert(batch[0], k, n, core, expert_bytes)
        else:
            tiles.append(_batch_tile(batch, k, n, core, expert_bytes if streams else 0))
    return tiles


def _cut_expert(
    expert: tuple[int, int], k: int, n: int, core: CoreState, expert_bytes: int
) -> list[Tile]:
    """One large expert in weight tiles."""
    index, tokens = expert
    tiles = tile_gemm(tokens, k, n, core.cost, core.buffers, Streams())
    base = index * expert_bytes
    return [replace(tile, weight_offset=base + tile.weight_offset) for tile in tiles]


def _batch_tile(
    batch: list[tuple[int, int]], k: int, n: int, core: CoreState, expert_bytes: int
) -> Tile:
    """Several experts in one task an array, each expert whole on one array.

    Assumes that experts of one load lie one after the other in memory.
    """
    if len(batch) == 1:
        on_vector, computes = gemm_costs(batch[0][1], k, n, core.cost)
    else:
        count = min(core.cost.count, len(batch))
        arrays = tuple(_together(array_cost, batch[a::count], k, n, core) for a in range(count))
        vector = _together(vector_gemm_cost, batch, k, n, core)
        on_vector, computes = faster(arrays, vector, core.cost)
    size, offset = expert_bytes * len(batch), batch[0][0] * expert_bytes
    return Tile(computes, size, offset, on_vector=on_vector)


def _together(
    unit_cost: Callable[[int, int, int, CoreCost], tuple[int, int, int]],
    batch: list[tuple[int, int]],
    k: int,
    n: int,
    core: CoreState,
) -> tuple[int, int, int]:
    """Assumes that one task runs several experts, with one start."""
    costs = [unit_cost(tokens, k, n, core.cost) for _, tokens in batch]
    cycles, sram_bytes, flops = (sum(column) for column in zip(*costs, strict=True))
    return cycles - (len(batch) - 1) * core.cost.start_cycles, sram_bytes, flops
