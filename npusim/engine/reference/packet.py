"""What moves through the NoC and waits in it: packets, FIFOs of packets, locks on links."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import simpy

if TYPE_CHECKING:
    from npusim.engine.reference.link import Link


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
    message_bytes: int = 0  # of the whole message whose data it is, 0: it is no message's data
    at_link: Link | None = None  # by which it came to its node

    @property
    def is_message(self) -> bool:
        return self.message_bytes > 0


@dataclass(eq=False)
class Fifo:
    """Packets in order, the first of which wishes for a link. `free`: room in flits, on a ring in
    packets; None: no bound."""

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

    def take(self, owner: int, num_bytes: int) -> None:
        """From now on the link belongs to a message of so many bytes."""
        assert self.owner is None or self.owner == owner
        self.owner, self._bytes_left = owner, num_bytes

    def pass_data(self, packet: Packet) -> None:
        """A packet of a message goes by; the first takes the lock if nothing has before."""
        if self.owner is None:
            self.take(packet.task, packet.message_bytes)
        self._bytes_left -= packet.payload

    def tail_left(self) -> bool:
        """Releases the lock if that was the tail of the message's last packet."""
        return self._bytes_left == 0 and self.owner is not None and self.release(self.owner)

    def release(self, owner: int) -> bool:
        """Releases the lock if it is this message's; says whether it was."""
        if self.owner != owner:
            return False
        self.owner = None
        return True
