"""Wiring of a NoC and the tasks that use it → a private link for every pair of nodes that they use.

Takes the NoC as it stands in the tables, whatever its topology: follows its routes.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npusim.engine.tables import (
    LOAD,
    NONE,
    NUM_NETWORKS,
    REQUEST_NETWORK,
    RESPONSE_NETWORK,
    SEND,
    STORE,
    Tasks,
    Wiring,
)
from npusim.errors import CapacityError

FAR_BYTES = 1 << 40  # above any transfer: a limit that never cuts one
DEEP_PACKETS = 16  # buffers that hold what a core's loads bring before they come in
MOST_PAIRS = 1 << 15  # a link keeps 8 KiB of counters


@dataclass(frozen=True)
class _Link:
    """A link of the coarse NoC: a row of the engines' table, and the (router, node) pairs that are
    routed over it; an injection link has none."""

    network: int
    num_bytes: int
    ticks: int
    name: str
    to_router: int = NONE
    to_node: int = NONE
    routed: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Way:
    """What packets of a (network, source node, destination node) cross after their injection: ticks
    in all, the narrowest link's bytes a tick, the last link."""

    ticks: int
    link_bytes: int
    last: int


def private_links(wiring: Wiring, tasks: Tasks) -> Wiring:
    """Node n injects into a router n of its own, from which each of its private links leads to a
    destination, as long as the way through the NoC and as wide. Those of memory ports lead to a
    second router of the core, so that all its loads together come in by one link.

    Raises CapacityError when there are too many pairs.
    """
    inject, pairs = _injection_links(wiring), _pairs(wiring, tasks)
    if len(pairs) > MOST_PAIRS:
        raise CapacityError(
            f"fidelity.noc analytic needs a link for each of {len(pairs):,} pairs of cores and "
            f"ports, more than {MOST_PAIRS:,}; use fidelity.noc transaction"
        )
    links = _links(wiring, inject, pairs)
    changed: dict[str, Any] = {
        **_link_columns(links),
        **_sources(wiring, inject, num_links=len(links)),
        "route": _routes(wiring, links),
        "link_ring": None,
        "num_vcs": 1,
        "buffer_packets": max(wiring.buffer_packets, DEEP_PACKETS),
        "locked": False,
        "lock_ack": False,
        "packets_per_message": 1,
        "max_packet_bytes": FAR_BYTES,
    }
    return replace(wiring, **changed)


def _injection_links(wiring: Wiring) -> dict[tuple[int, int], int]:
    """(network, node) → the link that the node's packets enter the NoC by."""
    first, found = wiring.num_links * wiring.num_vcs, {}
    for network in range(NUM_NETWORKS):
        for core in range(wiring.num_cores):
            found[network, core] = int(
                wiring.source_link[wiring.core_source[core, network, 0] - first]
            )
    channels = wiring.channels
    for node, source in zip(channels.port_node.tolist(), channels.source.tolist(), strict=True):
        if node != NONE:
            found[RESPONSE_NETWORK, node] = int(wiring.source_link[source - first])
    return found


def _pairs(wiring: Wiring, tasks: Tasks) -> list[tuple[int, int, int]]:
    """(network, source node, destination node) of all packets that the tasks can send."""
    sends = np.flatnonzero(tasks.kind == SEND)
    messages = _distinct(tasks.core[sends], tasks.core[tasks.match[sends]], wiring.num_cores)
    pairs = {(RESPONSE_NETWORK, a, b) for a, b in messages}
    if wiring.handshake:
        pairs |= {(REQUEST_NETWORK, a, b) for a, b in messages}
        pairs |= {(RESPONSE_NETWORK, b, a) for a, b in messages}
    moves = np.flatnonzero((tasks.kind == LOAD) | (tasks.kind == STORE))
    channels, count = wiring.channels, len(wiring.memory_first_channel)
    ports = [set(channels.port_node[channels.memory == m].tolist()) - {NONE} for m in range(count)]
    for core, memory in _distinct(tasks.core[moves], tasks.memory[moves], count):
        pairs |= {(REQUEST_NETWORK, core, port) for port in ports[memory]}
        pairs |= {(RESPONSE_NETWORK, port, core) for port in ports[memory]}
    return sorted(pairs)


