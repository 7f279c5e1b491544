"""Wiring → all parts of the chip, wired up."""

import random

from npusim.engine.reference.channel import Channel
from npusim.engine.reference.clock import Clock
from npusim.engine.reference.counters import Bytes
from npusim.engine.reference.ledger import Ledger
from npusim.engine.reference.messages import Messages
from npusim.engine.reference.network import Network
from npusim.engine.reference.port import Port
from npusim.engine.tables import Tasks, Wiring


class Chip:
    """The parts that queues work with. `shuffle`: see Clock."""

    def __init__(self, wiring: Wiring, shuffle: random.Random | None = None):
        self.wiring = wiring
        self.clock = clock = Clock(wiring.khz, shuffle)
        self.ledger = Ledger(clock)
        self.network = Network(clock, wiring)
        self.messages = Messages(clock, wiring, self.network, self.ledger)
        self.ports = [
            Port(clock, int(num), int(den))
            for num, den in zip(wiring.port_num, wiring.port_den, strict=True)
        ]
        self.channel_bytes = Bytes(len(wiring.channels))
        self.channels = [
            Channel(clock, wiring.channels, row, self.channel_bytes)
            for row in range(len(wiring.channels))
        ]

    @property
    def tasks(self) -> Tasks:
        """All that were handed over so far."""
        return self.ledger.tasks

    def source(self, core: int, network: int, engine: int) -> int:
        """The source FIFO of a core's DMA engine."""
        return int(self.wiring.core_source[core, network, engine])
