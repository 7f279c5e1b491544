"""A collective between chips and the chips' links → picoseconds, by alpha-beta in closed form.

    alpha + steps * step + link bytes / (efficiency * link rate) + own bytes / own rate
          + reduced bytes / reduction rate

A library has several protocols for one collective (say low latency, high bandwidth). It takes the
one with the least time by its own published estimate; rows without an estimate, and rows that share
the best one, are taken by their time. Sizes are those of `npusim.cost.collective`: the full vector
a chip holds or ends with; for all_to_all what it sends to the others in all.

Assumes that the links are otherwise idle, that every chip starts at once, and that a collective on
a ring or torus uses all of a chip's links evenly.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import prod
from typing import NamedTuple, Protocol

from npusim.units import PS_PER_US, ceil_div, transfer_ps


class EstimateLike(Protocol):
    """What a library believes of a protocol; it only chooses by it."""

    @property
    def alpha_us(self) -> float: ...
    @property
    def step_us(self) -> float: ...
    @property
    def gb_s(self) -> float: ...


class ProtocolLike(Protocol):
    """Times of one protocol; `npusim.spec.links.LinkProtocol` says what each is."""

    @property
    def ops(self) -> Sequence[str]: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def alpha_us(self) -> float: ...
    @property
    def step_us(self) -> float: ...
    @property
    def efficiency_fraction(self) -> float: ...
    @property
    def own_gb_s(self) -> float | None: ...
    @property
    def reduce_gb_s(self) -> float | None: ...
    @property
    def max_bytes(self) -> int | None: ...
    @property
    def estimate(self) -> EstimateLike | None: ...


class LinksLike(Protocol):
    """Chips and their links; `npusim.spec.links.Chips` says what each is."""

    @property
    def topology(self) -> str: ...
    @property
    def grid(self) -> tuple[int, ...] | None: ...
    @property
    def link_gb_s(self) -> float: ...
    @property
    def protocols(self) -> Mapping[str, ProtocolLike]: ...


class Load(NamedTuple):
    """What one collective asks of a chip: latencies in a row, bytes that pass its links at their
    full rate, bytes it only copies for itself, bytes it adds up."""

    steps: int
    link_bytes: int
    own_bytes: int = 0
    reduced_bytes: int = 0


class Fabric(NamedTuple):
    """`hops[i]`: to the i-th other chip. `ports`: links that share a chip's rate. `line_steps`:
    latencies of a piece that passes every chip. A collective uses one link in `one_in`."""

    hops: tuple[int, ...]
    ports: int
    line_steps: int
    one_in: int = 1

    @property
    def num_chips(self) -> int:
        return len(self.hops) + 1


def link_collective_ps(op: str, num_bytes: int, num_chips: int, links: LinksLike) -> int:
    """Time of `op` over `num_chips` chips, in ps; 0 for a single chip or no bytes. KeyError where
    no protocol of `links` has the op at that size."""
    if num_chips < 2 or num_bytes < 1:
        return 0
    row = links.protocols[link_protocol(op, num_bytes, num_chips, links)]
    return protocol_ps(row, op, num_bytes, num_chips, links)


def link_protocol(op: str, num_bytes: int, num_chips: int, links: LinksLike) -> str:
    """Name of the protocol that `op` takes. KeyError where no protocol of `links` has the op."""
    rows = {
        name: row
        for name, row in links.protocols.items()
        if op in row.ops and num_bytes <= (row.max_bytes or num_bytes)
    }
    if not rows:
        raise KeyError(f"no protocol for {op} of {num_bytes} bytes")
    fabric = fabric_of(links, num_chips)
    estimates = {
        name: _estimate_us(row.estimate, link_load(op, row.algorithm, num_bytes, fabric))
        for name, row in rows.items()
        if row.estimate
    }
    best = min(estimates.values(), default=0.0)
    rows = {name: row for name, row in rows.items() if estimates.get(name, best) == best}
    return min(rows, key=lambda name: protocol_ps(rows[name], op, num_bytes, num_chips, links))


def _estimate_us(estimate: EstimateLike, load: Load) -> float:
    return (
        estimate.alpha_us + load.steps * estimate.step_us + load.link_bytes / estimate.gb_s / 1000
    )


def protocol_ps(
    row: ProtocolLike, op: str, num_bytes: int, num_chips: int, links: LinksLike
) -> int:
    """Time of `op` by one protocol, in ps."""
    load = link_load(op, row.algorithm, num_bytes, fabric_of(links, num_chips))
    time_ps = round((row.alpha_us + load.steps * row.step_us) * PS_PER_US)
    time_ps += transfer_ps(load.link_bytes, row.efficiency_fraction * links.link_gb_s)
    if row.own_gb_s:
        time_ps += transfer_ps(load.own_bytes, row.own_gb_s)
    if row.reduce_gb_s:
        time_ps += transfer_ps(load.reduced_bytes, row.reduce_gb_s)
    return time_ps


def link_load(op: str, algorithm: str, num_bytes: int, fabric: Fabric) -> Load:
    """What `op` by `algorithm` asks of each chip; KeyError where `algorithm` has no such op."""
    load = LOADS[algorithm][op](num_bytes, fabric)
    return load._replace(link_bytes=load.link_bytes * fabric.one_in)


def fabric_of(links: LinksLike, num_chips: int) -> Fabric:
    """Distances and links of `num_chips` chips. Assumes that fewer chips than a torus has are
    neighbours in a ring, which leaves its links in all other dimensions idle."""
    if links.topology != "torus":
        return FABRICS[links.topology](num_chips)
    assert links.grid
    if prod(links.grid) == num_chips:
        return _torus(links.grid)
    return _ring(num_chips)._replace(one_in=len(links.grid))


def _ring(n: int) -> Fabric:
    return Fabric(tuple(min(d, n - d) for d in range(1, n)), 2 if n > 2 else 1, n - 1)


def _one_way_ring(n: int) -> Fabric:
    return Fabric(tuple(range(1, n)), 1, n - 1)


def _switch(n: int) -> Fabric:
    return Fabric((1,) * (n - 1), 1, n - 1)


def _fully_connected(n: int) -> Fabric:
    return Fabric((1,) * (n - 1), n - 1, n - 1)


def _torus(grid: Sequence[int]) -> Fabric:
    """Rings along each dimension in turn, every dimension busy with a part of the data."""
    places = [place for place in product(*map(range, grid)) if any(place)]
    hops = [sum(min(i, size - i) for i, size in zip(p, grid, strict=True)) for p in places]
    ports = sum(1 + (size > 2) for size in grid if size > 1)
    return Fabric(tuple(hops), ports, sum(grid) - len(grid))


def _ring_gather(size: int, fabric: Fabric) -> Load:
    own = ceil_div(size, fabric.num_chips)
    return Load(fabric.line_steps, (fabric.num_chips - 1) * own, own)


def _ring_scatter(size: int, fabric: Fabric) -> Load:
    load = _ring_gather(size, fabric)
    return load._replace(reduced_bytes=load.link_bytes)


def _ring_all_reduce(size: int, fabric: Fabric) -> Load:
    """Reduce-scatter, then all-gather; the own piece is copied once."""
    half = _ring_scatter(size, fabric)
    return Load(2 * half.steps, 2 * half.link_bytes, half.own_bytes, half.reduced_bytes)


def _chain(size: int, fabric: Fabric) -> Load:
    """Assumes small enough pieces that the last chip is behind the first by latency only."""
    return Load(fabric.line_steps, size)


def _all_to_all(size: int, fabric: Fabric) -> Load:
    """A piece to each other chip; relayed pieces take their hops' latency and links."""
    piece = ceil_div(size, fabric.num_chips - 1)
    return Load(sum(fabric.hops), sum(fabric.hops) * piece, piece)


