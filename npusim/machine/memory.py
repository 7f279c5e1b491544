"""Memory specs → DRAM channels as flat tables, and how addresses spread over them."""

from dataclasses import dataclass

import numpy as np

from npusim.engine.layout import TIMINGS
from npusim.engine.tables import NONE, Channels
from npusim.spec.hardware import Hardware, MemoryInstance
from npusim.units import ns_to_ps, ps_to_cycles


@dataclass(frozen=True)
class ChannelRow:
    """One channel: its memory instance, number in it and, for edge memory, the node of its port."""

    instance: MemoryInstance
    number: int
    port_node: int


def port_routers(hw: Hardware) -> list[int]:
    """Router of every memory port, in the order of their nodes; a crossbar has one, the hub."""
    ports = [port for memory in hw.memories for port in memory.ports]
    return [0 if port.at is None else hw.core_id(port.at) for port in ports]


def channel_rows(hw: Hardware) -> list[ChannelRow]:
    """All channels of the chip, those of an instance next to one another. Edge channels are dealt
    to the ports in turn, so that neighbouring stripes use different ports."""
    rows: list[ChannelRow] = []
    next_port = hw.mesh.num_cores
    for instance in hw.memory_instances():
        ports = len(instance.memory.ports)
        for number in range(instance.memory.channels):
            node = next_port + number % ports if ports else NONE
            rows.append(ChannelRow(instance, number, node))
        next_port += ports
    return rows


def channel_name(row: ChannelRow) -> str:
    memory = row.instance.memory
    owner = "" if memory.attach == "edge" else f" core {row.instance.cores[0]}"
    return f"{memory.name}{owner} ch{row.number}"


def build_channels(hw: Hardware, rows: list[ChannelRow], source: np.ndarray) -> Channels:
    """The table of all channels; latencies in ticks of the NoC clock, at least one."""
    specs = [row.instance.memory for row in rows]

    def column(value) -> np.ndarray:
        return np.array([value(memory) for memory in specs], dtype=np.int64)

    def ticks(ns: float) -> int:
        return max(1, ps_to_cycles(ns_to_ps(ns), hw.noc.khz))

    timings = {t: column(lambda m, t=t: ns_to_ps(m.timing.ns(t))) for t in TIMINGS}
    return Channels(
        memory=np.array([row.instance.memory_id for row in rows], dtype=np.int64),
        port_node=np.array([row.port_node for row in rows], dtype=np.int64),
        source=source,
        request_ticks=column(lambda m: ticks(m.request_latency_ns)),
        response_ticks=column(lambda m: ticks(m.response_latency_ns)),
        window=column(lambda m: m.window if m.scheduling == "fr_fcfs" else 1),
        mb_s=column(lambda m: round(m.timing.channel_gb_s * 1000)),
        burst_bytes=column(lambda m: m.timing.burst_bytes),
        row_bytes=column(lambda m: m.timing.row_bytes),
        num_banks=column(lambda m: m.timing.num_banks),
        num_groups=column(lambda m: m.timing.bank_groups),
        block_bytes=column(lambda m: m.timing.group_block_bytes),
        **timings,
    )


def stripes(hw: Hardware) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By memory instance: first channel, number of channels, interleave in bytes."""
    instances = hw.memory_instances()
    counts = np.array([i.memory.channels for i in instances], dtype=np.int64)
    interleave = np.array([i.memory.interleave_bytes for i in instances], dtype=np.int64)
    return np.cumsum(counts) - counts, counts, interleave
