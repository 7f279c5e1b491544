"""The NoC: packets that enter a source FIFO → when they leave it and when they arrive."""

from collections.abc import Iterator

from npusim.engine.reference.clock import Clock
from npusim.engine.reference.counters import Bytes
from npusim.engine.reference.link import Link
from npusim.engine.reference.packet import Fifo, Packet
from npusim.engine.tables import NONE, RESPONSE_NETWORK, Wiring


class Network:
    """All links and FIFOs of both networks."""

    def __init__(self, clock: Clock, wiring: Wiring):
        self._clock, self._wiring = clock, wiring
        self.moved = Bytes(wiring.num_links)
        self.links = [Link(clock, wiring, row, self) for row in range(wiring.num_links)]
        self._fifos: list[Fifo] = []
        for link in self.links:
            self._add_downstream(link)
        for _ in wiring.source_link:
            self._fifos.append(Fifo(len(self._fifos), None, NONE, None))

    def packet(self, task: int, network: int, node: int, payload: int = 0, **lock) -> Packet:
        """A new packet; without payload it is a header only."""
        clock, wire_bytes = self._clock, payload + self._wiring.header_bytes
        return Packet(
            task, network, node, payload, wire_bytes, clock.event(), clock.event(), **lock
        )

    def send(self, packet: Packet, source: int) -> None:
        """The packet enters the source FIFO with this id."""
        self.enter(self._fifos[source], packet)

    def enter(self, fifo: Fifo, packet: Packet) -> None:
        fifo.packets.append(packet)
        if len(fifo.packets) == 1:
            self.wish(fifo)

    def wish(self, fifo: Fifo) -> None:
        """The first packet of a FIFO makes its wish known."""
        fifo.wish_tick = self._clock.now
        link = self._wanted(fifo.id, fifo.router, fifo.packets[0])
        link.wishes.append(fifo)
        link.look()

    def free_ejection(self, packet: Packet) -> None:
        """The packet gives its ejection slot back."""
        link = packet.at_link
        assert link is not None
        link.free_ejections += 1
        link.look()

    def unlock_path(self, source: int, node: int, owner: int) -> None:
        """Releases the links that an acknowledge has locked from a source FIFO to a node."""
        for link in self._path(source, node):
            link.lock.release(owner)
            link.look()

    def _path(self, source: int, node: int) -> Iterator[Link]:
        link = self.links[int(self._wiring.source_link[source - self._first_source])]
        yield link
        while link.to_router != NONE:
            link = self.links[int(self._wiring.route[RESPONSE_NETWORK, link.to_router, node])]
            yield link

    @property
    def _first_source(self) -> int:
        return self._wiring.num_links * self._wiring.num_vcs

    def _wanted(self, fifo_id: int, router: int, packet: Packet) -> Link:
        if router == NONE:
            return self.links[int(self._wiring.source_link[fifo_id - self._first_source])]
        return self.links[int(self._wiring.route[packet.network, router, packet.node])]

    def _add_downstream(self, link: Link) -> None:
        slots = self._wiring.buffer_packets
        for _ in range(self._wiring.num_vcs):
            fifo = Fifo(len(self._fifos), link, link.to_router, slots)
            self._fifos.append(fifo)
            link.downstream.append(fifo)
