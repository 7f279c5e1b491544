"""Measured points → values in between: piecewise linear, beyond the last point along its slope.

Assumes that a time grows beyond the grid as between its last two points; below its first point it
is that point's, because a kernel's start costs what it costs.
"""

from bisect import bisect_right
from collections.abc import Sequence


def around(points: Sequence[float], place: float) -> tuple[int, float]:
    """Of ascending points, index of the lower one of the two around `place`, and the share of the
    next: 0 at or below a lone or first point, above 1 beyond the last."""
    if place <= points[0] or len(points) == 1:
        return 0, 0.0
    index = min(bisect_right(points, place) - 1, len(points) - 2)
    low = points[index]
    return index, (place - low) / (points[index + 1] - low)


class Curve:
    """Times over one axis."""

    __slots__ = ("axis", "times")

    def __init__(self, points: dict[float, float]):
        self.axis = sorted(points)
        self.times = [points[place] for place in self.axis]

    def at(self, place: float) -> float:
        index, share = around(self.axis, place)
        low = self.times[index]
        return low + share * (self.times[index + 1] - low) if share else low


class Surface:
    """Curves along a second axis, each with points of its own: a ragged grid is no gap."""

    __slots__ = ("axis", "curves")

    def __init__(self, points: dict[tuple[float, float], float]):
        curves = nested(points)
        self.axis = sorted(curves)
        self.curves = [Curve(curves[place]) for place in self.axis]

    def at(self, outer: float, inner: float) -> float:
        index, share = around(self.axis, outer)
        low = self.curves[index].at(inner)
        return low + share * (self.curves[index + 1].at(inner) - low) if share else low


class Volume:
    """Surfaces over a grid of two more axes, ragged as well: times of (a, b, c, d)."""

    __slots__ = ("axis", "rows")

    def __init__(self, points: dict[tuple[float, float, float, float], float]):
        rows: dict[float, dict[float, dict[tuple[float, float], float]]] = {}
        for (a, b, c, d), time in points.items():
            rows.setdefault(a, {}).setdefault(b, {})[c, d] = time
        self.axis = sorted(rows)
        self.rows = [
            (sorted(rows[a]), [Surface(rows[a][b]) for b in sorted(rows[a])]) for a in self.axis
        ]

    def at(self, a: float, b: float, c: float, d: float) -> float:
        index, share = around(self.axis, a)
        low = self._row(index, b, c, d)
        return low + share * (self._row(index + 1, b, c, d) - low) if share else low

    def _row(self, index: int, b: float, c: float, d: float) -> float:
        axis, surfaces = self.rows[index]
        lower, share = around(axis, b)
        low = surfaces[lower].at(c, d)
        return low + share * (surfaces[lower + 1].at(c, d) - low) if share else low


def nested(points: dict[tuple[float, float], float]) -> dict[float, dict[float, float]]:
    """{(outer, inner): time} → {outer: {inner: time}}."""
    rows: dict[float, dict[float, float]] = {}
    for (outer, inner), time in points.items():
        rows.setdefault(outer, {})[inner] = time
    return rows
