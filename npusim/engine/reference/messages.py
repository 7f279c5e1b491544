"""Messages between cores: request, acknowledge, data written → when SEND goes on, RECV ends."""

from collections.abc import Callable
from dataclasses import dataclass

from npusim.engine.reference.clock import Bell, Clock, Phase, Steps
from npusim.engine.reference.ledger import Ledger
from npusim.engine.reference.network import Network
from npusim.engine.reference.packet import ACKNOWLEDGE
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
    """All messages of the program, by SEND."""

    def __init__(
        self, clock: Clock, wiring: Wiring, tasks: Tasks, network: Network, ledger: Ledger
    ):
        self._wiring, self._tasks = wiring, tasks
        self._clock, self._network, self._ledger = clock, network, ledger
        self.of_send = {
            task: Message(task, int(tasks.match[task]), int(tasks.bytes[task]))
            for task in range(len(tasks))
            if tasks.kind[task] == SEND
        }
        self._offices = [AcknowledgeOffice(clock, self._acknowledge) for _ in wiring.port_num]

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
            sender = int(self._tasks.core[send])
            self._network.unlock_path(self._acknowledge_source(message), sender, send)
        self._consider(message)

    def _consider(self, message: Message) -> None:
        """Is the message complete, or may it be acknowledged?"""
        if message.posted and message.bytes_left == 0:
            self._ledger.end_task(message.recv)
        elif message.posted and message.requested and not message.acknowledged:
            self._offices[int(self._tasks.core[message.recv])].add(message)

    def _carry_request(self, message: Message, source: int) -> Steps:
        receiver = int(self._tasks.core[message.recv])
        packet = self._network.packet(message.send, REQUEST_NETWORK, receiver)
        self._network.send(packet, source)
        yield packet.arrived
        self._network.free_ejection(packet)
        message.requested = True
        self._consider(message)

    def _acknowledge(self, message: Message) -> None:
        message.acknowledged = True
        self._clock.start(self._carry_acknowledge(message))

    def _carry_acknowledge(self, message: Message) -> Steps:
        sender = int(self._tasks.core[message.send])
        packet = self._network.packet(message.send, RESPONSE_NETWORK, sender, role=ACKNOWLEDGE)
        self._network.send(packet, self._acknowledge_source(message))
        yield packet.arrived
        self._network.free_ejection(packet)
        assert message.on_acknowledge is not None
        message.on_acknowledge()

    def _acknowledge_source(self, message: Message) -> int:
        receiver = int(self._tasks.core[message.recv])
        return int(self._wiring.core_source[receiver, RESPONSE_NETWORK, -1])


class AcknowledgeOffice:
    """A core's sender of acknowledges: all of a tick in the order of their SENDs (phase D)."""

    def __init__(self, clock: Clock, acknowledge: Callable[[Message], None]):
        self._acknowledge = acknowledge
        self._due: list[Message] = []
        self._bell = Bell(clock, Phase.ACKNOWLEDGES)
        clock.start(self._run())

    def add(self, message: Message) -> None:
        self._due.append(message)
        self._bell.ring()

    def _run(self) -> Steps:
        while True:
            yield from self._bell.wait()
            for message in sorted(self._due, key=lambda message: message.send):
                self._acknowledge(message)
            self._due.clear()