def _distinct(left: np.ndarray, right: np.ndarray, num_right: int) -> list[tuple[int, int]]:
    """The different pairs of two columns; `right` is below `num_right`."""
    seen = np.zeros((int(left.max(initial=0)) + 1, max(num_right, 1)), bool)
    seen[left, right] = True
    return [(int(a), int(b)) for a, b in np.argwhere(seen)]


def _links(wiring: Wiring, inject: dict, pairs: list) -> list[_Link]:
    """The injection links in the order of `inject`, then a link for every pair, then one for every
    core that loads from memory ports. Where a scratchpad's port is slower than a link, the link is
    as slow."""
    takes = np.full(wiring.num_nodes, FAR_BYTES)
    takes[: wiring.num_cores] = np.maximum(1, wiring.port_den // wiring.port_num)
    links = [
        _Link(network, min(int(wiring.link_bytes[link]), int(takes[node])),
              int(wiring.link_ticks[link]), wiring.link_name[link], to_router=node)
        for (network, node), link in inject.items()
    ]  # fmt: skip
    received = {}
    known: dict[tuple[int, int, int], _Way] = {}
    for network, source, goal in pairs:
        router = int(wiring.link_to_router[inject[network, source]])
        way = _way(wiring, network, router, goal, known)
        width = min(way.link_bytes, int(takes[goal]))
        end = wiring.link_name[way.last]
        start = wiring.link_name[inject[network, source]].removesuffix(" in")
        name = f"{start} to {end.split(' ', 1)[1].removesuffix(' out')}"
        routed = (source, goal)
        if goal < wiring.num_cores <= source:
            second = wiring.num_nodes + goal
            ticks = max(1, way.ticks - 1)  # the last link takes at least one
            links.append(_Link(network, width, ticks, name, to_router=second, routed=routed))
            own = min(int(wiring.link_bytes[way.last]), int(takes[goal]))
            received[goal] = _Link(network, own, 1, end, to_node=goal, routed=(second, goal))
        else:
            links.append(_Link(network, width, way.ticks, name, to_node=goal, routed=routed))
    return links + list(received.values())


def _way(wiring: Wiring, network: int, router: int, node: int, known: dict) -> _Way:
    """Follows the routes from a router to a node; ways `known` already are not followed again."""
    key = (network, router, node)
    if key not in known:
        link = int(wiring.route[key])
        ticks, width = int(wiring.link_ticks[link]), int(wiring.link_bytes[link])
        if wiring.link_to_router[link] == NONE:
            known[key] = _Way(ticks, width, link)
        else:
            rest = _way(wiring, network, int(wiring.link_to_router[link]), node, known)
            known[key] = _Way(ticks + rest.ticks, min(width, rest.link_bytes), rest.last)
    return known[key]


def _link_columns(links: list[_Link]) -> dict[str, Any]:
    return {
        "link_network": np.array([link.network for link in links]),
        "link_bytes": np.array([link.num_bytes for link in links]),
        "link_ticks": np.array([link.ticks for link in links]),
        "link_to_router": np.array([link.to_router for link in links]),
        "link_to_node": np.array([link.to_node for link in links]),
        "link_name": [link.name for link in links],
    }


def _sources(wiring: Wiring, inject: dict, num_links: int) -> dict[str, Any]:
    """Source FIFOs, whose ids begin after those of the links, on the renumbered injection links."""
    number = {link: index for index, link in enumerate(inject.values())}
    shift = num_links - wiring.num_links * wiring.num_vcs
    channels = wiring.channels
    sources = np.where(channels.source == NONE, NONE, channels.source + shift)
    return {
        "source_link": np.array([number[link] for link in wiring.source_link.tolist()], np.int32),
        "core_source": np.where(wiring.core_source == NONE, NONE, wiring.core_source + shift),
        "channels": replace(channels, source=sources),
    }


def _routes(wiring: Wiring, links: list[_Link]) -> np.ndarray:
    """[network, router, node] → link; a pair that no task uses has none to be asked for."""
    routers = wiring.num_nodes + wiring.num_cores
    routes = np.zeros((NUM_NETWORKS, routers, wiring.num_nodes), np.int32)
    for index, link in enumerate(links):
        if link.routed:
            routes[link.network, *link.routed] = index
    return routes
