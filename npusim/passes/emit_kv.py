"""The KV cache of a layer → loads of a request's context and stores of its new rows, on one core.

The cache of a layer is one contiguous range a core, request after request, each with room for all
rows it attends to; what the plan keeps in the scratchpad is its front part.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from npusim.graph.ir import Op
from npusim.passes.core_state import CoreState
from npusim.passes.emit import Emission
from npusim.passes.heads import Heads
from npusim.passes.partition import Part
from npusim.units import ceil_div

LATENT_ROLES = ("kv_down",)  # one latent for all heads, held by every rank


@dataclass(frozen=True)
class CacheShape:
    """A layer's cache: elements written a token, its requests, the row at which each one's context
    starts, and whether heads divide a row."""

    row_elements: int
    slices: tuple[tuple[int, int, int], ...]
    starts: tuple[int, ...]
    latent: bool

    @property
    def rows(self) -> int:
        return sum(attended for _, attended, _ in self.slices)


def cache_shape(ops: list[Op], starts: tuple[int, ...] = ()) -> CacheShape | None:
    """The cache of the layer that `ops` make up; None when it has no attention. `starts`: of a part
    of a batch, whose requests have places of their own in the whole batch's cache."""
    qk = next((op for op in ops if op.kind == "qk"), None)
    writers = [op for op in ops if op.kv_write_elements]
    if qk is None or not writers:
        return None
    tokens = sum(new for new, _, _ in qk.slices)
    elements = sum(op.kv_write_elements for op in writers) // tokens
    latent = any(op.role in LATENT_ROLES for op in writers)
    rows = accumulate((attended for _, attended, _ in qk.slices[:-1]), initial=0)
    return CacheShape(elements, qk.slices, starts or tuple(rows), latent)


@lru_cache(maxsize=4096)
def rank_bytes(shape: CacheShape, heads: Heads, rank: int, elements: int, kv_bits: int) -> int:
    """Bytes that `elements` of whole cache rows take on a rank: its KV heads, its context part."""
    _, parts = heads.context[rank]
    if not shape.latent:
        elements = elements * heads.kv[rank] // heads.num_kv_heads
    return ceil_div(ceil_div(elements, parts) * kv_bits, 8)


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
    """The latents of all requests' contexts, for MLA's expanded form."""
    op, core = part.op, emission.cores[rank]
    shape = emission.caches[op.layer]
    heads = part.heads
    assert heads is not None and shape is not None
    each = op.kv_read_elements // shape.rows
    loads: list[int] = []
    for start, (new, attended, _) in zip(shape.starts, shape.slices, strict=True):
        offset = rank_bytes(shape, heads, rank, start * shape.row_elements, core.cost.kv_bits)
        size = rank_bytes(shape, heads, rank, (attended - new) * each, core.cost.kv_bits)
        loads += load_rows(emission, core, op.layer, row, offset, size, [])
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
