"""A core's GEMM, its numbers and its buffers → Tiles: what to load, compute and store, in order.

Weights are cut so that a tile fits half of the weight buffer, so that the next one can load while
this one computes. Where activations do not fit the scratchpad they are streamed too, with the loop
order that moves fewer bytes.
"""

from dataclasses import dataclass
from functools import lru_cache

from npusim.cost.systolic import gemm_cycles, gemm_sram_bytes
from npusim.cost.vector import elementwise_cycles, vector_cycles
from npusim.graph.ir import Op
from npusim.passes.partition import shards
from npusim.spec.hardware import Core
from npusim.spec.scenario import DTYPE_BITS, Dtype, Dtypes
from npusim.units import ceil_div

MIN_TILES = 4  # enough that the first load, which nothing hides, is a small part
SMALL_BYTES = 64 << 10  # a weight smaller than this is not worth cutting

Costs = tuple[tuple[int, int, int], ...]  # (cycles, scratchpad bytes, flops) of each unit


@dataclass(frozen=True)
class CoreCost:
    """The numbers of a core and the data types that task costs depend on."""

    rows: int
    columns: int
    count: int
    dataflow: str
    fold_overlap: bool
    rate: float
    kv_rate: float
    lanes: int
    alus: int
    sfu_lanes: int
    port_bytes: int
    start_cycles: int
    activation_bits: int
    weight_bits: int
    kv_bits: int


def core_cost(core: Core, dtypes: Dtypes) -> CoreCost:
    """Assumes that the wider type of a GEMM's two operands sets the rate of its MACs."""
    arrays = core.arrays
    weights, kv = (_wider(dtypes.activations, t) for t in (dtypes.weights, dtypes.kv))
    return CoreCost(
        rows=arrays.rows,
        columns=arrays.columns,
        count=arrays.count,
        dataflow=arrays.dataflow,
        fold_overlap=arrays.fold_overlap,
        rate=arrays.rate.get(weights, 1.0),
        kv_rate=arrays.rate.get(kv, 1.0),
        lanes=core.vector.lanes,
        alus=core.vector.alus_per_lane,
        sfu_lanes=core.sfu.lanes,
        port_bytes=core.scratchpad.bytes_per_cycle,
        start_cycles=core.task_start_cycles,
        activation_bits=DTYPE_BITS[dtypes.activations],
        weight_bits=DTYPE_BITS[dtypes.weights],
        kv_bits=DTYPE_BITS[dtypes.kv],
    )


def _wider(first: Dtype, second: Dtype) -> Dtype:
    return first if DTYPE_BITS[first] >= DTYPE_BITS[second] else second


def bits_to_bytes(elements: int, bits: int) -> int:
    return ceil_div(elements * bits, 8)


@dataclass(frozen=True)
class Tile:
    """One step of a GEMM. Bytes that are 0 need no task. `computes`: (cycles, scratchpad bytes,
    flops) of each array that works on it, or of the vector unit when `on_vector`;
    `weight_offset` counts from the tensor's first byte."""

    computes: tuple[tuple[int, int, int], ...]
    weight_bytes: int = 0
    weight_offset: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    on_vector: bool = False


@dataclass(frozen=True)
class Buffers:
    """Bytes a core may use: `weight_slot_bytes` for one weight tile (there are two), and
    `activation_slot_bytes` for one streamed piece of activations."""

    weight_slot_bytes: int
    activation_slot_bytes: int


@dataclass(frozen=True)
class Streams:
    """What of a GEMM is not in the scratchpad and streams from or to memory."""

    weights: bool = True
    inputs: bool = False
    outputs: bool = False


@lru_cache(maxsize=4096)
def tile_gemm(
    m: int, k: int, n: int, cost: CoreCost, buffers: Buffers, streams: Streams, extra: int = 0
) -> tuple[Tile, ...]:
    """Tiles of [m, k] @ [k, n] on one core, `extra` bias elements in the first tile.

    Every weight is loaded once, unless activations stream and loading weights again for each piece
    of them moves fewer bytes. Flops sum to 2mkn. No tiles when m, k or n is 0.
    """
    if not (m and k and n):
        return ()
    weight_bytes = bits_to_bytes(k * n, cost.weight_bits)
    input_bytes = bits_to_bytes(m * k, cost.activation_bits)
    pieces = _pieces(m, input_bytes, weight_bytes, buffers, streams)
    tiles: list[Tile] = []
    for piece in shards(m, pieces):
        tiles += _one_piece(piece, k, n, cost, buffers, streams, extra, whole=pieces > 1)
    return tuple(tiles)


