"""Work by rows or elements → the tiles of a kernel, equal ones, at most as many as cores."""

import numpy as np

from npusim.passes.shared.chip import Chip
from npusim.passes.shared.gemm import MAX_CHUNKS
from npusim.passes.shared.stream import Operand, Tiles
from npusim.program import VECTOR_UNIT
from npusim.units import ceil_div


def row_tiles(
    chip: Chip,
    pieces: int,
    cached_bytes: int,
    memory_bytes: int,
    out_bytes: int,
    out_cached: bool,
    cycles_of_all: int = 0,
) -> Tiles:
    """`pieces` may go to different cores. Bytes of all: read from the cache, from memory, written.
    `cycles_of_all`: of vector work, as if one core did it.

    Assumes that the weights of norms, a row each, cost nothing, and that rows are read once.
    """
    count = max(1, min(pieces, chip.num_cores))

    def operand(num_bytes: int, memory: int) -> Operand | None:
        if num_bytes < count:
            return None
        edges = num_bytes * np.arange(count + 1) // count
        return Operand(np.diff(edges), edges[:-1], memory)

    a, b = operand(cached_bytes, chip.cache_id), operand(memory_bytes, chip.hbm_id)
    most = max(int(x.num_bytes.max()) for x in (a, b) if x) if a or b else 1
    least = min(int(x.num_bytes.min()) for x in (a, b) if x) if a or b else 1
    chunks = max(1, min(MAX_CHUNKS, ceil_div(most, chip.chunk_bytes), least))
    return Tiles(
        core=np.arange(count),
        chunks=chunks,
        cycles=np.full(count, ceil_div(cycles_of_all, count), np.int64),
        flops=np.zeros(count, np.int64),
        unit=VECTOR_UNIT,
        a=a,
        b=b,
        out=operand(out_bytes, chip.cache_id if out_cached else chip.hbm_id),
        cache=chip.cache_stripes,
    )
