"""The NoC: packets that enter a source FIFO → when they leave it and when they arrive."""

from collections.abc import Callable, Iterator

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
        self.on_unlock: Callable[[], None] = lambda: None  # called when a lock has been released
        self._fifos: list[Fifo] = []
        for link in self.links:
            self._add_downstream(link)
        for _ in wiring.source_link:
            self._fifos.append(Fifo(len(self._fifos), None, NONE, None))

    def packet(self, task: int, network: int, node: int, payload: int = 0, **more) -> Packet:
        """A new packet; without payload it is a header only."""
        clock, wire_bytes = self._clock, payload + self._wiring.header_bytes
        return Packet(
            task, network, node, payload, wire_bytes, clock.event(), clock.event(), **more
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

    def ahead(self, router: int, packet: Packet) -> Link:
        """The link by which a packet leaves a router."""
        return self.links[int(self._wiring.route[packet.network, router, packet.node])]

    def lock_ways(self, ways: list[tuple[int, int]], owner: int, num_bytes: int) -> bool:
        """Locks all links of some ways, each from a source FIFO to a node, for a message; or none,
        and says so, when one of them is locked."""
        links = [link for source, node in ways for link in self._path(source, node)]
        if any(link.lock.owner is not None for link in links):
            return False
        for link in links:
            link.lock.take(owner, num_bytes)
        return True

    def unlock_way(self, source: int, node: int, owner: int) -> None:
        """Releases the links from a source FIFO to a node that are still locked for a message."""
        for link in self._path(source, node):
            if link.lock.release(owner):
                link.look()
                self.unlocked()

    def unlocked(self) -> None:
        """Some link has been released."""
        self.on_unlock()

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
        return self.ahead(router, packet)

    def _add_downstream(self, link: Link) -> None:
        room = int(self._wiring.fifo_room[link.row])
        for _ in range(self._wiring.num_vcs):
            fifo = Fifo(len(self._fifos), link, link.to_router, room)
            self._fifos.append(fifo)
            link.downstream.append(fifo)