def _pieces(m: int, input_bytes: int, weight_bytes: int, buffers: Buffers, streams: Streams) -> int:
    """Pieces of m when rows are the outer loop; 1 when streaming inputs a tile moves less."""
    if not streams.inputs:
        return 1
    pieces = min(m, ceil_div(input_bytes, buffers.activation_slot_bytes))
    loaded = weight_bytes if streams.weights else 0
    num_tiles = ceil_div(weight_bytes, buffers.weight_slot_bytes)
    rows_outer = pieces * loaded + input_bytes
    weights_outer = loaded + num_tiles * input_bytes
    return pieces if rows_outer <= weights_outer else 1


def _one_piece(
    m: int,
    k: int,
    n: int,
    cost: CoreCost,
    buffers: Buffers,
    streams: Streams,
    extra: int,
    whole: bool,
) -> list[Tile]:
    """Weight tiles for `m` rows; `whole`: the input piece is loaded once, with the first tile."""
    cuts = _weight_cuts(k, n, cost, buffers, streams)
    input_bytes = bits_to_bytes(m * k, cost.activation_bits)
    tiles: list[Tile] = []
    offset, depths_done = 0, 0
    for (depth, width), (on_vector, computes) in zip(cuts, _in_a_row(m, cuts, cost), strict=True):
        size = bits_to_bytes(depth * width + (extra if not tiles else 0), cost.weight_bits)
        first = not tiles
        loads_input = streams.inputs and (first or not whole)
        depths_done += depth
        done = depth == k or depths_done == k  # sums over k are complete
        out = bits_to_bytes(m * width, cost.activation_bits) if done else 0
        tiles.append(
            Tile(
                computes=computes,
                on_vector=on_vector,
                weight_bytes=size if streams.weights else 0,
                weight_offset=offset,
                input_bytes=input_bytes * depth // k
                if loads_input and not whole
                else input_bytes * loads_input,
                output_bytes=out if streams.outputs else 0,
            )
        )
        offset += size
    return tiles


def _in_a_row(m: int, cuts: list[tuple[int, int]], cost: CoreCost) -> list[tuple[bool, Costs]]:
    """Whether tiles that follow one another run on the vector unit, all of them or none, and their
    costs. With fold overlap an array pays fill and drain only in its last tile. Assumes that the
    next tile's weights are there when a tile's stream ends."""
    arrays = [array_costs(m, depth, width, cost) for depth, width in cuts]
    for i, (depth, width) in enumerate(cuts[:-1]):
        if len(arrays[i]) <= len(arrays[i + 1]):
            arrays[i] = array_costs(m, depth, width, cost, followed=True)
    vector = [(vector_gemm_cost(m, depth, width, cost),) for depth, width in cuts]
    array_time, vector_time = (sum(_time(c, cost) for c in costs) for costs in (arrays, vector))
    on_vector = vector_time < array_time
    return [(on_vector, costs) for costs in (vector if on_vector else arrays)]


def _time(costs: Costs, cost: CoreCost) -> int:
    """Cycles until units side by side are done, each with its scratchpad traffic."""
    cycles = max(cycles for cycles, _, _ in costs)
    return max(cycles, ceil_div(max(moved for _, moved, _ in costs), cost.port_bytes))


def _weight_cuts(
    k: int, n: int, cost: CoreCost, buffers: Buffers, streams: Streams
) -> list[tuple[int, int]]:
    """(depth, width) of each weight tile: n is cut where it has enough folds, else k."""
    weight_bytes = bits_to_bytes(k * n, cost.weight_bits)
    if not streams.weights:
        return [(k, n)]
    wanted = max(
        ceil_div(weight_bytes, buffers.weight_slot_bytes),
        MIN_TILES if weight_bytes > SMALL_BYTES else 1,
    )
    column_folds, row_folds = ceil_div(n, cost.columns), ceil_div(k, cost.rows)
    if column_folds >= wanted or column_folds >= row_folds:
        return [(k, w) for w in _in_folds(n, min(wanted, n), cost.columns)]
    return [(d, n) for d in _in_folds(k, min(wanted, k), cost.rows)]


def _in_folds(total: int, parts: int, fold: int) -> list[int]:
    """`total` in `parts` pieces that are whole folds, as far as there are that many folds."""
    folds = ceil_div(total, fold)
    if folds < parts:
        return list(shards(total, parts))
    sizes = [size * fold for size in shards(folds, parts)]
    sizes[-1] -= folds * fold - total
    return sizes