def _one_message(size: int, fabric: Fabric) -> Load:
    """To a neighbour, over one of the chip's links."""
    return Load(1, size * fabric.ports)


def _direct(load: Callable[[int, Fabric], Load]) -> Callable[[int, Fabric], Load]:
    """The same bytes, sent by each chip to each other one at once: on a switch or full mesh."""

    def direct(size: int, fabric: Fabric) -> Load:
        assert max(fabric.hops) == 1
        return load(size, fabric)

    return direct


def _one_shot(size: int, fabric: Fabric) -> Load:
    """Every chip reads all others' vectors and adds them up."""
    peers = fabric.num_chips - 1
    return Load(peers, peers * size, 0, peers * size)


RING: dict[str, Callable[[int, Fabric], Load]] = {
    "all_gather": _ring_gather,
    "reduce_scatter": _ring_scatter,
    "all_reduce": _ring_all_reduce,
    "all_to_all": _all_to_all,
    "broadcast": _chain,
    "point_to_point": _one_message,
}

LOADS: dict[str, dict[str, Callable[[int, Fabric], Load]]] = {
    "ring": RING,
    # one message a peer in each of one or two rounds: as many messages and bytes as the ring has
    "direct": {op: _direct(RING[op]) for op in ("all_gather", "reduce_scatter", "all_reduce")},
    "one_shot": {"all_reduce": _direct(_one_shot)},
}

FABRICS: dict[str, Callable[[int], Fabric]] = {
    "ring": _ring,
    "one_way_ring": _one_way_ring,
    "switch": _switch,
    "fully_connected": _fully_connected,
}
