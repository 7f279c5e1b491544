"""The way of one unit through the chip, step by step, as processes: one a kind of transfer.

Each calls `done` when the unit is no longer under way.
"""

from collections.abc import Callable

from npusim.engine.reference.chip import Chip
from npusim.engine.reference.clock import Steps
from npusim.engine.reference.dram import READ, WRITE
from npusim.engine.reference.split import Unit
from npusim.engine.tables import LOAD, NONE, REQUEST_NETWORK, RESPONSE_NETWORK, SEND, STORE

Done = Callable[[Unit], None]


def load(chip: Chip, unit: Unit, core: int, engine: int, done: Done) -> Steps:
    """Request → channel → data → scratchpad."""
    channel, network, task = chip.channels[unit.channel], chip.network, unit.key[0]
    edge, issued = channel.port_node != NONE, chip.clock.now
    if edge:
        request = network.packet(task, REQUEST_NETWORK, channel.port_node)
        network.send(request, chip.source(core, REQUEST_NETWORK, engine))
        yield request.arrived
    yield chip.clock.after(channel.request_ticks)
    channel.request_ticks_sum += chip.clock.now - issued
    yield channel.serve(unit.key, unit.address, unit.bytes, READ)
    answered = chip.clock.now
    if edge:
        data = network.packet(task, RESPONSE_NETWORK, core, unit.bytes)
        network.send(data, channel.source)
        yield data.arrived
    yield chip.ports[core].serve(unit.key, unit.bytes)
    if edge:
        network.free_ejection(data)
    channel.response_ticks_sum += chip.clock.now - answered
    done(unit)


def store(chip: Chip, unit: Unit, core: int, engine: int, done: Done) -> Steps:
    """Scratchpad → channel → acknowledge."""
    channel, network, task = chip.channels[unit.channel], chip.network, unit.key[0]
    edge, issued = channel.port_node != NONE, chip.clock.now
    yield chip.ports[core].serve(unit.key, unit.bytes)
    if edge:
        data = network.packet(task, REQUEST_NETWORK, channel.port_node, unit.bytes)
        network.send(data, chip.source(core, REQUEST_NETWORK, engine))
        yield data.arrived
    yield chip.clock.after(channel.request_ticks)
    channel.request_ticks_sum += chip.clock.now - issued
    yield channel.serve(unit.key, unit.address, unit.bytes, WRITE)
    answered = chip.clock.now
    if edge:
        acknowledge = network.packet(task, RESPONSE_NETWORK, core)
        network.send(acknowledge, channel.source)
        yield acknowledge.arrived
        network.free_ejection(acknowledge)
    channel.response_ticks_sum += chip.clock.now - answered
    done(unit)


def send(chip: Chip, unit: Unit, core: int, engine: int, done: Done) -> Steps:
    """Scratchpad → network → scratchpad of the receiver; under way until it has left the core."""
    tasks, network, task = chip.tasks, chip.network, unit.key[0]
    receiver = int(tasks.core[tasks.match[task]])
    yield chip.ports[core].serve(unit.key, unit.bytes)
    packet = network.packet(
        task,
        RESPONSE_NETWORK,
        receiver,
        unit.bytes,
        message_bytes=int(tasks.bytes[task]),
    )
    network.send(packet, chip.source(core, RESPONSE_NETWORK, engine))
    yield packet.left
    done(unit)
    yield packet.arrived
    yield chip.ports[receiver].serve(unit.key, unit.bytes)
    network.free_ejection(packet)
    chip.messages.written(task, unit.bytes)


JOURNEYS = {LOAD: load, STORE: store, SEND: send}
