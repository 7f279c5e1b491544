"""qk, softmax and av of a layer → the tiles of one fused kernel, and the sums that it leaves.

A tile is a block of queries of one head on the keys it sees (FlashAttention-2, arXiv 2307.08691).
Where all queries of the heads that share a KV head fit one block, as in decode, they are one tile,
and the context is cut into parts so that all cores have work (Flash-Decoding); a second kernel
merges the parts.
"""

import heapq
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from npusim.graph.ir import Op
from npusim.passes.shared.chip import Chip
from npusim.passes.shared.gemm import MAX_CHUNKS, SUM_BITS
from npusim.passes.shared.stream import Operand, Tiles
from npusim.program import array_unit
from npusim.units import ceil_div

PART_ROWS = 256  # least part of a context worth a tile of its own
STATISTICS = 2  # running maximum and sum of a row


@dataclass(frozen=True)
class Attention:
    """Sizes of the fused kernel. `row_bits`: of a row of K and V of one KV head. `kv_cached`: the
    rows that this iteration made are still in the cache. `vector_ops`, `sfu_ops`: of all scored
    pairs."""

    slices: tuple[tuple[int, int, int], ...]
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    row_bits: int
    vector_ops: int
    sfu_ops: int
    kv_cached: bool
    activations_cached: bool

    @property
    def ratio(self) -> int:
        """Query heads that share a KV head."""
        return ceil_div(self.heads, self.kv_heads)

    @property
    def pairs(self) -> int:
        return sum(pairs for _, _, pairs in self.slices)


