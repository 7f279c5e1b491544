"""A law of lengths and a random stream → that many lengths in tokens."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from npusim.spec.traffic import (
    FixedLength,
    Lengths,
    LognormalLength,
    TableLength,
    UniformLength,
)


def draw_lengths(law: Lengths, random: Generator, count: int) -> np.ndarray:
    """`count` lengths (int64 tokens, at least 1) of `law`."""
    return LAWS[law.kind](law, random, count)


def _fixed(law: FixedLength, random: Generator, count: int) -> np.ndarray:
    return np.full(count, law.tokens, np.int64)


def _uniform(law: UniformLength, random: Generator, count: int) -> np.ndarray:
    return random.integers(law.min, law.max, count, endpoint=True)


def _lognormal(law: LognormalLength, random: Generator, count: int) -> np.ndarray:
    """median · e^(sigma · z), rounded; what lies outside min … max becomes the bound."""
    logs = math.log(law.median) + law.sigma * random.standard_normal(count)
    # Cut before the exponential, which could overflow, and after it, for the rounding.
    bounded = np.minimum(logs, math.log(law.max) + 1)
    return np.clip(np.rint(np.exp(bounded)), law.min, law.max).astype(np.int64)


def _table(law: TableLength, random: Generator, count: int) -> np.ndarray:
    """Inverse of the cumulated weights, so that one draw is one random number."""
    weights = np.array(law.weights or [1.0] * len(law.tokens))
    cumulated = np.cumsum(weights) / weights.sum()
    rows = np.searchsorted(cumulated, random.random(count), side="right")
    last = int(np.flatnonzero(weights)[-1])  # the sum may round to less than 1
    return np.array(law.tokens, np.int64)[np.minimum(rows, last)]


LAWS: dict[str, Callable[[Any, Generator, int], np.ndarray]] = {
    "fixed": _fixed,
    "uniform": _uniform,
    "lognormal": _lognormal,
    "table": _table,
}
