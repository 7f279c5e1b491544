"""Mesh and NoC specs → links, routes and source FIFOs, as flat tables.

Both networks (requests; responses and messages) have links of their own. On a mesh or torus router
i stands at core i; the hub of a crossbar is its only router.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from npusim.engine.tables import NONE, NUM_NETWORKS, REQUEST_NETWORK, RESPONSE_NETWORK
from npusim.spec.hardware import Hardware

STEPS = {"east": (0, 1), "west": (0, -1), "south": (1, 0), "north": (-1, 0)}
LABELS = ("request", "response")


@dataclass
class Net:
    """Links in the making: a row a link, then the routes over them."""

    network: list[int] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    to_router: list[int] = field(default_factory=list)
    to_node: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    inject: dict[tuple[int, int], int] = field(default_factory=dict)  # (network, node) → link
    eject: dict[tuple[int, int], int] = field(default_factory=dict)
    step: dict[tuple[int, int, str], int] = field(default_factory=dict)  # (network, router, side)

    def add(self, network: int, ticks: int, name: str, *, router=NONE, node=NONE) -> int:
        self.network.append(network)
        self.ticks.append(ticks)
        self.to_router.append(router)
        self.to_node.append(node)
        self.names.append(f"{LABELS[network]} {name}")
        return len(self.names) - 1


def node_routers(hw: Hardware, port_routers: list[int]) -> list[int]:
    """Router of every node: the cores', then the memory ports'."""
    if hw.noc.topology == "crossbar":
        return [0] * (hw.mesh.num_cores + len(port_routers))
    return [*range(hw.mesh.num_cores), *port_routers]


def num_routers(hw: Hardware) -> int:
    """Routers of one network."""
    return 1 if hw.noc.topology == "crossbar" else hw.mesh.num_cores


def build_links(hw: Hardware, routers_of_nodes: list[int]) -> Net:
    """Injection and ejection links of all nodes and those between routers, for both networks."""
    net = Net()
    hop = hw.noc.router_cycles + hw.noc.link_cycles
    for network in range(NUM_NETWORKS):
        for node, router in enumerate(routers_of_nodes):
            name = _node_name(hw, node)
            net.inject[network, node] = net.add(
                network, hw.noc.link_cycles, f"{name} in", router=router
            )
            net.eject[network, node] = net.add(network, hop, f"{name} out", node=node)
        for router, side, there in _steps(hw):
            row, column = divmod(router, hw.mesh.columns)
            name = f"{row},{column} {side}"
            net.step[network, router, side] = net.add(network, hop, name, router=there)
    return net


def _node_name(hw: Hardware, node: int) -> str:
    if node < hw.mesh.num_cores:
        return "core {},{}".format(*divmod(node, hw.mesh.columns))
    return f"memory port {node - hw.mesh.num_cores}"


def _steps(hw: Hardware) -> Iterator[tuple[int, str, int]]:
    """Router, side and the router there of every link between routers."""
    mesh = hw.mesh
    for router in range(mesh.num_cores if hw.noc.topology != "crossbar" else 0):
        row, column = divmod(router, mesh.columns)
        for side, (down, right) in STEPS.items():
            there = (row + down, column + right)
            if 0 <= there[0] < mesh.rows and 0 <= there[1] < mesh.columns:
                yield router, side, there[0] * mesh.columns + there[1]


def build_routes(hw: Hardware, net: Net, routers_of_nodes: list[int]) -> np.ndarray:
    """[network, router, node] → next link: along the row first, then along the column, then out."""
    goal_row, goal_column = np.divmod(np.array(routers_of_nodes), hw.mesh.columns)
    routes = np.zeros((NUM_NETWORKS, num_routers(hw), len(routers_of_nodes)), np.int32)
    for network in range(NUM_NETWORKS):
        out = np.array([net.eject[network, node] for node in range(len(routers_of_nodes))])
        for router in range(num_routers(hw)):
            row, column = divmod(router, hw.mesh.columns)
            side = {s: net.step.get((network, router, s), NONE) for s in STEPS}
            vertical = np.where(goal_row > row, side["south"], side["north"])
            here = np.where(goal_row == row, out, vertical)
            across = np.where(goal_column > column, side["east"], side["west"])
            routes[network, router] = np.where(goal_column == column, here, across)
    return routes


@dataclass(frozen=True)
class Sources:
    """Source FIFOs: the link each feeds, and whose it is."""

    link: np.ndarray
    of_core: np.ndarray  # [core, network, engine]; the last engine index is for acknowledges
    of_channel: np.ndarray


def build_sources(hw: Hardware, net: Net, num_vcs: int, port_of_channel: np.ndarray) -> Sources:
    """A FIFO for every DMA engine and network, one a core for acknowledges, one an edge channel."""
    engines = [core.dma.engines for core in hw.cores()]
    first = len(net.names) * num_vcs
    links: list[int] = []

    def new(network: int, node: int) -> int:
        links.append(net.inject[network, node])
        return first + len(links) - 1

    of_core = np.full((hw.mesh.num_cores, NUM_NETWORKS, max(engines) + 1), NONE, np.int32)
    for core, count in enumerate(engines):
        for network in range(NUM_NETWORKS):
            for engine in range(count):
                of_core[core, network, engine] = new(network, core)
        of_core[core, RESPONSE_NETWORK, -1] = new(RESPONSE_NETWORK, core)
    of_channel = np.array(
        [NONE if node == NONE else new(RESPONSE_NETWORK, int(node)) for node in port_of_channel],
        dtype=np.int32,
    )
    return Sources(np.array(links, np.int32), of_core, of_channel)


assert REQUEST_NETWORK == 0
