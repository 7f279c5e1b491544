"""SyntheticTraffic and a seed → rows drawn from its laws."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.random import Generator

from npusim.serving.traffic.lengths import draw_lengths
from npusim.serving.traffic.row import Row, check_end, exact, multiples, streams
from npusim.spec.traffic import SharedPrefix, SyntheticTraffic
from npusim.units import PS_PER_S

LEVER = "raise rate_per_s or lower requests"


def drawn(traffic: SyntheticTraffic, seed: int) -> list[Row]:
    """Rows of `traffic`; more requests or another rate leave the draws of the others as they are.

    Raises SpecError when arrivals do not fit 64-bit picoseconds.
    """
    random, count = streams(seed), traffic.requests
    if traffic.rate_per_s is not None:
        check_end((count - 1) * PS_PER_S / traffic.rate_per_s, LEVER)
    prefixes = _prefixes(traffic.prefix, random["shares"], random["groups"], count)
    return list(
        map(
            Row,
            ARRIVALS[traffic.kind](traffic, random["arrivals"]),
            draw_lengths(traffic.prompt, random["prompts"], count).tolist(),
            draw_lengths(traffic.output, random["outputs"], count).tolist(),
            prefixes,
            _block_tokens(traffic.prefix, prefixes),
            (index % traffic.priorities for index in range(count)),
        )
    )


def _poisson(traffic: SyntheticTraffic, random: Generator) -> list[int]:
    """Exponential gaps of mean 1 / rate: a Poisson process seen from its first request on."""
    return _summed(random.standard_exponential(traffic.requests - 1), traffic)


def _gamma(traffic: SyntheticTraffic, random: Generator) -> list[int]:
    """Gamma gaps of mean 1 / rate; of shape 1 / cv², their coefficient of variation is cv."""
    assert traffic.cv is not None
    shape = 1 / traffic.cv**2
    return _summed(random.standard_gamma(shape, traffic.requests - 1) / shape, traffic)


def _constant(traffic: SyntheticTraffic, random: Generator) -> list[int]:
    """Request i at i / rate, each rounded by itself: no drift."""
    assert traffic.rate_per_s is not None
    return multiples(range(traffic.requests), PS_PER_S / exact(traffic.rate_per_s))


def _burst(traffic: SyntheticTraffic, random: Generator) -> list[int]:
    return [0] * traffic.requests


def _summed(gaps: np.ndarray, traffic: SyntheticTraffic) -> list[int]:
    """Arrivals (ps) from gaps of mean 1; each gap is rounded, so that their sum is exact."""
    assert traffic.rate_per_s is not None
    gaps_ps = gaps * (PS_PER_S / traffic.rate_per_s)
    check_end(float(gaps_ps.sum()), LEVER)
    return [0, *np.cumsum(np.rint(gaps_ps).astype(np.int64)).tolist()]


def _prefixes(
    prefix: SharedPrefix | None, shares: Generator, groups: Generator, count: int
) -> list[tuple[int, ...]]:
    """Ids of each request's blocks: those of a group (all its requests have the same tuple)."""
    if prefix is None:
        return [()] * count
    ids = [(group,) for group in range(prefix.groups)]
    has_prefix = shares.random(count) < prefix.fraction
    dealt = groups.integers(prefix.groups, size=count).tolist()
    return [ids[group] if has else () for group, has in zip(dealt, has_prefix, strict=True)]


def _block_tokens(prefix: SharedPrefix | None, prefixes: list[tuple[int, ...]]) -> Iterable[int]:
    tokens = prefix.tokens if prefix else 0
    return (tokens if ids else 0 for ids in prefixes)


ARRIVALS: dict[str, Callable[[SyntheticTraffic, Generator], list[int]]] = {
    "poisson": _poisson,
    "gamma": _gamma,
    "constant": _constant,
    "burst": _burst,
}
