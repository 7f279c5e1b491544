"""Mesh and NoC specs → links, routes and source FIFOs, as flat tables.

Both networks (requests; responses and messages) have links of their own. On a mesh or torus router
i stands at core i; the hub of a crossbar is its only router.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from npusim.cost.paths import Grid, line_steps
from npusim.engine.tables import NONE, NUM_NETWORKS, REQUEST_NETWORK, RESPONSE_NETWORK
from npusim.spec.hardware import Hardware

STEPS = {"east": (0, 1), "west": (0, -1), "south": (1, 0), "north": (-1, 0)}
LABELS = ("request", "response")
ONE_WAY = (("east", "south"), ("west", "north"))  # by network


@dataclass
class Net:
    """Links in the making: a row a link, then the routes over them."""

    network: list[int] = field(default_factory=list)
    width: list[int] = field(default_factory=list)  # bytes a tick
    ticks: list[int] = field(default_factory=list)
    to_router: list[int] = field(default_factory=list)
    to_node: list[int] = field(default_factory=list)
    ring: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    inject: dict[tuple[int, int], int] = field(default_factory=dict)  # (network, node) → link
    eject: dict[tuple[int, int], int] = field(default_factory=dict)
    step: dict[tuple[int, int, str], int] = field(default_factory=dict)  # (network, router, side)

    def add(
        self, network: int, width: int, ticks: int, name: str, *, router=NONE, node=NONE, ring=NONE
    ) -> int:
        self.network.append(network)
        self.width.append(width)
        self.ticks.append(ticks)
        self.to_router.append(router)
        self.to_node.append(node)
        self.ring.append(ring)
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
    """Injection and ejection links of all nodes and those between routers, for both networks.

    Assumes that wrap-around links are as long as the others (a folded torus).
    """
    net, noc = Net(), hw.noc
    hop, columns = noc.router_cycles + noc.link_cycles, hw.mesh.columns
    for network in range(NUM_NETWORKS):
        for node, router in enumerate(routers_of_nodes):
            is_core, name = node < hw.mesh.num_cores, _node_name(hw, node)
            width = noc.link_bytes_per_cycle if is_core else noc.port_width
            net.inject[network, node] = net.add(
                network, width, noc.link_cycles, f"{name} in", router=router
            )
            net.eject[network, node] = net.add(network, width, hop, f"{name} out", node=node)
        for router, side, there, ring in _steps(hw, network):
            name = "{},{} {}".format(*divmod(router, columns), side)
            net.step[network, router, side] = net.add(
                network, noc.link_bytes_per_cycle, hop, name, router=there, ring=ring
            )
    return net


def _node_name(hw: Hardware, node: int) -> str:
    if node < hw.mesh.num_cores:
        return "core {},{}".format(*divmod(node, hw.mesh.columns))
    return f"memory port {node - hw.mesh.num_cores}"


def _steps(hw: Hardware, network: int) -> Iterator[tuple[int, str, int, int]]:
    """Router, side, the router there and the ring of every link between routers of a network. A
    ring is what a torus has of one direction in one row or column."""
    if hw.noc.topology == "crossbar":
        return
    mesh, is_torus = hw.mesh, hw.noc.topology == "torus"
    sides = ONE_WAY[network] if hw.noc.one_way else tuple(STEPS)
    lines = max(mesh.rows, mesh.columns)
    for router in range(mesh.num_cores):
        row, column = divmod(router, mesh.columns)
        for side in sides:
            down, right = STEPS[side]
            to_row, to_column = (row + down) % mesh.rows, (column + right) % mesh.columns
            there = to_row * mesh.columns + to_column
            wraps = (to_row, to_column) != (row + down, column + right)
            if there == router or (wraps and not is_torus):
                continue
            line = row if right else column
            ring = (network * len(STEPS) + [*STEPS].index(side)) * lines + line
            yield router, side, there, ring if is_torus else NONE


def build_routes(hw: Hardware, net: Net, routers_of_nodes: list[int]) -> np.ndarray:
    """[network, router, node] → next link: along the row first, then along the column, then out."""
    grid, (rows, columns) = Grid(*hw.grid), (hw.mesh.rows, hw.mesh.columns)
    goal_row, goal_column = np.divmod(np.array(routers_of_nodes), columns)
    routes = np.zeros((NUM_NETWORKS, num_routers(hw), len(routers_of_nodes)), np.int32)
    for network in range(NUM_NETWORKS):
        is_request = network == REQUEST_NETWORK
        out = np.array([net.eject[network, node] for node in range(len(routers_of_nodes))])
        for router in range(num_routers(hw)):
            row, column = divmod(router, columns)
            side = {s: net.step.get((network, router, s), NONE) for s in STEPS}
            down = line_steps(row, goal_row, rows, grid, is_request)
            right = line_steps(column, goal_column, columns, grid, is_request)
            vertical = np.where(down > 0, side["south"], side["north"])
            across = np.where(right > 0, side["east"], side["west"])
            routes[network, router] = np.where(
                right != 0, across, np.where(down != 0, vertical, out)
            )
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
