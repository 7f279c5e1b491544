"""Name of a pattern, bytes a second → the requests that a channel gets."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from npusim.errors import pick
from npusim.validate.dram.ours import TICK_MHZ
from npusim.validate.dram.requests import Requests

SPAN_BYTES = 1 << 26  # of the channel that random traffic goes over
TICK_NS = 1000 / TICK_MHZ


def _sequence(rng: np.random.Generator, count: int, size: int, step: int) -> np.ndarray:
    return np.arange(count) * step % SPAN_BYTES


def _random(rng: np.random.Generator, count: int, size: int, step: int) -> np.ndarray:
    return rng.integers(0, SPAN_BYTES // size, count) * size


def _streams(rng: np.random.Generator, count: int, size: int, step: int) -> np.ndarray:
    """`step` sequential streams, a request of each in turn, from places drawn at random."""
    starts = rng.integers(0, SPAN_BYTES // 4096, step) * 4096
    index = np.arange(count)
    return (starts[index % step] + index // step * size) % SPAN_BYTES


@dataclass(frozen=True)
class Pattern:
    """Addresses by `places`, in requests of `size` bytes; `step`: bytes from one to the next, or
    the number of streams. Every third request is a write if `mixed` (so all of a third stream)."""

    kind: str
    places: Callable[..., np.ndarray]
    size: int
    step: int = 0
    mixed: bool = False


PATTERNS = {
    "stream of 64 B": Pattern("streaming", _sequence, 64, 64),
    "stream of 512 B": Pattern("streaming", _sequence, 512, 512),
    "stream of 4 KiB": Pattern("streaming", _sequence, 4096, 4096),
    "64 B of every 1 KiB": Pattern("strided", _sequence, 64, 1024),
    "256 B of every 4.5 KiB": Pattern("strided", _sequence, 256, 4608),
    "random 64 B": Pattern("random", _random, 64),
    "random 256 B": Pattern("random", _random, 256),
    "random 1 KiB": Pattern("random", _random, 1024),
    "random 4 KiB": Pattern("random", _random, 4096),
    "8 streams of 256 B": Pattern("multi-stream", _streams, 256, 8),
    "6 streams of 1 KiB": Pattern("multi-stream", _streams, 1024, 6),
    "random 64 B, a third writes": Pattern("mixed", _random, 64, mixed=True),
    "random 512 B, a third writes": Pattern("mixed", _random, 512, mixed=True),
    "6 streams of 256 B, 2 of writes": Pattern("mixed", _streams, 256, 6, mixed=True),
    "3 streams of 4 KiB, one of writes": Pattern("mixed", _streams, 4096, 3, mixed=True),
}


def requests(name: str, count: int, gb_s: float, seed: int = 0) -> Requests:
    """`count` requests of a pattern in order, as Poisson arrivals of `gb_s` on average, at whole
    ticks and at most one a tick."""
    pattern = pick(PATTERNS, name, "pattern")
    rng = np.random.default_rng(seed)
    address = pattern.places(rng, count, pattern.size, pattern.step)
    gaps = np.maximum(np.round(rng.exponential(pattern.size / gb_s, count) / TICK_NS), 1)
    return Requests(
        arrival_ns=np.cumsum(gaps) * TICK_NS,
        address=address,
        bytes=np.full(count, pattern.size),
        is_write=(np.arange(count) % 3 == 2) & pattern.mixed,
    )
