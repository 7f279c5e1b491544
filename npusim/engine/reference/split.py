"""A transfer task → its units, in the order in which its DMA engine issues them."""

from collections.abc import Iterator
from dataclasses import dataclass

from npusim.engine.reference.port import Key
from npusim.engine.tables import NONE, SEND, Tasks, Wiring
from npusim.units import ceil_div


@dataclass(frozen=True)
class Unit:
    """A burst of a LOAD or STORE (its channel, its address there) or a packet of a SEND."""

    key: Key
    bytes: int
    channel: int = NONE
    address: int = 0


def units_of(task: int, tasks: Tasks, wiring: Wiring) -> list[Unit]:
    """The units of a LOAD, STORE or SEND."""
    if tasks.kind[task] == SEND:
        pieces = [
            (num_bytes, NONE, 0) for num_bytes in packet_bytes(int(tasks.bytes[task]), wiring)
        ]
    else:
        memory = int(tasks.memory[task])
        pieces = [
            (num_bytes, *channel_address(address, memory, wiring))
            for address, num_bytes in bursts(task, tasks, wiring)
        ]
    return [Unit((task, index), *piece) for index, piece in enumerate(pieces)]


def packet_bytes(num_bytes: int, wiring: Wiring) -> list[int]:
    """Payloads of a message's packets."""
    size = ceil_div(num_bytes, wiring.packets_per_message)
    size = min(max(size, wiring.min_packet_bytes), wiring.max_packet_bytes)
    return [min(size, num_bytes - sent) for sent in range(0, num_bytes, size)]


def bursts(task: int, tasks: Tasks, wiring: Wiring) -> Iterator[tuple[int, int]]:
    """(address, bytes) of a LOAD's or STORE's units."""
    limits = (
        int(wiring.dma_unit_bytes[tasks.core[task]]),
        int(wiring.memory_interleave[tasks.memory[task]]),
    )
    left, row = int(tasks.bytes[task]), int(tasks.address[task])
    row_bytes = int(tasks.row_bytes[task]) or left
    while left:
        address, row_end = row, row + min(row_bytes, left)
        left -= row_end - row
        while address < row_end:
            end = min(row_end, *(address - address % limit + limit for limit in limits))
            yield address, end - address
            address = end
        row += int(tasks.stride_bytes[task])


def channel_address(address: int, memory: int, wiring: Wiring) -> tuple[int, int]:
    """(channel, local address) of an address of a memory instance."""
    interleave = int(wiring.memory_interleave[memory])
    num_channels = int(wiring.memory_num_channels[memory])
    stripe, offset = divmod(address, interleave)
    channel = int(wiring.memory_first_channel[memory]) + stripe % num_channels
    return channel, stripe // num_channels * interleave + offset
