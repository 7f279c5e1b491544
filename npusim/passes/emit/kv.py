"""The KV cache of a layer → loads of a request's context and stores of its new rows, on one core.

What the plan keeps in the scratchpad is the front part of the cache.
"""

from npusim.passes.emit.core_state import CoreState
from npusim.passes.emit.tasks import Emission
from npusim.passes.kv_cache import rank_bytes
from npusim.passes.partition import Part
from npusim.units import ceil_div


def load_rows(
    emission: Emission,
    core: CoreState,
    layer: int,
    row: int,
    offset: int,
    num_bytes: int,
    waits: list[int],
) -> list[int]:
    """Loads cache bytes [offset, offset + num_bytes) of a layer, as far as they lie in memory."""
    start = max(offset, core.kv_resident_bytes[layer])
    # rows are rounded up to bytes one request at a time, the whole cache once
    size = min(offset + num_bytes, core.kv_bytes[layer]) - start
    if size <= 0:
        return []
    task = emission.builder.load(
        core.core, row, core.kv_memory_id, core.kv_address[layer] + start, size, waits,
        engine=core.load_engine,
    )  # fmt: skip
    emission.touch(task, core, "", layer)
    return [task]


def load_context(emission: Emission, part: Part, rank: int, row: int) -> list[int]:
    """The latents of all requests' contexts, for MLA's expanded form.

    Assumes that those of one op find room together, even where they exceed the KV buffer.
    """
    op, core = part.op, emission.cores[rank]
    shape = emission.caches[op.layer]
    heads = part.heads
    assert heads is not None and shape is not None
    each = op.kv_read_elements // shape.rows
    loads: list[int] = []
    for start, (new, attended, _) in zip(shape.starts, shape.slices, strict=True):
        offset = rank_bytes(shape, heads, rank, start * shape.row_elements, core.cost.kv_bits)
        size = rank_bytes(shape, heads, rank, (attended - new) * each, core.cost.kv_bits)
        found = load_rows(emission, core, op.layer, row, offset, size, core.kv.reserve(size))
        if found:
            core.kv.hold(size, [])
        loads += found
    return loads


def store_new_rows(emission: Emission, part: Part, rank: int, row: int, after: list[int]) -> None:
    """Stores the new rows of every request, at the end of the layer.

    Assumes that they keep their place in the scratchpad until then, and that requests of
    different length write at the spacing of the first.
    """
    core, heads, op = emission.cores[rank], part.heads, part.op
    shape = emission.caches[op.layer]
    assert heads is not None and shape is not None
    bits = core.cost.kv_bits
    new, attended, _ = shape.slices[0]
    total = rank_bytes(
        shape, heads, rank, sum(s[0] for s in shape.slices) * shape.row_elements, bits
    )
    request = rank_bytes(shape, heads, rank, attended * shape.row_elements, bits)
    own = rank_bytes(shape, heads, rank, new * shape.row_elements, bits)
    resident = core.kv_resident_bytes[op.layer]
    start = rank_bytes(shape, heads, rank, shape.starts[0] * shape.row_elements, bits)
    everything = core.kv_bytes[op.layer]
    left = total * (everything - resident) // everything  # the rest stays in the scratchpad
    if left <= 0:
        return
    count = ceil_div(left, own)
    address = core.kv_address[op.layer] + max(resident, start + request - own)
    strided = count > 1 and resident == 0 and len(set(shape.slices)) == 1
    task = emission.builder.store(
        core.core, row, core.kv_memory_id, address, left, after, engine=core.store_engine,
        row_bytes=own if strided else 0, stride_bytes=request if strided else 0,
    )  # fmt: skip
    emission.touch(task, core, "", op.layer)
