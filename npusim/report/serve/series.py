"""Long columns of a serving run → the few points that a plot of them needs."""

from dataclasses import dataclass

import numpy as np

from npusim.units import PS_PER_MS, PS_PER_S, PS_PER_US

BUCKETS = 400  # of a long series; a plot is some 1,000 pixels wide
CDF_POINTS = 1_000
DOTS = 4_000
TOKENS_PER_BIN = 5  # at least, on the mean, of a throughput over time
UNITS = (("s", PS_PER_S), ("ms", PS_PER_MS), ("us", PS_PER_US))
Points = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Band:
    """A stepped series: from each time on its mean, least and greatest value to the next time; the
    last values stand twice."""

    times: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def band(times: np.ndarray, values: np.ndarray, end: int, buckets: int = BUCKETS) -> Band:
    """A series of steps from 0 to `end`, 0 before its first: as it is when it is short, else of
    each of `buckets` equal intervals its mean over time and its extremes."""
    times, values = np.concatenate(([0], times)), np.concatenate(([0], values))
    if len(times) <= buckets:
        times, values = np.append(times, end), np.append(values, values[-1])
        return Band(times, values, values, values)
    edges = np.linspace(0, end, buckets + 1)
    first = np.searchsorted(times, edges[:-1], "right") - 1  # the step that is carried in
    last = np.searchsorted(times, edges[1:], "left")
    pairs = np.column_stack((first, np.maximum(last, first + 1))).ravel()
    padded = np.append(values, values[-1])
    low, high = (ufunc.reduceat(padded, pairs)[::2] for ufunc in (np.minimum, np.maximum))
    area = np.concatenate(([0.0], np.cumsum(values[:-1] * np.diff(times).astype(float))))
    reach, total = np.append(times, end), np.append(area, area[-1] + values[-1] * (end - times[-1]))
    mean = np.diff(np.interp(edges, reach, total)) / np.diff(edges)
    columns = (np.clip(mean, low, high), low, high)
    return Band(edges, *(np.append(column, column[-1]) for column in columns))


def dots(count: int, values: np.ndarray, most: int = DOTS) -> np.ndarray:
    """Indices of at most `most` + 2 of `count` points in order: all, or evenly spread ones with the
    least and the greatest."""
    if count <= most:
        return np.arange(count)
    spread = np.linspace(0, count - 1, most).round().astype(np.int64)
    return np.unique(np.concatenate((spread, [values.argmin(), values.argmax()])))


def cdf(values: np.ndarray, points: int = CDF_POINTS) -> Points:
    """Sorted values and the share of all that is at most each; least and greatest among them, the
    least first with a share of 0."""
    count = len(values)
    chosen = np.unique(np.linspace(0, count - 1, min(points, count)).round().astype(np.int64))
    found = np.sort(values)[chosen]
    return np.concatenate((found[:1], found)), np.concatenate(([0.0], (chosen + 1) / count))


def rate_over_time(times_ps: np.ndarray, end_ps: int, bins: int = BUCKETS // 2) -> Points:
    """Begins of at most `bins` equal intervals of 0 … `end_ps`, and events a second in each."""
    bins = max(1, min(bins, len(times_ps) // TOKENS_PER_BIN))
    width = max(1, -(-(end_ps + 1) // bins))
    counts = np.bincount(times_ps // width, minlength=bins)
    return np.arange(bins) * width, counts * (PS_PER_S / width)


def unit_of(largest_ps: float) -> tuple[str, int]:
    """Name and length in ps of the unit in which a time reads well."""
    return next((unit for unit in UNITS if largest_ps >= 2 * unit[1]), UNITS[-1])
