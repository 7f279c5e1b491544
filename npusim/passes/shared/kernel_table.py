"""A group of ops and a chip → the task tables of its kernels, with addresses still open.

Tables depend on sizes and data types only, so that equal groups of many layers share theirs.
"""

from dataclasses import dataclass
from functools import lru_cache

from npusim.graph.ir import Op
from npusim.passes.shared.attention import (
    Attention,
    attention_of,
    attention_tiles,
    merged_bytes,
    split_of,
)
from npusim.passes.shared.chip import Chip
from npusim.passes.shared.fuse import PRODUCTS, Group
from npusim.passes.shared.gemm import SUM_BITS, Product, choose_cut, product_tiles
from npusim.passes.shared.rowwise import row_tiles
from npusim.passes.shared.stream import Table, joined, tile_table
from npusim.units import ceil_div

PIECE_ELEMENTS = 1024  # least work by element that is worth a core of its own
BY_ROWS = ("norm", "topk", "sample", "embedding")  # a row is not spread over cores


@dataclass(frozen=True)
class Kernel:
    """One launch. `suffix` tells a second kernel of a group; `bases`: what addresses of each slot
    of the table count from: a, b and out of every piece, each "weights", "kv", "in" or "out"."""

    suffix: str
    table: Table
    bases: tuple[str, ...]


def kernels_of(group: Group, chip: Chip) -> list[Kernel]:
    """The kernels of a group, in order."""
    if group.kind in PRODUCTS:
        return list(_product_kernels(_product_of(group.first, chip), chip))
    if group.kind == "qk":
        by_kind = {op.kind: op for op in group.ops}
        out = max(group.reads[:1] + group.writes, default=0)
        work = attention_of(
            by_kind["qk"], by_kind["softmax"], by_kind["av"], chip, is_cached(out, chip)
        )
        return list(_attention_kernels(work, chip))
    return [_row_kernel(group, chip)]


def is_cached(elements: int, chip: Chip) -> bool:
    """Whether an activation tensor stays in the cache between kernels."""
    return elements * chip.activation_bits // 8 <= chip.kept_bytes


def _product_of(op: Op, chip: Chip) -> Product:
    groups = op.expert_tokens if op.kind == "experts" else (op.m,)
    cached = is_cached(op.m * op.k, chip), is_cached(op.output_elements, chip)
    return Product(tuple(m for m in groups if m), op.k, op.n, *cached)


@lru_cache(maxsize=256)
def _product_kernels(product: Product, chip: Chip) -> tuple[Kernel, ...]:
    if not product.groups:
        return ()
    cut = choose_cut(product, chip)
    stages = chip.kernels.stages
    table = tile_table(product_tiles(product, cut, chip), stages)
    found = [Kernel("", table, ("in", "weights", "out"))]
    if cut.split > 1:
        outputs = sum(product.groups) * product.n
        read_bytes = outputs * cut.split * SUM_BITS // 8
        written_bytes = outputs * chip.activation_bits // 8
        found.append(_merge(chip, outputs, read_bytes, written_bytes, product.output_cached))
    return tuple(found)


def _merge(chip: Chip, outputs: int, read_bytes: int, written_bytes: int, cached: bool) -> Kernel:
    pieces = ceil_div(outputs, PIECE_ELEMENTS)
    cycles = chip.vector_cycles(read_bytes * 8 // SUM_BITS, 0)
    tiles = row_tiles(chip, pieces, read_bytes, 0, written_bytes, cached, cycles)
    return Kernel(".merge", tile_table(tiles, chip.kernels.stages), ("in", "in", "out"))


@lru_cache(maxsize=256)
def _attention_kernels(work: Attention, chip: Chip) -> tuple[Kernel, ...]:
    table = tile_table(attention_tiles(work, chip), chip.kernels.stages)
    found = [Kernel("", table, ("in", "kv", "out"))]
    split = split_of(work, chip)
    if split > 1:
        read_bytes, written_bytes = merged_bytes(work, split, chip)
        outputs = written_bytes * 8 // chip.activation_bits
        found.append(_merge(chip, outputs, read_bytes, written_bytes, work.activations_cached))
    return tuple(found)


def _row_kernel(group: Group, chip: Chip) -> Kernel:
    """Work by rows; new K and V, which are part of what it reads, go to memory."""
    first = group.first
    gathered = first.m * first.n if first.kind == "embedding" else 0
    cached_bytes = sum(e for e in group.reads if is_cached(e, chip)) * chip.activation_bits // 8
    loaded_bytes = sum(e for e in group.reads if not is_cached(e, chip)) * chip.activation_bits // 8
    loaded_bytes += gathered * chip.weight_bits // 8
    rows = [op.m for op in group.ops if op.kind in BY_ROWS]
    elements = max([*group.writes, *group.reads, group.kv_write])
    pieces = max(rows) if rows else ceil_div(elements, PIECE_ELEMENTS)
    vector = sum(op.vector_ops for op in group.ops)
    special = sum(op.sfu_ops for op in group.ops)
    return _row_table(
        chip, pieces, cached_bytes, loaded_bytes, sum(group.writes) * chip.activation_bits // 8,
        is_cached(max(group.writes, default=0), chip), chip.vector_cycles(vector, special),
        group.kv_write,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _row_table(
    chip: Chip,
    pieces: int,
    cached_bytes: int,
    loaded_bytes: int,
    written_bytes: int,
    out_cached: bool,
    cycles: int,
    kv_write: int,
) -> Kernel:
    stages, tables, bases = chip.kernels.stages, [], []
    if kv_write:
        kv_in, kv_out = (kv_write * b // 8 for b in (chip.activation_bits, chip.kv_bits))
        reads = (0, kv_in) if loaded_bytes >= kv_in else (kv_in, 0)  # from the cache, memory
        cached_bytes, loaded_bytes = max(0, cached_bytes - reads[0]), loaded_bytes - reads[1]
        written_bytes = max(0, written_bytes - kv_in // 2)  # K is turned on its way, V is not
        tiles = row_tiles(chip, ceil_div(kv_write, PIECE_ELEMENTS), *reads, kv_out, False)
        tables.append(tile_table(tiles, stages))
        bases += ["in", "in", "kv"]
    if cached_bytes or loaded_bytes or written_bytes:
        tiles = row_tiles(
            chip, pieces, cached_bytes, loaded_bytes, written_bytes, out_cached, cycles
        )
        tables.append(tile_table(tiles, stages))
        bases += ["in", "in", "out"]
    return Kernel("", joined(tables), tuple(bases))
