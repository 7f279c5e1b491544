"""The Parts of qk, softmax and av of a layer → flash-style tasks: K/V blocks, scores on chip.

Each block is a qk on the arrays, a softmax on the vector unit and an av on the arrays. Assumes
that query blocks skip what the causal mask hides beyond their last key, that scores never leave the
core, and that the K and V rows made in this iteration are still in the scratchpad.
"""

from dataclasses import dataclass

from npusim.graph.ir import Op
from npusim.passes.cut.heads import Heads
from npusim.passes.emit.alike import by_rank
from npusim.passes.emit.attention_blocks import Block, block_costs, rank_blocks
from npusim.passes.emit.core_state import CoreState
from npusim.passes.emit.kv import load_rows, store_new_rows
from npusim.passes.emit.tasks import Emission, Ranks
from npusim.passes.partition import Part, shards
from npusim.passes.tile import bits_to_bytes, vector_cost
from npusim.program import COMPUTE, VECTOR_UNIT, array_unit
from npusim.units import ceil_div


def emit_nothing_yet(emission: Emission, part: Part, after: Ranks) -> Ranks:
    """qk and softmax are emitted together with av, which stands behind them."""
    return after


def emit_attention(emission: Emission, part: Part, after: Ranks) -> Ranks:
    """All blocks of all requests on every rank; new K and V rows are stored behind them."""
    av, layer = part.op, part.op.layer
    qk, softmax = (emission.layer_op(layer, kind) for kind in ("qk", "softmax"))
    rows = (emission.op_row(qk), emission.op_row(softmax), emission.op_row(av))
    heads, shape = part.heads, emission.caches[layer]
    assert heads is not None

    def same(rank: int) -> tuple:
        spilled = emission.input_spilled(qk, rank), emission.spilled[av.name][rank]
        return heads.query[rank], heads.kv[rank], heads.context[rank][1], spilled

    def emit(rank: int) -> list[int]:
        core = emission.cores[rank]
        blocks = rank_blocks(qk, av, heads, shape, rank, core.cost.kv_bits, core.kv.limit_bytes)
        work = _Work(emission, core, qk, softmax, av, heads, rank, rows)
        return _emit_blocks(work, blocks, after[rank])

    def store(rank: int) -> list[int]:
        store_new_rows(emission, part, rank, rows[0], after[rank])
        return []

    def store_all() -> None:
        by_rank(emission, layer, after, same, store)

    if shape is not None:
        emission.late.append(store_all)
    return by_rank(emission, layer, after, same, emit, ("kv",))


@dataclass(frozen=True)
class _Work:
    """One rank's attention: its ops, heads, and op rows (qk, softmax, av)."""

    emission: Emission
    core: CoreState
    qk: Op
    softmax: Op
    av: Op
    heads: Heads
    rank: int
    rows: tuple[int, int, int]

    @property
    def share(self) -> tuple[int, int]:
        _, parts = self.heads.context[self.rank]
        return self.heads.query[self.rank], self.heads.num_heads * parts


def _emit_blocks(work: _Work, blocks: tuple[Block, ...], after: list[int]) -> list[int]:
    """qk of block i + 1 stands before av of block i, so that arrays work while softmax does.
    Returns what consumers wait for: each unit's last av, and all stores of results."""
    edges = [0]
    for block in blocks:
        edges.append(edges[-1] + block.pairs)
    last: dict[int, int] = {}
    stores: list[int] = []
    done: list[int] = []
    scored: list[tuple[int, list[int]]] = []
    for index, block in enumerate(blocks):
        share = (edges[index], edges[index + 1], edges[-1])
        loads = _load_block(work, block) + _load_spilled(work, block, after, done)
        scores = _array_tasks(work, block, share, loads + after, 0)
        scored.append((index, [_softmax_task(work, share, list(scores.values()))]))
        if index:
            done = _weighted_sum(work, blocks, edges, *scored[index - 1], last, stores)
    if blocks:
        _weighted_sum(work, blocks, edges, *scored[-1], last, stores)
    return [*last.values(), *stores]


