"""Published facts of Tenstorrent Wormhole → its two NoCs as the engine's tables.

NoC 0 is a torus whose packets go east, then south; NoC 1 one whose packets go north, then west. A
tile has an NIU on each, here a core of the engine: `niu(noc, tile)`, tile = row · 10 + column.
Sources: ISA, tenstorrent/tt-isa-documentation, WormholeB0 (NoC/README.md, DRAMTile/README.md); NPE,
the device model wormhole_b0 of tenstorrent/tt-npe, rates that its authors measured on the chip.

Assumes that a DRAM tile's NIU is the only limit of its memory: the two channels behind three tiles
give 24 GB/s each (ISA), and software reads each through a tile of its own.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import TypeVar

import numpy as np

from npusim.engine.tables import NUM_NETWORKS, RESPONSE_NETWORK, Channels, Wiring
from npusim.machine.noc import Net

ROWS, COLUMNS = 12, 10  # ISA
NUM_TILES = ROWS * COLUMNS
NUM_NIUS = 2 * NUM_TILES
DRAM_TILES = {row * COLUMNS for row in (0, 1, 5, 6, 7, 11)} | {
    row * COLUMNS + 5 for row in range(ROWS)
}  # NPE: where DRAM tiles stand

HOP_CYCLES = 9  # ISA: router to router
NIU_CYCLES = 5  # ISA: NIU to router, router to NIU
SERVE_CYCLES = (
    50  # NPE: a read of the own tile takes 70 cycles, 4 x 5 of them to and from the router
)
LINK_BYTES_PER_CYCLE = 30.0  # NPE (ISA: a flit of 32 bytes, headers included)
TENSIX_BYTES_PER_CYCLE = 28.1  # in and out; NPE
DRAM_BYTES_PER_CYCLE = 23.2  # out; NPE (ISA: 24 at the most, 22.3 measured)
RESPONSE_VCS = 4  # ISA: of 16
VC_BYTES = 32 + 480  # ISA: of its own, and what it may take of the shared buffer
VCS_OF_A_PACKET = 2  # ISA: the buddy bit; the other two are beyond the dateline

PACKET_BYTES = 128  # Assumes that a buffer is taken and freed in pieces of 4 flits
TICKS_PER_CYCLE = 16  # so that rounding up a piece's time costs 1 % at most
UNITS_PER_BYTE = 160  # 0.1 byte a cycle is then a unit a tick: rates are whole

Numbers = TypeVar("Numbers", int, np.ndarray)
Step = tuple[int, int]
STEPS: tuple[dict[str, Step], ...] = (
    {"east": (0, 1), "south": (1, 0)},
    {"north": (-1, 0), "west": (0, -1)},
)  # by NoC, in the order in which a packet takes them


def niu(noc: Numbers, tile: Numbers) -> Numbers:
    """The engine's number of a tile's NIU, and of the router beside it; one or an array (n,)."""
    return noc * NUM_TILES + tile


def num_hops(noc: int, source: int, target: int) -> int:
    """Links between routers from one tile to another."""
    return sum(count for _, count in _ways(noc, source, target))


def _ways(noc: int, source: int, target: int) -> Iterator[tuple[str, int]]:
    """Sides that a packet leaves by, in order, and how often."""
    down = target // COLUMNS - source // COLUMNS
    right = target % COLUMNS - source % COLUMNS
    for side, (row_step, column_step) in STEPS[noc].items():
        yield side, (down * row_step) % ROWS if row_step else (right * column_step) % COLUMNS


def _units(bytes_per_cycle: float) -> int:
    return round(bytes_per_cycle * UNITS_PER_BYTE / TICKS_PER_CYCLE)


def build_links() -> Net:
    """NIU and router links of both NoCs."""
    net = Net()
    for noc in range(2):
        for tile in range(NUM_TILES):
            place, name = niu(noc, tile), f"NoC {noc} {tile % COLUMNS},{tile // COLUMNS}"
            out = DRAM_BYTES_PER_CYCLE if tile in DRAM_TILES else TENSIX_BYTES_PER_CYCLE
            ticks = NIU_CYCLES * TICKS_PER_CYCLE
            net.inject[RESPONSE_NETWORK, place] = net.add(
                RESPONSE_NETWORK, _units(out), ticks, f"{name} in", router=place
            )
            net.eject[RESPONSE_NETWORK, place] = net.add(
                RESPONSE_NETWORK, _units(TENSIX_BYTES_PER_CYCLE), ticks, f"{name} out", node=place
            )
        _add_rings(net, noc)
    return net


def _add_rings(net: Net, noc: int) -> None:
    for tile in range(NUM_TILES):
        row, column = divmod(tile, COLUMNS)
        for axis, (side, (down, right)) in enumerate(STEPS[noc].items()):
            there = (row + down) % ROWS * COLUMNS + (column + right) % COLUMNS
            net.step[RESPONSE_NETWORK, niu(noc, tile), side] = net.add(
                RESPONSE_NETWORK,
                _units(LINK_BYTES_PER_CYCLE),
                HOP_CYCLES * TICKS_PER_CYCLE,
                f"NoC {noc} {column},{row} {side}",
                router=niu(noc, there),
                ring=(2 * noc + axis) * NUM_TILES + (row if right else column),
            )


def build_routes(net: Net) -> np.ndarray:
    """[network, router, NIU] → next link; there is only the response network."""
    routes = np.zeros((NUM_NETWORKS, NUM_NIUS, NUM_NIUS), np.int32)
    for noc in range(2):
        for here in range(NUM_TILES):
            for goal in range(NUM_TILES):
                side = next((side for side, count in _ways(noc, here, goal) if count), None)
                place, end = niu(noc, here), niu(noc, goal)
                routes[RESPONSE_NETWORK, place, end] = (
                    net.step[RESPONSE_NETWORK, place, side]
                    if side
                    else net.eject[RESPONSE_NETWORK, end]
                )
    return routes


def _build_sources(net: Net) -> dict[str, np.ndarray]:
    """A FIFO for every response that an NIU can have under way (and one that is never used, where
    the engine wants the acknowledges')."""
    count = VCS_OF_A_PACKET + 1
    link = np.repeat([net.inject[RESPONSE_NETWORK, place] for place in range(NUM_NIUS)], count)
    first = len(net.names) * RESPONSE_VCS
    of_core = first + np.arange(NUM_NIUS * count).reshape(NUM_NIUS, 1, count)
    return {"source_link": link, "core_source": np.repeat(of_core, NUM_NETWORKS, axis=1)}


def build_wiring() -> Wiring:
    """Both NoCs; times in sixteenths of a cycle, sizes in units of 1/160 byte."""
    net = build_links()
    nothing, piece = np.zeros(0, np.int64), PACKET_BYTES * UNITS_PER_BYTE

    def each(value: int) -> np.ndarray:
        return np.full(NUM_NIUS, value)

    return Wiring(
        khz=TICKS_PER_CYCLE * 1_000_000,  # a cycle is 1 ns
        num_cores=NUM_NIUS,
        num_nodes=NUM_NIUS,
        num_vcs=RESPONSE_VCS,
        buffer_packets=VC_BYTES // PACKET_BYTES,
        locked=False,
        lock_ack=False,
        fifo_arbitration=False,
        handshake=False,
        header_bytes=0,  # in the rates
        min_packet_bytes=piece,
        max_packet_bytes=piece,
        packets_per_message=1,
        link_network=np.array(net.network),
        link_bytes=np.array(net.width),
        link_ticks=np.array(net.ticks),
        link_to_router=np.array(net.to_router),
        link_to_node=np.array(net.to_node),
        link_name=net.names,
        link_ring=np.array(net.ring),
        route=build_routes(net),
        **_build_sources(net),
        port_num=each(0),  # L1 is no limit beyond the NIU's
        port_den=each(1),
        dma_unit_bytes=each(piece),
        dma_outstanding=each(4),  # pieces that wait at the NIU's link; more change nothing
        dma_issue_ticks=each(1),
        channels=Channels(**{field.name: nothing for field in fields(Channels)}),
        memory_first_channel=nothing,
        memory_num_channels=nothing,
        memory_interleave=nothing,
    )
