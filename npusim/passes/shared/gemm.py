"""Products with weights → the tiles of a kernel: which tile, which core, what from which memory.

Tiles go in bands of m whose input panels stay in the cache; in a band m runs fastest, so that the
tiles of one column of weights stand next to one another. A panel comes from memory once a band, and
from the cache for the other tiles that use it.

Assumes that the tiles of a panel each bring a part of it and find the rest in the cache, that
panels lie contiguously, that what streams through leaves half of the cache to what is reused, that
biases cost nothing, and that a tile goes in MAX_CHUNKS steps at most: those of a long k are larger
than `chunk_kib`, and `stages` of them may be more than a core holds (not checked), which hides
latency better than a real pipeline of small steps would.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from npusim.passes.shared.chip import Chip
from npusim.passes.shared.stream import Operand, Tiles
from npusim.program import array_unit
from npusim.units import ceil_div

MAX_CHUNKS = 8  # enough steps a tile that the first load, which nothing hides, is a small part
ENOUGH = 1.03  # a third fewer tasks for 1 % of a prefill than with 1.02
SUM_BITS = 32  # partial sums


@dataclass(frozen=True)
class Product:
    """[m, k] @ [k, n] for each of `groups` (its m); all n and k alike, weights of their own.
    `input_cached`, `output_cached`: those activations lie in the cache."""

    groups: tuple[int, ...]
    k: int
    n: int
    input_cached: bool = True
    output_cached: bool = True


@dataclass(frozen=True)
class Cut:
    """Output tiles of `rows` x `columns`, their k in `split` parts, `band` tiles of m in a band."""

    rows: int
    columns: int
    split: int
    band: int


@lru_cache(maxsize=4096)
def choose_cut(product: Product, chip: Chip) -> Cut:
    """The first cut of the file's list whose estimated time is within ENOUGH of the least: large
    tiles, which move fewer bytes, stand first there."""
    cuts = []
    for rows, columns in chip.kernels.tiles:
        rows, columns = min(rows, max(product.groups)), min(columns, product.n)
        for exponent in range(chip.kernels.max_split_k.bit_length()):
            split = 1 << exponent
            if split == 1 or product.k // split >= chip.kernels.mma[2] * MAX_CHUNKS:
                cuts.append(Cut(rows, columns, split, _band(product, rows, chip)))
    costs = [estimated_cycles(product, cut, chip) for cut in cuts]
    return next(c for c, cost in zip(cuts, costs, strict=True) if cost <= ENOUGH * min(costs))


def _band(product: Product, rows: int, chip: Chip) -> int:
    panel = max(1, rows * product.k * chip.activation_bits // 8)
    return max(1, min(chip.kept_bytes // panel, ceil_div(max(product.groups), rows)))


def estimated_cycles(product: Product, cut: Cut, chip: Chip) -> float:
    """Cycles by the slowest of matrix units, ports, cache and memory, a tile's first load and last
    compute, which nothing hides, and the second kernel that sums the parts of k."""
    tiles_m = sum(ceil_div(m, cut.rows) for m in product.groups)
    tiles = tiles_m * ceil_div(product.n, cut.columns) * cut.split
    waves, depth = ceil_div(tiles, chip.num_cores), ceil_div(product.k, cut.split)
    bits = cut.rows * chip.activation_bits + cut.columns * chip.weight_bits
    panels = depth * bits // 8
    tile_cycles = chip.gemm_cycles(cut.rows, depth, cut.columns)
    computed, ported = waves * tile_cycles, waves * panels / chip.port_bytes
    chunks = max(1, min(MAX_CHUNKS, ceil_div(panels, chip.chunk_bytes)))
    hidden_by_none = (tile_cycles + panels / chip.port_bytes) / chunks
    cached = tiles * panels / chip.bytes_per_cycle(chip.cache)
    bands = max(1, ceil_div(ceil_div(max(product.groups), cut.rows), cut.band))
    weights = bands * len(product.groups) * product.k * product.n * chip.weight_bits / 8
    inputs = (
        0 if product.input_cached else sum(product.groups) * product.k * chip.activation_bits / 8
    )
    loaded = (weights + inputs) / chip.bytes_per_cycle(chip.hbm)
    slowest = max(computed, ported, cached, loaded)
    return slowest + hidden_by_none + _merge_cycles(product, cut, chip)


def _merge_cycles(product: Product, cut: Cut, chip: Chip) -> float:
    if cut.split == 1:
        return 0.0
    sums = sum(product.groups) * product.n * SUM_BITS // 8
    return chip.start_cycles + 2 * cut.split * sums / chip.bytes_per_cycle(chip.cache)


def product_tiles(product: Product, cut: Cut, chip: Chip) -> Tiles:
    """The tiles of a product, those of one after another group."""
    at = _sides(product, cut)
    a_bits, w_bits = chip.activation_bits, chip.weight_bits
    a_bytes = -(-at.rows * at.depth * a_bits // 8)
    b_bytes = -(-at.columns * at.depth * w_bits // 8)
    chunks = min(MAX_CHUNKS, max(1, ceil_div(int((a_bytes + b_bytes).max()), chip.chunk_bytes)))
    chunks = min(chunks, int(a_bytes.min()), int(b_bytes.min()))
    a_first = (at.first_row * product.k + at.first_k * at.rows) * a_bits // 8
    a = Operand(a_bytes, a_first, chip.cache_id)
    if not product.input_cached:
        a.memory = _first_touch(at.column, ceil_div(product.n, cut.columns), chunks, chip)
    b_first = at.group * product.k * product.n + at.column * cut.columns * product.k
    b_first = (b_first + at.first_k * at.columns) * w_bits // 8
    sharers = np.minimum(cut.band, at.tiles_m - at.row // cut.band * cut.band)
    b = Operand(b_bytes, b_first, _first_touch(at.row % cut.band, sharers, chunks, chip))
    return Tiles(
        core=np.arange(len(at.rows)) % chip.num_cores,
        chunks=chunks,
        cycles=_cycles(at.rows, at.depth, at.columns, chip),
        flops=2 * at.rows * at.depth * at.columns,
        unit=array_unit(0),
        a=a,
        b=b,
        out=_output(product, cut, at, chip),
        cache=chip.cache_stripes,
    )


class _Sides(NamedTuple):
    """By tile: its group and place, its sides, and where they begin in the group's product (rows:
    in those of all groups)."""

    group: np.ndarray
    row: np.ndarray
    column: np.ndarray
    part: np.ndarray
    tiles_m: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    depth: np.ndarray
    first_row: np.ndarray
    first_k: np.ndarray


def _sides(product: Product, cut: Cut) -> _Sides:
    sizes = np.array([m for m in product.groups if m])
    places = [_places(int(m), product, cut) for m in sizes]
    group = np.repeat(np.arange(len(places)), [len(p) for p in places])
    row, column, part = np.concatenate(places).T
    edges = product.k * np.arange(cut.split + 1) // cut.split
    return _Sides(
        group,
        row,
        column,
        part,
        tiles_m=-(-sizes[group] // cut.rows),
        rows=np.minimum(cut.rows, sizes[group] - row * cut.rows),
        columns=np.minimum(cut.columns, product.n - column * cut.columns),
        depth=np.diff(edges)[part],
        first_row=(np.cumsum(sizes) - sizes)[group] + row * cut.rows,
        first_k=edges[part],
    )


def _output(product: Product, cut: Cut, at: _Sides, chip: Chip) -> Operand:
    """Tiles of the result, or of partial sums, which stay in the cache."""
    bits = chip.activation_bits if cut.split == 1 else SUM_BITS
    place = chip.cache_id if product.output_cached or cut.split > 1 else chip.hbm_id
    first = at.first_row * product.n + at.column * cut.columns * at.rows
    first = first * cut.split + at.part * at.rows * at.columns
    return Operand(-(-at.rows * at.columns * bits // 8), first * bits // 8, place)


def _places(m: int, product: Product, cut: Cut) -> np.ndarray:
    """(row, column, part of k) of the tiles of one group, in order."""
    tiles_m, tiles_n = ceil_div(m, cut.rows), ceil_div(product.n, cut.columns)
    found = []
    for first in range(0, tiles_m, cut.band):
        rows = np.arange(first, min(first + cut.band, tiles_m))
        column, part, row = np.meshgrid(
            np.arange(tiles_n), np.arange(cut.split), rows, indexing="ij"
        )
        found.append(np.stack([row.ravel(), column.ravel(), part.ravel()], axis=1))
    return np.concatenate(found)


def _first_touch(sharer: np.ndarray, sharers, chunks: int, chip: Chip) -> np.ndarray:
    """[tile, chunk]: the main memory for the sharer whose turn it is, the cache for the others."""
    sharers = np.broadcast_to(sharers, sharer.shape)
    own = np.arange(chunks) % sharers[:, None] == sharer[:, None]
    return np.where(own, chip.hbm_id, chip.cache_id)


def _cycles(rows, depth, columns, chip: Chip) -> np.ndarray:
    """Cycles by tile; there are few different ones."""
    kinds, which = np.unique(np.stack([rows, depth, columns]), axis=1, return_inverse=True)
    cycles = [chip.gemm_cycles(int(m), int(k), int(n)) for m, k, n in kinds.T]
    return np.array(cycles, np.int64)[which.ravel()]
