"""What every source of traffic gives: a Row for each request, and random streams of one seed."""

from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from numpy.random import Generator, default_rng

from npusim.errors import SpecError
from npusim.units import PS_PER_S

# Half of what int64 holds: what happens after the last arrival has room as well.
MAX_ARRIVAL_PS = (1 << 62) - 1


class Row(NamedTuple):
    """The fields of a Request that traffic sets, in their order there."""

    arrival_ps: int
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()
    prefix_block_tokens: int = 0
    priority: int = 0


# A new stream goes to the end: those before it stay as they are.
STREAMS = ("arrivals", "prompts", "outputs", "shares", "groups", "shuffle")


def streams(seed: int) -> dict[str, Generator]:
    """One independent random stream for each of STREAMS, so that another law for the one leaves
    what is drawn of the others as it was."""
    return dict(zip(STREAMS, default_rng(seed).spawn(len(STREAMS)), strict=True))


def exact(value: float) -> Fraction:
    """The decimal number that a file says, not the float next to it: 0.1 is 1/10."""
    return Fraction(repr(float(value)))


def multiples(numbers: Iterable[int], factor: Fraction) -> list[int]:
    """Each of `numbers` (at least 0) times `factor`, rounded by itself, halves up: no drift."""
    num, den = factor.numerator, factor.denominator
    return [(2 * number * num + den) // (2 * den) for number in numbers]


def check_end(end_ps: float | Fraction, lever: str) -> None:
    """Raises SpecError when the last request arrives after what 64-bit picoseconds hold."""
    if not end_ps <= MAX_ARRIVAL_PS:
        last_s, most_s = float(min(end_ps, 1e300)) / PS_PER_S, MAX_ARRIVAL_PS // PS_PER_S
        text = f"the last request arrives {last_s:.3g} s after the first, of at most {most_s:,} s"
        raise SpecError(f"{text}; {lever}", "traffic")
