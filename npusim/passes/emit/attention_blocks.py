"""qk and av of a layer → Blocks, the pieces that one core's attention is done in, and their costs.

A request's attention is cut into blocks: its context into blocks of KV rows that load while the
previous one computes, its new tokens into blocks of queries with the keys up to their diagonal.
Assumes that query blocks skip what the causal mask hides beyond their last key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from npusim.graph.ir import Op
from npusim.passes.cut.heads import Heads
from npusim.passes.kv_cache import CacheShape, rank_bytes
from npusim.passes.partition import shards
from npusim.passes.tile import CoreCost, Costs, array_cost, faster, vector_gemm_cost
from npusim.units import ceil_div

QUERY_BLOCK = 256  # new tokens a block
MAX_BLOCKS = 8  # of queries
IN_WINDOW = 3  # blocks of context in the buffer: one loads, one is scored, one is summed
MAX_GROUPS = 16  # of requests, when there are many


@dataclass(frozen=True)
class Block:
    """`parts`: (queries, keys) of the GEMMs done in one go; `pairs`: their unmasked scores;
    `load_offset`, `load_bytes`: the cache bytes that they need."""

    parts: tuple[tuple[int, int], ...]
    pairs: int
    load_offset: int = 0
    load_bytes: int = 0


@lru_cache(maxsize=1024)
def rank_blocks(
    qk: Op,
    av: Op,
    heads: Heads,
    shape: CacheShape | None,
    rank: int,
    kv_bits: int,
    kv_window_bytes: int,
) -> tuple[Block, ...]:
    """Blocks of all requests on one rank, in order; small ones of many requests are joined."""
    blocks: list[Block] = []
    for index, (new, attended, pairs) in enumerate(qk.slices):
        offset, loaded, per_row = 0, 0, 0
        if shape is not None:
            read = qk.kv_read_elements + av.kv_read_elements
            per_row = read // sum(a for _, a, _ in qk.slices)
            before = shape.starts[index] * shape.row_elements
            offset = rank_bytes(shape, heads, rank, before, kv_bits)
        if shape is not None and per_row:
            loaded = rank_bytes(shape, heads, rank, (attended - new) * per_row, kv_bits)
        parts = heads.context[rank][1]
        blocks += _request_blocks(new, attended, pairs, parts, offset, loaded, kv_window_bytes)
    return tuple(_joined(blocks, kv_window_bytes // IN_WINDOW))


def _request_blocks(
    new: int, attended: int, pairs: int, parts: int, offset: int, loaded: int, window_bytes: int
) -> list[Block]:
    """Assumes that ranks which share a head take interleaved keys, so causal work is even."""
    context = attended - new
    found = []
    if context:
        count = _context_blocks(context, loaded, window_bytes)
        keys = shards(context + (new if new == 1 else 0), count)
        sizes, start = shards(loaded, count), offset
        for rows, size in zip(keys, sizes, strict=True):
            block = ((new, ceil_div(rows, parts)),)
            found.append(Block(block, new * rows, start, size))
            start += size
        if new == 1:
            return found
    seen = 0
    for queries in shards(new, min(MAX_BLOCKS, ceil_div(new, QUERY_BLOCK))):
        scored = queries * seen + queries * (queries + 1) // 2
        seen += queries
        # a sliding window sees fewer keys than all before it
        keys_seen = min(seen, ceil_div(pairs, new) + queries) if pairs < new * new // 2 else seen
        found.append(Block(((queries, ceil_div(keys_seen, parts)),), scored))
    return found


def _context_blocks(context: int, loaded: int, window_bytes: int) -> int:
    by_buffer = ceil_div(loaded, max(1, window_bytes // IN_WINDOW))
    by_size = min(4, ceil_div(loaded, 64 << 10))
    return max(1, min(context, max(by_buffer, by_size)))


def _joined(blocks: list[Block], limit_bytes: int) -> list[Block]:
    """Neighbouring blocks in groups, when there are many; a group's loads fit the buffer."""
    per_group = ceil_div(len(blocks), MAX_GROUPS)
    if per_group <= 1:
        return blocks
    groups: list[list[Block]] = [[]]
    for block in blocks:
        held = sum(b.load_bytes for b in groups[-1])
        if groups[-1] and (
            len(groups[-1]) == per_group or held + block.load_bytes > max(1, limit_bytes)
        ):
            groups.append([])
        groups[-1].append(block)
    return [_join(group) for group in groups]


def _join(group: list[Block]) -> Block:
    return Block(
        tuple(part for block in group for part in block.parts),
        sum(block.pairs for block in group),
        group[0].load_offset,
        sum(block.load_bytes for block in group),
    )


@lru_cache(maxsize=4096)
def block_costs(
    parts: tuple[tuple[int, int], ...],
    kind: str,
    dim: int,
    query_heads: int,
    kv_heads: int,
    cost: CoreCost,
) -> tuple[bool, Costs]:
    """Costs by unit and whether that is the vector unit. Query heads of one KV head share its
    keys: one GEMM of all their queries. KV heads are dealt over the arrays, or queries where
    heads are few."""
    group = ceil_div(query_heads, kv_heads)
    split = cost.count if kv_heads < cost.count else 1
    arrays = tuple(
        _heads_cost(array_cost, parts, kind, dim, group, split, heads, cost)
        for heads in (shards(kv_heads, cost.count) if split == 1 else (kv_heads,) * cost.count)
        if heads
    )
    vector = _heads_cost(vector_gemm_cost, parts, kind, dim, group, 1, kv_heads, cost)
    return faster(arrays, vector, cost)


def _heads_cost(
    unit_cost: Callable[..., tuple[int, int, int]],
    parts: tuple[tuple[int, int], ...],
    kind: str,
    dim: int,
    group: int,
    split: int,
    heads: int,
    cost: CoreCost,
) -> tuple[int, int, int]:
    """A block's GEMMs for `heads` KV heads on one unit, which does 1 / `split` of the queries."""
    total = [0, 0, 0]
    for queries, keys in parts:
        rows = ceil_div(group * queries, split)
        shape = (rows, dim, keys) if kind == "qk" else (rows, keys, dim)
        cycles, moved, flops = unit_cost(*shape, cost, True)
        total[0] += heads * (cycles - cost.start_cycles)
        total[1] += heads * moved
        total[2] += heads * flops
    return total[0] + cost.start_cycles, total[1], total[2]


def attention_cycles(qk: Op, av: Op, heads: Heads, rank: int, cost: CoreCost) -> int:
    """Cycles of a rank's scores and weighted sums, one block after another."""
    cycles = 0
    for block in rank_blocks(qk, av, heads, None, rank, cost.kv_bits, 0):
        for op in (qk, av):
            _, costs = block_costs(
                block.parts, op.kind, op.head_dim or op.value_dim, heads.query[rank],
                heads.kv[rank], cost,
            )  # fmt: skip
            cycles += max(c for c, _, _ in costs)
    return cycles
