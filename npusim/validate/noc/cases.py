"""Quick or full → the cases of the suite: a mesh, a network, and the traffic they are given."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from npusim.validate.noc.chip import Network, textbook
from npusim.validate.noc.traffic import BURSTS, DESTINATIONS, Grid, Transfer, open_loop

MESSAGE_BYTES = 4096
SMALL_MESSAGES = {"all-to-all": 256}  # by burst; others have MESSAGE_BYTES
SMALL, MIDDLE, LARGE = Grid(4, 4), Grid(8, 8), Grid(16, 16)
PACKETS = ((256, 32), (1024, 32), (4096, 64))  # bytes of payload, bytes a cycle of a link
SEED = 1


@dataclass(frozen=True)
class Case:
    """One run on both sides."""

    name: str
    grid: Grid
    net: Network
    transfers: list[Transfer]


def _channels(net: Network) -> str:
    depth = f"{net.depth_flits} flits" if net.depth_flits else f"{net.buffer_packets} packets"
    return f"{net.vcs} channels of {depth}"


def latency(full: bool, vcs: tuple[int, ...]) -> Iterator[Case]:
    """Open loop at up to 0.3 of each pattern's capacity."""
    if not full:
        runs = [(SMALL, "uniform", packet, load) for packet in PACKETS[:2] for load in (0.1, 0.3)]
    else:
        runs = [
            *((SMALL, "uniform", packet, load) for packet in PACKETS for load in (0.1, 0.2, 0.3)),
            *((SMALL, pattern, packet, 0.3) for pattern in DESTINATIONS for packet in PACKETS[:2]
              if pattern != "uniform"),
            *((MIDDLE, pattern, PACKETS[0], 0.3) for pattern in DESTINATIONS),
        ]  # fmt: skip
    for run in runs:
        for count in vcs:
            yield _open_loop(*run, count)


def _open_loop(grid: Grid, pattern: str, packet: tuple[int, int], load: float, vcs: int) -> Case:
    size, width = packet
    net = Network(vcs, packet_bytes=size, link_bytes=width, packets_per_message=1)
    transfers = open_loop(grid, pattern, load, size, net.flits(size), 150, SEED)
    name = f"{grid.rows}x{grid.columns} {pattern} {size} B at {load:g}, {vcs} channels"
    return Case(name, grid, net, transfers)


def bursts(full: bool, vcs: tuple[int, ...]) -> Iterator[Case]:
    """Closed bursts by pattern, mesh, channels and their depth."""
    for grid in (SMALL, MIDDLE, LARGE) if full else (SMALL, MIDDLE):
        for pattern in BURSTS if full or grid == SMALL else ("tile loads", "all-to-all"):
            for depth in (1, 2, 4) if full and grid != LARGE else (4,):
                for count in vcs:
                    yield burst(grid, pattern, Network(count, depth))


def burst(grid: Grid, pattern: str, net: Network) -> Case:
    """One closed burst."""
    transfers = BURSTS[pattern](grid, SMALL_MESSAGES.get(pattern, MESSAGE_BYTES))
    name = f"{grid.rows}x{grid.columns} {pattern}, {_channels(net)}"
    return Case(name, grid, net, transfers)


def shallow(full: bool) -> Iterator[Case]:
    """Channels of less than a packet: npusim's have one, the flit simulator's a half or a third."""
    net = Network(buffer_packets=1)
    for grid in (SMALL, MIDDLE) if full else (SMALL,):
        for pattern in BURSTS:
            for vcs in (1, 2, 4) if full else (1, 2):
                for depth in (6, 4) if full else (4,):
                    yield burst(grid, pattern, replace(net, vcs=vcs, depth_flits=depth))


def locked(full: bool) -> Iterator[Case]:
    """Bursts of messages whose links are locked from a message's first packet to its last."""
    for grid in (SMALL, MIDDLE) if full else (SMALL,):
        for pattern in BURSTS:
            for depth in (1, 2, 4) if full else (2,):
                for vcs in (1, 2):
                    if pattern != "tile loads":  # nothing of it is locked
                        yield burst(grid, pattern, Network(vcs, depth, locked=True))


def flit_by_flit(cases: Iterator[Case]) -> Iterator[Case]:
    """The same cases, the flit simulator's routers being the textbook's."""
    for case in cases:
        yield replace(case, net=textbook(case.net))
