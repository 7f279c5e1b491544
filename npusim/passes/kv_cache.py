"""The ops of a layer → the shape of its KV cache: rows, elements a row, bytes on a rank.

The cache of a layer is one contiguous range a core, request after request, each with room for all
rows it attends to.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from npusim.graph.ir import Op
from npusim.passes.cut.heads import Heads
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

    @cached_property
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


def rank_bytes(shape: CacheShape, heads: Heads, rank: int, elements: int, kv_bits: int) -> int:
    """Bytes that `elements` of whole cache rows take on a rank: its KV heads, its context part."""
    _, parts = heads.context[rank]
    if not shape.latent:
        elements = elements * heads.kv[rank] // heads.num_kv_heads
    return ceil_div(ceil_div(elements, parts) * kv_bits, 8)
