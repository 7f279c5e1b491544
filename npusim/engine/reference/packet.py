"""What moves through the NoC and waits in it: packets, FIFOs of packets, locks on links."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import simpy

if TYPE_CHECKING:
    from npusim.engine.reference.link import Link

CONTROL, MESSAGE, ACKNOWLEDGE = "control or memory", "message", "acknowledge"


@dataclass(eq=False)
class Packet:
    """`left` happens when its tail has left the first link, `arrived` when it is at `node`."""

    task: int
    network: int
    node: int
    payload: int
    wire_bytes: int  # payload and header
    left: simpy.Event
    arrived: simpy.Event
    role: str = CONTROL  # what it means to locks
    message_bytes: int = 0  # of the whole message
    at_link: Link | None = None  # by which it came to its node


@dataclass(eq=False)
class Fifo:
    """Packets in order, the first of which wishes for a link. `free` slots, None: no bound."""

    id: int
    feeder: Link | None
    router: int
    free: int | None
    packets: deque[Packet] = field(default_factory=deque)
    wish_tick: int = 0


class Lock:
    """To which message (its SEND) a link belongs, None: to nobody."""

    def __init__(self) -> None:
        self.owner: int | None = None
        self._bytes_left = 0
        self._for_acknowledge = False

    def admits(self, packet: Packet) -> bool:
        return self.owner is None or self.owner == packet.task

    def take_for_message(self, packet: Packet) -> None:
        """Held from the first packet of a message until the tail of its last has left."""
        if self.owner is None:
            self.owner, self._bytes_left = packet.task, packet.message_bytes
        self._bytes_left -= packet.payload

    def take_for_acknowledge(self, packet: Packet) -> None:
        """Held until `release`, when the receiver has the message's data."""
        self.owner, self._for_acknowledge = packet.task, True

    def tail_left(self) -> None:
        if self.owner is not None and not self._for_acknowledge and self._bytes_left == 0:
            self.owner = None

    def release(self, owner: int) -> None:
        if self.owner == owner:
            self.owner, self._for_acknowledge = None, False
