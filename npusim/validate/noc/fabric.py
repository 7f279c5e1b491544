"""A mesh and its router's parameters → the tables that the flit simulator walks over.

Two networks (requests; responses and messages) of the same shape share nothing but the nodes. Nodes
are the cores and, after them, memory ports; each has an injection and an ejection link per network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NONE = -1
NUM_NETWORKS = 2
REQUESTS, RESPONSES = range(NUM_NETWORKS)
EAST, WEST, SOUTH, NORTH = range(4)
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # (rows, columns), in the order above


@dataclass(frozen=True)
class Router:
    """What a router is made of. `depth_flits`: of one input virtual channel. `hold_switch`: an
    output stays with a packet until its tail or until it cannot go on (winner takes all); else it
    goes round after every flit. `shared_input`: the virtual channels of an input port have one way
    into the crossbar together, one flit a cycle; else each has its own. `locked`: an output belongs
    to one message from its first packet to its last, and messages have the last virtual channel to
    themselves if there are several."""

    vcs: int
    depth_flits: int
    router_cycles: int = 2
    link_cycles: int = 1
    credit_cycles: int = 1
    hold_switch: bool = True
    shared_input: bool = True
    locked: bool = False


class Fabric(NamedTuple):
    """`into` and `to_node` of a link: the router (of both networks) or the node it ends at, else
    NONE. `step[router, side]` and `eject[network, node]` are links; `sink[node]`: takes anything.
    """

    num_routers: int  # of one network
    columns: int
    vcs: int
    depth: int
    credit_cycles: int
    hold_switch: bool
    shared_input: bool
    locked: bool
    delay: np.ndarray
    into: np.ndarray
    to_node: np.ndarray
    step: np.ndarray
    eject: np.ndarray
    inject: np.ndarray
    router_of_node: np.ndarray
    sink: np.ndarray


def mesh(rows: int, columns: int, router: Router, ports: Sequence[int] = ()) -> Fabric:
    """`rows` × `columns` routers with a core each, and memory ports at some of them."""
    num_routers = rows * columns
    at_router = [*range(num_routers), *ports]
    delay: list[int] = []
    into: list[int] = []
    to_node: list[int] = []

    def link(cycles: int, router_id: int = NONE, node: int = NONE) -> int:
        delay.append(cycles)
        into.append(router_id)
        to_node.append(node)
        return len(delay) - 1

    hop = router.router_cycles + router.link_cycles
    step = np.full((NUM_NETWORKS * num_routers, len(STEPS)), NONE, np.int64)
    inject, eject = np.zeros((2, NUM_NETWORKS, len(at_router)), np.int64)
    for network in range(NUM_NETWORKS):
        first = network * num_routers
        for node, there in enumerate(at_router):
            inject[network, node] = link(router.link_cycles, router_id=first + there)
            eject[network, node] = link(hop, node=node)
        for here in range(num_routers):
            row, column = divmod(here, columns)
            for side, (down, right) in enumerate(STEPS):
                if 0 <= row + down < rows and 0 <= column + right < columns:
                    step[first + here, side] = link(hop, first + here + down * columns + right)
    return Fabric(
        num_routers, columns, router.vcs, router.depth_flits, router.credit_cycles,
        router.hold_switch, router.shared_input, router.locked,
        np.array(delay), np.array(into), np.array(to_node),
        step, eject, inject, np.array(at_router), np.arange(len(at_router)) >= num_routers,
    )  # fmt: skip
