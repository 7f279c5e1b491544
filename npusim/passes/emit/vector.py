"""Parts of vector work and gathers from a table → tasks on the vector unit and DMA engines."""

from npusim.passes.emit.alike import by_rank
from npusim.passes.emit.core_state import CoreState
from npusim.passes.emit.tasks import Emission, Ranks
from npusim.passes.partition import Part, shards
from npusim.passes.tile import Tile, bits_to_bytes, vector_cost
from npusim.program import VECTOR_UNIT
from npusim.units import ceil_div

MAX_PIECES = 16


def emit_vector(emission: Emission, part: Part, after: Ranks) -> Ranks:
    """A rank's share of the op on its vector unit, in pieces where operands stream from memory."""
    op, row = part.op, emission.op_row(part.op)

    def same(rank: int) -> tuple:
        spilled = emission.input_spilled(op, rank), emission.spilled[op.name][rank]
        return part.share[rank], spilled

    def emit(rank: int) -> list[int]:
        core = emission.cores[rank]
        tiles = _tiles(emission, part, rank, core)
        return emission.run_tiles(core, tiles, row, after[rank], first_unit=VECTOR_UNIT)

    return by_rank(emission, op.layer, after, same, emit)


def _tiles(emission: Emission, part: Part, rank: int, core: CoreState) -> list[Tile]:
    op = part.op
    numerator, denominator = part.share[rank]
    if not numerator:
        return []
    bits = core.cost.activation_bits
    loads, stores = emission.input_spilled(op, rank), emission.spilled[op.name][rank]
    read = bits_to_bytes(ceil_div(op.input_elements * numerator, denominator), bits)
    written = bits_to_bytes(ceil_div(op.output_elements * numerator, denominator), bits)
    streamed = read * loads + written * stores
    pieces = min(MAX_PIECES, max(1, ceil_div(streamed, core.buffers.activation_slot_bytes)))
    cycles, sram_bytes = vector_cost(op, numerator, denominator, core.cost)
    start = core.cost.start_cycles
    sizes = zip(
        shards(cycles - start, pieces),
        shards(sram_bytes, pieces),
        shards(read * loads, pieces),
        shards(written * stores, pieces),
        strict=True,
    )
    return [Tile(((c + start, sram, 0),), input_bytes=i, output_bytes=o) for c, sram, i, o in sizes]


def emit_embedding(emission: Emission, part: Part, after: Ranks) -> Ranks:
    """Loads the rows of the rank's tokens.

    Assumes rows that stand one after the other in the table at the spacing of evenly spread tokens.
    """
    op, row = part.op, emission.op_row(part.op)
    done: Ranks = []
    for rank, core in enumerate(emission.cores):
        rows, _, width = part.shapes[rank]
        tasks = after[rank]
        if rows and op.name in core.plan.weights:
            tasks = [_gather(emission, core, part, row, rows, width, after[rank])]
        if op.vector_ops:
            tasks = emission.run_tiles(
                core, _tiles(emission, part, rank, core), row, tasks, first_unit=VECTOR_UNIT
            )
        if tasks is after[rank]:  # the table is in the scratchpad: nothing that takes time
            tasks = [emission.builder.sync(core.core, row, after[rank])]
        done.append(tasks)
    return done


def _gather(
    emission: Emission,
    core: CoreState,
    part: Part,
    row: int,
    rows: int,
    width: int,
    after: list[int],
) -> int:
    region = core.plan.weights[part.op.name]
    row_bytes = bits_to_bytes(width, core.cost.weight_bits)
    table_rows = max(1, region.num_bytes // row_bytes)
    stride = row_bytes * max(1, table_rows // rows)
    if rows > table_rows:
        rows_bytes, stride, rows = row_bytes * rows, 0, 1  # repeated tokens: read the table once
        rows_bytes = min(rows_bytes, region.num_bytes)
        task = emission.builder.load(
            core.core, row, region.memory_id, region.address, rows_bytes, after,
            engine=core.load_engine,
        )  # fmt: skip
    else:
        task = emission.builder.load(
            core.core, row, region.memory_id, region.address, rows * row_bytes, after,
            engine=core.load_engine, row_bytes=row_bytes, stride_bytes=stride,
        )  # fmt: skip
    emission.touch(task, core, part.op.name, part.op.layer)
    return task