def attention_of(qk: Op, softmax: Op, av: Op, chip: Chip, cached: bool) -> Attention:
    """The three ops as one kernel; `cached`: q and the result lie in the cache."""
    attended = sum(rows for _, rows, _ in qk.slices)
    made = qk.input_elements - qk.m * qk.heads * qk.head_dim
    made += av.input_elements - av.elements
    stored = qk.kv_read_elements + av.kv_read_elements
    bits = stored * chip.kv_bits + made * chip.activation_bits
    kv_heads = max(qk.kv_heads, 1)
    new = sum(rows for rows, _, _ in qk.slices)
    row_bits = ceil_div(bits, attended * kv_heads)
    return Attention(
        qk.slices, qk.heads, kv_heads, qk.head_dim, av.value_dim, row_bits,
        softmax.vector_ops, softmax.sfu_ops,
        new * kv_heads * row_bits // 8 <= chip.kept_bytes, cached,
    )  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One tile: `rows` queries on `keys` rows of KV from `first_key` on, of which `fresh` were made
    in this iteration; `pairs` of them scored a head."""

    rows: int
    keys: int
    first_key: int
    fresh: int
    pairs: int
    sharer: int = 0
    sharers: int = 1


def split_of(work: Attention, chip: Chip) -> int:
    """Parts into which contexts are cut: as many as give no core more than two tiles."""
    if not all(_is_one_tile(work, new, chip) for new, _, _ in work.slices):
        return 1
    tiles = len(work.slices) * work.kv_heads
    longest = max(rows for _, rows, _ in work.slices)
    return max(1, min(2 * chip.num_cores // tiles, longest // PART_ROWS))


def _is_one_tile(work: Attention, new: int, chip: Chip) -> bool:
    return new * work.ratio <= chip.kernels.query_block


def blocks_of(work: Attention, piece: tuple[int, int, int], split: int, chip: Chip) -> list[Block]:
    """The tiles of one request and one KV head."""
    new, attended, pairs = piece
    if _is_one_tile(work, new, chip):
        edges = [attended * i // split for i in range(split + 1)]
        counted = [pairs * work.ratio * i // split for i in range(split + 1)]
        return [
            Block(new * work.ratio, b - a, a, min(new, b - a), d - c)
            for a, b, c, d in zip(edges, edges[1:], counted, counted[1:], strict=False)
            if b > a
        ]
    return _query_blocks(work, new, attended, pairs, chip.kernels.query_block)


def _query_blocks(work: Attention, new: int, attended: int, pairs: int, size: int) -> list[Block]:
    """Blocks of every query head, on the keys up to their last query, or on the window."""
    context, found = attended - new, []
    causal = pairs == new * context + new * (new + 1) // 2
    seen = ceil_div(pairs, new)
    for head in range(work.ratio):
        for first in range(0, new, size):
            last = min(first + size, new)
            keys = context + last if causal else min(attended, seen + last - first)
            counted = pairs * last // new - pairs * first // new
            if causal:
                counted = (last - first) * context + (last * (last + 1) - first * (first + 1)) // 2
            fresh = min(last, keys)
            # the last block of a head sees all keys: those of the heads bring them in turn
            sharer = head if last == new else -1
            found.append(Block(last - first, keys, 0, fresh, counted, sharer, work.ratio))
    return found


def attention_tiles(work: Attention, chip: Chip) -> Tiles:
    """The tiles of all requests and heads in order, each to the core that is free first; the
    longest first with `overlapped_softmax`.

    Assumes that masked pairs of a block are computed like the others.
    """
    split = split_of(work, chip)
    rows: list[tuple[Block, int]] = []
    start = 0
    for piece in work.slices:
        for _ in range(work.kv_heads):
            rows += [(block, start) for block in _cached_blocks(work, piece, split, chip)]
            start += piece[1]
    cycles = np.array([_block_cycles(work, block, chip) for block, _ in rows], np.int64)
    longest_first = chip.kernels.overlapped_softmax
    order = np.argsort(-cycles, kind="stable") if longest_first else np.arange(len(cycles))
    blocks, first_row = [rows[i][0] for i in order], np.array([rows[i][1] for i in order])
    return _tiles(work, blocks, first_row, cycles[order], split, chip)


@lru_cache(maxsize=1024)
def _cached_blocks(work, piece, split, chip) -> tuple[Block, ...]:
    return tuple(blocks_of(work, piece, split, chip))


@lru_cache(maxsize=1 << 14)
def _block_cycles(work: Attention, block: Block, chip: Chip) -> int:
    """Assumes that softmax and matrix products of a tile take turns, unless kernels say that they
    overlap."""
    matrix = chip.attention_cycles(block.rows, work.head_dim, block.keys)
    matrix += chip.attention_cycles(block.rows, block.keys, work.value_dim)
    scores = block.rows * block.keys
    total = max(1, work.pairs * work.heads)
    vector = chip.vector_cycles(
        ceil_div(work.vector_ops * scores, total), ceil_div(work.sfu_ops * scores, total)
    )
    work_cycles = max(matrix, vector) if chip.kernels.overlapped_softmax else matrix + vector
    return work_cycles + chip.attention_tile_cycles


def _tiles(work, blocks, first_row, cycles, split, chip: Chip) -> Tiles:
    field = {
        name: np.array([getattr(block, name) for block in blocks], np.int64)
        for name in ("rows", "keys", "first_key", "fresh", "pairs", "sharer", "sharers")
    }
    b_bytes = -(-field["keys"] * work.row_bits // 8)
    q_bytes = -(-field["rows"] * work.head_dim * chip.activation_bits // 8)
    chunks = min(MAX_CHUNKS, max(1, ceil_div(int(b_bytes.max()), chip.chunk_bytes)))
    chunks = min(chunks, int(b_bytes.min()), int(q_bytes.min()))
    out_bits = chip.activation_bits if split == 1 else SUM_BITS
    out_width = work.value_dim + (STATISTICS if split > 1 else 0)
    out_bytes = -(-field["rows"] * out_width * out_bits // 8)
    place = chip.cache_id if work.activations_cached else chip.hbm_id
    q = Operand(q_bytes, np.cumsum(q_bytes) - q_bytes, place)
    address = (first_row + field["first_key"]) * work.row_bits // 8
    kv = Operand(b_bytes, address, _kv_memory(work, field, chunks, chip))
    out = Operand(
        out_bytes, np.cumsum(out_bytes) - out_bytes, chip.cache_id if split > 1 else place
    )
    core = free_first(cycles, chip.num_cores)
    flops = 2 * (work.head_dim + work.value_dim) * field["pairs"]
    return Tiles(core, chunks, cycles, flops, array_unit(0), q, kv, out, chip.cache_stripes)


def _kv_memory(work: Attention, field, chunks: int, chip: Chip) -> np.ndarray:
    """[tile, chunk]: memory for rows of the context, by the tile whose turn it is; the cache for
    what another tile brings, and for rows of this iteration that are still there."""
    turn = np.arange(chunks) % field["sharers"][:, None] == field["sharer"][:, None]
    kept = field["fresh"] / field["keys"] if work.kv_cached else 0 * field["keys"]
    old = (np.arange(chunks) + 0.5) / chunks < 1 - kept[:, None]
    return np.where(turn & old, chip.hbm_id, chip.cache_id)


def free_first(cycles: np.ndarray, num_cores: int) -> np.ndarray:
    """The core of each tile, as a hardware scheduler deals them: to the core with least to do."""
    loads = [(0, core) for core in range(num_cores)]
    cores = np.zeros(len(cycles), np.int64)
    for index, cost in enumerate(cycles.tolist()):
        load, core = loads[0]
        cores[index] = core
        heapq.heapreplace(loads, (load + max(1, cost), core))
    return cores


def merged_bytes(work: Attention, split: int, chip: Chip) -> tuple[int, int]:
    """(read, written) by the kernel that merges the parts."""
    rows = sum(new for new, _, _ in work.slices) * work.heads
    read = split * rows * (work.value_dim + STATISTICS) * SUM_BITS // 8
    return read, rows * work.value_dim * chip.activation_bits // 8