def gemm_costs(m: int, k: int, n: int, cost: CoreCost, kv: bool = False) -> tuple[bool, Costs]:
    """Whether a GEMM runs on the vector unit, and its costs on the units that do it: the arrays, or
    the vector unit where that is faster, as with the few rows of a decode step (the rule of the
    multi-core NPU study, arXiv 2510.05632: 2mkn / (lanes * units) cycles)."""
    return faster(array_costs(m, k, n, cost, kv), vector_gemm_cost(m, k, n, cost, kv), cost)


def faster(arrays: Costs, vector: tuple[int, int, int], cost: CoreCost) -> tuple[bool, Costs]:
    """The arrays' costs or the vector unit's, whichever takes less time with its scratchpad
    traffic; the arrays' on a tie."""
    on_vector = _time((vector,), cost) < _time(arrays, cost)
    return on_vector, (vector,) if on_vector else arrays


def vector_gemm_cost(
    m: int, k: int, n: int, cost: CoreCost, kv: bool = False
) -> tuple[int, int, int]:
    """(cycles, scratchpad bytes, flops) on the vector unit. Assumes that every operand is read
    once: few rows stay in registers while the weights pass."""
    bits = cost.kv_bits if kv else cost.weight_bits
    moved = bits_to_bytes(k * n, bits) + bits_to_bytes(m * (k + n), cost.activation_bits)
    cycles = vector_cycles(2 * m * k * n, cost.lanes, cost.alus)
    return cycles + cost.start_cycles, moved, 2 * m * k * n


@lru_cache(maxsize=8192)
def array_costs(
    m: int, k: int, n: int, cost: CoreCost, kv: bool = False, followed: bool = False
) -> Costs:
    """(cycles, scratchpad bytes, flops) of a GEMM on each array that gets a share of it;
    `followed`: another one comes right behind it.

    n is cut over the arrays in whole folds, or m where that is faster.
    """
    if cost.count == 1:
        return (array_cost(m, k, n, cost, kv, followed),)
    by_columns = [w for w in _spread_folds(n, cost.count, cost.columns) if w]
    by_rows = [r for r in shards(m, cost.count) if r]
    options = (
        tuple(array_cost(m, k, width, cost, kv, followed) for width in by_columns),
        tuple(array_cost(rows, k, n, cost, kv, followed) for rows in by_rows),
    )
    return min(options, key=lambda costs: max(cycles for cycles, _, _ in costs))


def _spread_folds(total: int, parts: int, fold: int) -> list[int]:
    sizes = [size * fold for size in shards(ceil_div(total, fold), parts)]
    last = max(i for i, size in enumerate(sizes) if size)
    sizes[last] -= ceil_div(total, fold) * fold - total
    return sizes


def array_cost(
    m: int, k: int, n: int, cost: CoreCost, kv: bool = False, followed: bool = False
) -> tuple[int, int, int]:
    """(cycles, scratchpad bytes, flops) of a GEMM on one array; `kv`: the weights are K or V."""
    rows, columns = cost.rows, cost.columns
    rate, bits = (cost.kv_rate, cost.kv_bits) if kv else (cost.rate, cost.weight_bits)
    cycles = gemm_cycles(m, k, n, rows, columns, cost.dataflow, cost.fold_overlap, rate, followed)
    in_bytes = cost.activation_bits / 8
    sram_bytes = gemm_sram_bytes(
        m, k, n, rows, columns, cost.dataflow, in_bytes, bits / 8, in_bytes
    )
    return cycles + cost.start_cycles, sram_bytes, 2 * m * k * n


def vector_cost(op: Op, numerator: int, denominator: int, cost: CoreCost) -> tuple[int, int]:
    """(cycles, scratchpad bytes) of a rank's share of an op on the vector unit; the SFU works
    beside it. Operands are read and results written once."""
    vector_ops = ceil_div(op.vector_ops * numerator, denominator)
    sfu_ops = ceil_div(op.sfu_ops * numerator, denominator)
    cycles = elementwise_cycles(vector_ops, sfu_ops, cost.lanes, cost.alus, cost.sfu_lanes)
    elements = ceil_div((op.input_elements + op.output_elements) * numerator, denominator)
    return cycles + cost.start_cycles, bits_to_bytes(elements, cost.activation_bits)
