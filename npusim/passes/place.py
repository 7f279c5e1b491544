"""Placement policy, mesh, degrees → which core is which tensor-parallel rank of which stage.

A policy cuts the mesh into equal blocks, one a group, and walks each block in ring-rank order.
Blocks follow one another in serpentine order, so that consecutive stages touch. The policies and
their lists for 4 and 16 ranks are those of the multi-core NPU study (arXiv 2510.05632, section 5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from npusim.cost.paths import Grid
from npusim.errors import SpecError, pick
from npusim.passes.place_search import placement_cost, search
from npusim.spec.hardware import Hardware

Groups = list[list[int]]
Cell = tuple[int, int]
Shape = tuple[int, int]  # rows, columns


@dataclass(frozen=True)
class Area:
    """The cores that may be used, some or all of a grid."""

    grid: Grid
    cores: frozenset[int]

    @property
    def rows(self) -> int:
        return self.grid.rows

    @property
    def columns(self) -> int:
        return self.grid.columns


def place(
    policy: str,
    hardware: Hardware,
    tp: int,
    pp: int,
    dp: int,
    traffic: tuple[float, float] | None = None,
    cores: Sequence[int] | None = None,
) -> list[list[list[int]]]:
    """groups[replica][stage] = core ids in ring-rank order; see `place_with_note`."""
    return place_with_note(policy, hardware, tp, pp, dp, traffic, cores)[0]


def place_with_note(
    policy: str,
    hardware: Hardware,
    tp: int,
    pp: int,
    dp: int,
    traffic: tuple[float, float] | None = None,
    cores: Sequence[int] | None = None,
) -> tuple[list[list[list[int]]], str]:
    """The groups, and a sentence on what was chosen.

    `traffic`: weights of a ring step and of a hand-over between stages, for `auto`. `cores`: use
    only these (one group of a heterogeneous chip). Raises SpecError for an unknown policy or when
    tp × pp × dp exceeds the cores.
    """
    walk = pick(PLACEMENTS, policy, "placement")
    allowed = frozenset(range(hardware.mesh.num_cores) if cores is None else cores)
    if tp * pp * dp > len(allowed):
        raise SpecError(
            f"tp {tp} x pp {pp} x dp {dp} needs {tp * pp * dp} cores, there are {len(allowed)}; "
            "lower tp, pp or dp"
        )
    groups, note = walk(Area(Grid(*hardware.grid), allowed), tp, pp, dp, traffic)
    return [groups[replica * pp : (replica + 1) * pp] for replica in range(dp)], note


def linear_seq(area: Area, tp: int, pp: int, dp: int, traffic=None) -> tuple[Groups, str]:
    """Ranks along a row, then the next rows, left to right."""
    return _walk("linear_seq", area, tp, pp * dp, _line_shapes, _row_major)


def linear_interleave(area: Area, tp: int, pp: int, dp: int, traffic=None) -> tuple[Groups, str]:
    """Every second core on the way out, the others on the way back: no step over two hops."""
    return _walk("linear_interleave", area, tp, pp * dp, _line_shapes, _interleaved)


def mesh2d(area: Area, tp: int, pp: int, dp: int, traffic=None) -> tuple[Groups, str]:
    """The squarest block, row by row."""
    return _walk("mesh2d", area, tp, pp * dp, _square_shapes, _row_major)


def ring(area: Area, tp: int, pp: int, dp: int, traffic=None) -> tuple[Groups, str]:
    """A closed walk of single hops over a block, two rows high where that fits."""
    return _walk("ring", area, tp, pp * dp, _ring_shapes, _cycle)


def auto(area: Area, tp: int, pp: int, dp: int, traffic=None) -> tuple[Groups, str]:
    """The cheapest of the policies by `placement_cost`, improved by swaps where it is not ideal."""
    weights = traffic or (1.0, 0.1)

    def cost(groups: Groups) -> float:
        return placement_cost(np.array(groups), pp, area.grid, *weights)

    found = {name: policy(area, tp, pp, dp)[0] for name, policy in _POLICIES.items()}
    best = min(found, key=lambda name: cost(found[name]))
    # One hop and one message a link everywhere cannot be improved.
    ideal = placement_cost(np.array(found[best]), 1, area.grid, 1.0, 0.0) <= 1.0
    groups, num_swaps = (found[best], 0) if ideal else search(found[best], cost)
    swaps = f" improved by {num_swaps} swaps" if num_swaps else ""
    return groups, f"placement auto: {best}{swaps}, cost {cost(groups):.2f} a ring step" + "".join(
        f", {name} {cost(other):.2f}" for name, other in found.items() if name != best
    )


def _walk(
    name: str,
    area: Area,
    tp: int,
    num_groups: int,
    shapes: Callable[[Area, int], list[Shape]],
    pattern: Callable[[int, int], list[Cell]],
) -> tuple[Groups, str]:
    """`pattern` over the first of `shapes` that fits the area often enough; else over
    slices of one path through all its cores."""
    for rows, columns in shapes(area, tp):
        corners = _corners(area, rows, columns)
        if len(corners) >= num_groups:
            cells = pattern(rows, columns)
            return [
                [(top + r) * area.columns + left + c for r, c in cells]
                for top, left in corners[:num_groups]
            ], f"placement {name}: blocks of {rows}x{columns} cores"
    path = sorted(area.cores) if pattern is _row_major else _serpentine(area)
    order = [column for _, column in pattern(1, tp)]
    slices = [path[first : first + tp] for first in range(0, num_groups * tp, tp)]
    note = f"placement {name}: {num_groups} equal blocks of {tp} cores do not fit, slices of a path"
    return [[part[i] for i in order] for part in slices], note


def _corners(area: Area, rows: int, columns: int) -> list[Cell]:
    """Top left cores of the blocks whose cores may all be used, in serpentine order."""
    found: list[Cell] = []
    for band, top in enumerate(range(0, area.rows - rows + 1, rows)):
        lefts = range(0, area.columns - columns + 1, columns)
        for left in reversed(lefts) if band % 2 else lefts:
            block = {
                (top + r) * area.columns + left + c for r in range(rows) for c in range(columns)
            }
            if block <= area.cores:
                found.append((top, left))
    return found


def _serpentine(area: Area) -> list[int]:
    path: list[int] = []
    for row in range(area.rows):
        ids = range(row * area.columns, (row + 1) * area.columns)
        path += [core for core in (reversed(ids) if row % 2 else ids) if core in area.cores]
    return path


def _fitting(area: Area, tp: int) -> list[Shape]:
    """Every block of `tp` cores that the mesh is large enough for."""
    heights = (h for h in range(1, min(tp, area.rows) + 1) if tp % h == 0)
    return [(h, tp // h) for h in heights if tp // h <= area.columns]


def _line_shapes(area: Area, tp: int) -> list[Shape]:
    """A piece of one row, or whole rows."""
    return [s for s in _fitting(area, tp) if s[0] == 1 or s[1] == area.columns][:1]


def _square_shapes(area: Area, tp: int) -> list[Shape]:
    return sorted(_fitting(area, tp), key=lambda s: (abs(s[0] - s[1]), s[0]))


def _ring_shapes(area: Area, tp: int) -> list[Shape]:
    """Blocks with a closed walk of single hops first, the flattest of them first."""

    def rank(shape: Shape) -> tuple[bool, int, int]:
        closed = tp == 2 or (min(shape) >= 2 and tp % 2 == 0)
        return (not closed, shape[0] if closed else abs(shape[0] - shape[1]), shape[0])

    return sorted(_fitting(area, tp), key=rank)


def _row_major(rows: int, columns: int) -> list[Cell]:
    return [(r, c) for r in range(rows) for c in range(columns)]


def _interleaved(rows: int, columns: int) -> list[Cell]:
    """Down through every second core of each row, turning at the edges, and back through the rest.
    A single row is walked the other way round, as in the study's maps."""
    evens = list(range(0, columns, 2))
    odds = list(reversed(range(1, columns, 2)))
    halves = (evens, odds)
    down = [(r, c) for r in range(rows) for c in halves[r % 2]]
    back = [(r, c) for r in reversed(range(rows)) for c in halves[1 - r % 2]]
    cells = down + back
    return cells[:1] + cells[:0:-1] if rows == 1 else cells


def _cycle(rows: int, columns: int) -> list[Cell]:
    """A closed walk of single hops where one exists: the first row, then back column by column. A
    line or an odd number of cores has none; there no step is longer than two hops."""
    if min(rows, columns) == 1 or rows * columns % 2:
        if rows > 1 and columns == 1:
            return [(c, r) for r, c in _interleaved(1, rows)]
        return _interleaved(rows, columns)
    if columns % 2:
        return [(c, r) for r, c in _cycle(columns, rows)]
    cells = [(0, c) for c in range(columns)]
    for c in reversed(range(columns)):
        down = range(1, rows)
        cells += [(r, c) for r in (down if c % 2 else reversed(down))]
    return cells


_POLICIES = {
    "ring": ring,
    "mesh2d": mesh2d,
    "linear_seq": linear_seq,
    "linear_interleave": linear_interleave,
}
PLACEMENTS = {**_POLICIES, "auto": auto}
