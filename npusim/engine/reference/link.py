"""A link of the NoC: FIFOs that wish for it → packets granted and sent (phase E)."""

from typing import Protocol

from npusim.engine.reference.clock import Bell, Clock, Phase, Steps
from npusim.engine.reference.counters import SPAN_GAP_TICKS, Bytes, Track
from npusim.engine.reference.packet import Fifo, Lock, Packet
from npusim.engine.tables import NONE, Wiring
from npusim.units import ceil_div


class Fabric(Protocol):
    """What a link needs to know of the network around it."""

    moved: Bytes

    def enter(self, fifo: Fifo, packet: Packet) -> None: ...

    def wish(self, fifo: Fifo) -> None: ...

    def unlocked(self) -> None: ...

    def ahead(self, router: int, packet: Packet) -> "Link": ...


class Link:
    """A process that grants itself to one packet after the other."""

    def __init__(self, clock: Clock, wiring: Wiring, row: int, fabric: "Fabric"):
        self._clock, self._wiring, self.row, self._fabric = clock, wiring, row, fabric
        self.to_router = int(wiring.link_to_router[row])
        self.to_core = 0 <= int(wiring.link_to_node[row]) < wiring.num_cores
        self.name = wiring.link_name[row]
        self.width = int(wiring.link_bytes[row])
        self.ring = NONE if wiring.link_ring is None else int(wiring.link_ring[row])
        self.downstream: list[Fifo] = []
        self.free_ejections = wiring.buffer_packets * wiring.num_vcs
        self.wishes: list[Fifo] = []
        self.lock = Lock()
        self._last_fifo = -1
        self._bell = Bell(clock, Phase.LINKS)
        self.packets = self.bytes = self.busy_ticks = self.wait_ticks = 0
        self.track = Track(len(wiring.channels) + row, SPAN_GAP_TICKS)
        clock.start(self._run())

    def look(self) -> None:
        """Something has changed: the link looks at its wishes in phase E, if it is free."""
        self._bell.ring()

    def _run(self) -> Steps:
        while True:
            yield from self._bell.wait()
            while fifo := self._choose():
                flits = self._grant(fifo)
                yield self._clock.after(flits)
                self._tail_left(fifo)
                yield self._clock.at(self._clock.now, Phase.LINKS)

    def _lane(self, packet: Packet) -> list[Fifo]:
        """FIFOs at the far end that a packet may use."""
        if not self._wiring.split_vcs:
            return self.downstream
        return self.downstream[-1:] if packet.is_message else self.downstream[:-1]

    def _is_unlocked_for(self, packet: Packet) -> bool:
        heeds_locks = packet.is_message or self._wiring.locks_stop_all
        return self.lock.owner in (None, packet.task) or not heeds_locks

    def _has_room(self, packet: Packet) -> bool:
        """Whether a packet would find anything but full FIFOs at the far end."""
        if self.to_router != NONE:
            return any(fifo.free for fifo in self._lane(packet))
        return not self.to_core or self.free_ejections > 0

    def _leaves_a_slot(self, fifo: Fifo) -> bool:
        """A packet that comes into a ring may not take the last slot."""
        comes_round = fifo.feeder is not None and fifo.feeder.ring == self.ring
        return self.ring == NONE or comes_round or sum(f.free or 0 for f in self.downstream) > 1

    def _choose(self) -> Fifo | None:
        allowed = [
            fifo
            for fifo in self.wishes
            if self._is_unlocked_for(fifo.packets[0])
            and self._has_room(fifo.packets[0])
            and self._leaves_a_slot(fifo)
        ]
        by_age = self._wiring.fifo_arbitration
        first = min(allowed, key=self._age if by_age else self._turn, default=None)
        return first if first and self._fits(first.packets[0]) else None

    def _age(self, fifo: Fifo) -> tuple[int, int]:
        return fifo.wish_tick, fifo.id

    def _turn(self, fifo: Fifo) -> tuple[bool, int]:
        return fifo.id <= self._last_fifo, fifo.id

    def _fits(self, packet: Packet) -> bool:
        """Whether there is room for all of a packet: else it is waited for."""
        if self.to_router == NONE:
            return True
        return max(fifo.free or 0 for fifo in self._lane(packet)) >= self.room(packet)

    def room(self, packet: Packet) -> int:
        """What a packet takes of a FIFO at the far end: its flits; on a ring a slot."""
        return self.flits(packet) if self.ring == NONE else 1

    def _grant(self, fifo: Fifo) -> int:
        """Sends the first packet of `fifo` on its way; returns its flits."""
        clock, now, packet = self._clock, self._clock.now, fifo.packets[0]
        flits = self.flits(packet)
        self.wishes.remove(fifo)
        self._last_fifo = fifo.id
        if self._wiring.locked and packet.is_message:
            self.lock.pass_data(packet)
        self._count(packet, flits, now - fifo.wish_tick)
        if fifo.feeder is None:
            clock.fire(packet.left, now + flits, Phase.EVENTS)
        else:
            clock.start(self._give_back(fifo, fifo.feeder, packet))
        if self.to_router != NONE:
            held_back = max(0, flits - self._fabric.ahead(self.to_router, packet).flits(packet))
            clock.start(self._move_head(packet, self._ticks + held_back))
        else:
            packet.at_link = self
            self.free_ejections -= 1 if self.to_core else 0
            clock.fire(packet.arrived, now + self._ticks + flits, Phase.EVENTS)
        return flits

    def flits(self, packet: Packet) -> int:
        """Ticks that a packet keeps the link busy."""
        return max(1, ceil_div(packet.wire_bytes, self.width))

    @property
    def _ticks(self) -> int:
        return int(self._wiring.link_ticks[self.row])

    def _move_head(self, packet: Packet, ticks: int) -> Steps:
        """Takes room in the roomiest FIFO downstream; the head gets there after the delay."""
        fifo = max(self._lane(packet), key=lambda fifo: (fifo.free, -fifo.id))
        assert fifo.free
        fifo.free -= self.room(packet)
        yield self._clock.after(ticks)
        self._fabric.enter(fifo, packet)

    def _give_back(self, fifo: Fifo, feeder: "Link", packet: Packet) -> Steps:
        """There is room again as soon as a packet leaves, if the next cannot come any faster."""
        yield self._clock.after(1 if self.width >= feeder.width else self.flits(packet))
        assert fifo.free is not None
        fifo.free += feeder.room(packet)
        feeder.look()

    def _tail_left(self, fifo: Fifo) -> None:
        fifo.packets.popleft()
        if self.lock.tail_left():
            self._fabric.unlocked()
        if fifo.packets:
            self._fabric.wish(fifo)

    def _count(self, packet: Packet, flits: int, waited: int) -> None:
        now = self._clock.now
        self.packets += 1
        self.bytes += packet.wire_bytes
        self.busy_ticks += flits
        self.wait_ticks += waited
        self._fabric.moved.add(self.row, now, packet.wire_bytes)
        self.track.add(packet.task, now, now + flits, packet.wire_bytes)
