"""Fabric, packets and their sources → arrival of every packet: the flit simulator's tables, filled.

See `columns.py` for the meaning of the columns.
"""

from dataclasses import dataclass

import numpy as np

from npusim.validate.noc import columns as at
from npusim.validate.noc.fabric import NONE, NUM_NETWORKS, Fabric
from npusim.validate.noc.flits import run_cycles

LIMIT_CYCLES = 20_000_000


@dataclass(frozen=True)
class Packets:
    """n packets by row, in the order in which a source takes those that are ready at once."""

    source: np.ndarray
    node: np.ndarray
    network: np.ndarray
    flits: np.ndarray
    group: np.ndarray
    start: np.ndarray
    after: np.ndarray  # group, NONE: of none
    pause: np.ndarray
    reopens: np.ndarray  # source, NONE: none

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class Sources:
    """What feeds the injection links: DMA engines, memory channels."""

    link: np.ndarray
    service: np.ndarray
    latency: np.ndarray
    window: np.ndarray


def arrivals(fabric: Fabric, packets: Packets, sources: Sources) -> tuple[np.ndarray, np.ndarray]:
    """Cycles at which each packet joined its injection queue, and at which it was whole at its
    node. RuntimeError when they do not all arrive."""
    tables = _tables(fabric, packets, sources)
    first = np.flatnonzero(packets.after == NONE)
    order = first[np.argsort(packets.start[first], kind="stable")]
    if run_cycles(tables, order, LIMIT_CYCLES) == NONE:
        stuck = int((tables.packets[:, at.ARRIVED] == NONE).sum())
        raise RuntimeError(f"{stuck} packets have not arrived after {LIMIT_CYCLES} cycles")
    return tables.packets[:, at.ENTERED], tables.packets[:, at.ARRIVED]


def _tables(f: Fabric, p: Packets, q: Sources) -> at.Tables:
    assert int(p.pause.max()) + 2 < at.SPAN and int(f.delay.max()) < at.SPAN
    num_links, num_channels = len(f.delay), len(f.delay) * f.vcs
    num_inputs = num_channels + len(q.link)
    groups, waiters = _groups(p)
    # Of a whole packet at once, at every node, the credits come back.
    num_back = num_channels + len(f.router_of_node) * NUM_NETWORKS * int(p.flits.max())
    return at.Tables(
        **{name: of for name, of in f._asdict().items() if name in at.Tables._fields},
        inputs=_inputs(num_inputs, f, int(p.flits.max())),
        links=_links(f),
        sources=_sources(q),
        packets=_packets(p),
        groups=groups,
        waiters=waiters,
        slots=np.tile(np.array([0, 0, NONE, NONE]), (at.SPAN, 1)),
        flits=np.zeros((num_channels, f.depth), np.int64),
        wire=np.zeros((at.SPAN, num_links, 2), np.int64),
        back=np.zeros((at.SPAN, num_back), np.int64),
        active=np.zeros(num_inputs + 1, np.int64),
    )


def _inputs(count: int, f: Fabric, largest: int) -> np.ndarray:
    """Of a core's ejection channel a packet leaves whole, so that holds one at least."""
    inputs = np.zeros((count, at.INPUT_COLUMNS), np.int64)
    inputs[:, [at.GIVEN, at.OWNER, at.WISH_NEXT]] = NONE
    ejects = np.repeat(f.into == NONE, f.vcs)
    inputs[: len(ejects), at.CREDITS] = np.where(ejects, max(f.depth, largest), f.depth)
    return inputs


def _links(f: Fabric) -> np.ndarray:
    links = np.full((len(f.delay), at.LINK_COLUMNS), NONE, np.int64)
    links[:, at.DELAY] = f.delay
    links[:, at.INTO] = f.into
    links[:, at.TO_NODE] = f.to_node
    return links


def _sources(q: Sources) -> np.ndarray:
    sources = np.zeros((len(q.link), at.SOURCE_COLUMNS), np.int64)
    sources[:, [at.READY, at.READY_LAST, at.QUEUE, at.QUEUE_LAST]] = NONE
    for column, values in ((at.LINK, q.link), (at.SERVICE, q.service), (at.LATENCY, q.latency),
                           (at.WINDOW, q.window)):  # fmt: skip
        sources[:, column] = values
    return sources


def _packets(p: Packets) -> np.ndarray:
    packets = np.full((len(p), at.PACKET_COLUMNS), NONE, np.int64)
    columns = {
        at.SOURCE: p.source, at.NODE: p.node, at.NETWORK: p.network, at.FLITS: p.flits,
        at.GROUP: p.group, at.START: p.start, at.AFTER: p.after, at.PAUSE: p.pause,
        at.REOPENS: p.reopens,
    }  # fmt: skip
    for column, values in columns.items():
        packets[:, column] = values
    return packets


def _groups(p: Packets) -> tuple[np.ndarray, np.ndarray]:
    """Packets left by group, and where the packets that wait for it stand in the list beside."""
    count = int(max(p.group.max(), p.after.max())) + 1
    waiting = np.flatnonzero(p.after != NONE)
    waiters = waiting[np.argsort(p.after[waiting], kind="stable")]
    groups = np.zeros((count + 1, 2), np.int64)
    groups[:-1, at.LEFT] = np.bincount(p.group, minlength=count)
    groups[1:, at.FIRST_WAITER] = np.cumsum(np.bincount(p.after[waiting], minlength=count))
    return groups, waiters