def _weighted_sum(
    work: _Work,
    blocks: tuple[Block, ...],
    edges: list[int],
    index: int,
    weights: list[int],
    last: dict[int, int],
    stores: list[int],
) -> list[int]:
    """av of block `index`, added to `last` by its units; its store, if any, to `stores`. Returns
    what ends with the block."""
    block, share = blocks[index], (edges[index], edges[index + 1], edges[-1])
    sums = _array_tasks(work, block, share, weights, 2)
    last.update(sums)
    tasks = list(sums.values())
    if block.load_bytes:
        work.core.kv.free_after(tasks)
    if work.emission.spilled[work.av.name][work.rank]:
        numerator, denominator = work.share
        elements = work.av.output_elements * numerator * (share[1] - share[0])
        size = bits_to_bytes(
            ceil_div(elements, denominator * share[2]), work.core.cost.activation_bits
        )
        stores.append(work.emission.spill_store(work.core, work.rows[2], size, tasks))
        return [*tasks, stores[-1]]
    return tasks


def _load_block(work: _Work, block: Block) -> list[int]:
    core = work.core
    if not block.load_bytes:
        return []
    waits = core.kv.reserve(block.load_bytes)
    core.kv.hold(block.load_bytes, [])
    return load_rows(
        work.emission, core, work.qk.layer, work.rows[0], block.load_offset, block.load_bytes, waits
    )


def _load_spilled(work: _Work, block: Block, after: list[int], room: list[int]) -> list[int]:
    """Queries, keys and values of a block that were made in this iteration and went to memory; the
    buffer of the block before the last is `room`."""
    if not work.emission.input_spilled(work.qk, work.rank) or block.load_bytes:
        return []
    query, kv = work.heads.query[work.rank], work.heads.kv[work.rank]
    width = work.qk.head_dim + work.av.value_dim
    elements = sum(q * query * work.qk.head_dim + k * kv * width for q, k in block.parts)
    size = bits_to_bytes(elements, work.core.cost.activation_bits)
    return [work.emission.spill_load(work.core, work.rows[0], size, after + room)]


def _array_tasks(
    work: _Work, block: Block, share: tuple[int, int, int], waits: list[int], which: int
) -> dict[int, int]:
    """qk (`which` 0) or av (2) of a block, by unit: one task an array, or one on the vector
    unit."""
    op = work.qk if which == 0 else work.av
    on_vector, costs = block_costs(
        block.parts, op.kind, op.head_dim or op.value_dim, work.heads.query[work.rank],
        work.heads.kv[work.rank], work.core.cost,
    )  # fmt: skip
    flops = shards(_part_of(op.flops, work.share, share), len(costs))
    first = VECTOR_UNIT if on_vector else array_unit(0)
    return {
        first + index: work.emission.builder.task(
            COMPUTE,
            work.core.core,
            first + index,
            work.rows[which],
            waits,
            cycles=cycles,
            num_bytes=sram_bytes,
            flops=flops[index],
        )
        for index, (cycles, sram_bytes, _) in enumerate(costs)
    }


def _part_of(amount: int, rank: tuple[int, int], share: tuple[int, int, int]) -> int:
    """A block's part of a rank's part of `amount`; the parts of all blocks sum to the rank's."""
    first, last, total = share
    own = amount * rank[0] // rank[1]
    return own * last // total - own * first // total


def _softmax_task(work: _Work, share: tuple[int, int, int], waits: list[int]) -> int:
    first, last, total = share
    numerator, denominator = work.share
    cycles, sram_bytes = vector_cost(
        work.softmax, numerator * (last - first), denominator * total, work.core.cost
    )
    return work.emission.builder.task(
        COMPUTE, work.core.core, VECTOR_UNIT, work.rows[1], waits,
        cycles=cycles, num_bytes=sram_bytes,
    )  # fmt: skip
