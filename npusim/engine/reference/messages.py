"""Messages between cores: request, acknowledge, data written → when SEND goes on, RECV ends."""

from collections.abc import Callable
from dataclasses import dataclass

from npusim.engine.reference.clock import Bell, Clock, Phase, Steps
from npusim.engine.reference.ledger import Ledger
from npusim.engine.reference.network import Network
from npusim.engine.tables import REQUEST_NETWORK, RESPONSE_NETWORK, SEND, Tasks, Wiring


@dataclass
class Message:
    """What the receiver knows of a message, and where its sender waits for the acknowledge."""

    send: int
    recv: int
    bytes_left: int  # not yet written to the receiver's scratchpad
    posted: bool = False
    requested: bool = False
    acknowledged: bool = False
    on_acknowledge: Callable[[], None] | None = None


class Messages:
    """All messages, by SEND."""

    def __init__(self, clock: Clock, wiring: Wiring, network: Network, ledger: Ledger):
        self._wiring, self._clock = wiring, clock
        self._network, self._ledger = network, ledger
        self.of_send: dict[int, Message] = {}
        self._office = AcknowledgeOffice(clock, self._acknowledge)
        network.on_unlock = self._office.look

    @property
    def _tasks(self) -> Tasks:
        return self._ledger.tasks

    def add(self, numbers: range) -> None:
        """Makes a message of each SEND among these tasks."""
        tasks = self._tasks
        for task in numbers:
            if tasks.kind[task] == SEND:
                self.of_send[task] = Message(task, int(tasks.match[task]), int(tasks.bytes[task]))

    def post(self, recv: int) -> None:
        """A RECV is ready."""
        message = self.of_send[int(self._tasks.match[recv])]
        message.posted = True
        self._consider(message)

    def request(self, send: int, source: int, on_acknowledge: Callable[[], None]) -> None:
        """A SEND asks its receiver, from the source FIFO of its engine; `on_acknowledge` is called
        when the acknowledge has come."""
        message = self.of_send[send]
        message.on_acknowledge = on_acknowledge
        self._clock.start(self._carry_request(message, source))

    def written(self, send: int, num_bytes: int) -> None:
        """A unit of the message is in the receiver's scratchpad."""
        message = self.of_send[send]
        message.bytes_left -= num_bytes
        if message.bytes_left == 0 and self._wiring.lock_ack:
            self._network.unlock_way(*self._acknowledge_way(message), send)
        self._consider(message)

    def _consider(self, message: Message) -> None:
        """Is the message complete, or may it be acknowledged?"""
        if message.posted and message.bytes_left == 0:
            self._ledger.end_task(message.recv)
        elif message.posted and message.requested and not message.acknowledged:
            self._office.add(message)

    def _carry_request(self, message: Message, source: int) -> Steps:
        receiver = int(self._tasks.core[message.recv])
        packet = self._network.packet(message.send, REQUEST_NETWORK, receiver)
        self._network.send(packet, source)
        yield packet.arrived
        self._network.free_ejection(packet)
        message.requested = True
        self._consider(message)

    def _acknowledge(self, message: Message) -> bool:
        """Sends the acknowledge, unless it must wait for locks."""
        ways = [self._acknowledge_way(message), self._data_way(message)]
        if self._wiring.lock_ack and not self._network.lock_ways(
            ways, message.send, message.bytes_left
        ):
            return False
        message.acknowledged = True
        self._clock.start(self._carry_acknowledge(message))
        return True

    def _carry_acknowledge(self, message: Message) -> Steps:
        source, sender = self._acknowledge_way(message)
        packet = self._network.packet(message.send, RESPONSE_NETWORK, sender)
        self._network.send(packet, source)
        yield packet.arrived
        self._network.free_ejection(packet)
        assert message.on_acknowledge is not None
        message.on_acknowledge()

    def _acknowledge_way(self, message: Message) -> tuple[int, int]:
        """Source FIFO and node of the acknowledge."""
        sender, receiver = (int(self._tasks.core[t]) for t in (message.send, message.recv))
        return int(self._wiring.core_source[receiver, RESPONSE_NETWORK, -1]), sender

    def _data_way(self, message: Message) -> tuple[int, int]:
        """Source FIFO and node of the data."""
        sender, receiver = (int(self._tasks.core[t]) for t in (message.send, message.recv))
        engine = self._tasks.queue_engine[self._tasks.queue[message.send]]
        return int(self._wiring.core_source[sender, RESPONSE_NETWORK, engine]), receiver


class AcknowledgeOffice:
    """Sends acknowledges in phase D: those due first, then in the order of their SENDs.

    One that may not go yet is tried again when a lock has been released.
    """

    def __init__(self, clock: Clock, acknowledge: Callable[[Message], bool]):
        self._clock, self._acknowledge = clock, acknowledge
        self._due: list[tuple[int, int, Message]] = []  # tick, SEND
        self._bell = Bell(clock, Phase.ACKNOWLEDGES)
        clock.start(self._run())

    def add(self, message: Message) -> None:
        """An acknowledge is due."""
        self._due.append((self._clock.now, message.send, message))
        self.look()

    def look(self) -> None:
        """Something has changed: the acknowledges that are due are tried."""
        self._bell.ring()

    def _run(self) -> Steps:
        while True:
            yield from self._bell.wait()
            due = sorted(self._due, key=lambda entry: entry[:2])
            self._due = [entry for entry in due if not self._acknowledge(entry[2])]
