"""What both engines are given: `Wiring` (the chip as flat tables) and `Tasks` (the streams).

A tick is one cycle of the NoC clock. Everything here is built once, never written to.
The rules that turn these tables into times stand in npusim/README.md, "Rules of the machine".
"""

from dataclasses import dataclass, field

import numpy as np

# Task kinds and queue numbering, equal to npusim.program's (the engine may not import it).
COMPUTE, LOAD, STORE, SEND, RECV, SYNC = range(6)
NONE = -1

REQUEST_NETWORK, RESPONSE_NETWORK = 0, 1
NUM_NETWORKS = 2

INT = np.int64


@dataclass(frozen=True)
class Channels:
    """DRAM channels, one row each; times in ps. `port_node` is the node whose router the channel
    answers through, NONE when its cores reach it directly. `source` is its source FIFO there."""

    memory: np.ndarray  # memory instance
    port_node: np.ndarray
    source: np.ndarray
    request_ticks: np.ndarray  # DMA → queue (direct) or port → queue (edge); at least 1
    response_ticks: np.ndarray  # end of data → core (direct) or → source FIFO (edge); at least 1
    window: np.ndarray  # FR-FCFS looks at this many oldest units; 1 = FCFS
    mb_s: np.ndarray  # peak data rate, 10**6 bytes/s
    burst_bytes: np.ndarray
    row_bytes: np.ndarray
    num_banks: np.ndarray
    num_groups: np.ndarray  # bank groups
    block_bytes: np.ndarray  # such blocks alternate between two bank groups; 0: they do not
    t_rcd: np.ndarray
    t_rcd_wr: np.ndarray
    t_rp: np.ndarray
    t_cl: np.ndarray
    t_cwl: np.ndarray
    t_ras: np.ndarray
    t_rrd: np.ndarray  # of two bank groups; _l: of one
    t_rrd_l: np.ndarray
    t_faw: np.ndarray
    t_ccd_l: np.ndarray
    t_rtp: np.ndarray
    t_wtr: np.ndarray
    t_wtr_l: np.ndarray
    t_rtw: np.ndarray
    t_wr: np.ndarray
    t_refi: np.ndarray  # 0: no refresh
    t_rfc: np.ndarray
    t_cmd: np.ndarray  # a command on the bus that all commands share; 0: never in the way

    def __len__(self) -> int:
        return len(self.memory)


@dataclass(frozen=True)
class Wiring:
    """The chip.

    Nodes are what packets start from and end at: node i < num_cores is core i, then the memory
    ports. A link carries packets from a router or node to a router or node. Into a router
    it ends in `num_vcs` FIFOs, link·num_vcs + vc, with room for `buffer_packets` of the largest
    packets. Source FIFOs, without a bound, are numbered from num_links·num_vcs on.
    """

    khz: int  # of the tick
    num_cores: int
    num_nodes: int
    num_vcs: int
    buffer_packets: int
    locked: bool  # channel_locked flow control
    lock_ack: bool  # lock_scope: both
    fifo_arbitration: bool  # else round robin
    handshake: bool
    header_bytes: int
    min_packet_bytes: int
    max_packet_bytes: int
    packets_per_message: int
    # links
    link_network: np.ndarray
    link_bytes: np.ndarray  # bytes a tick
    link_ticks: np.ndarray  # grant → head at the far end; at least 1
    link_to_router: np.ndarray  # NONE: ends at a node
    link_to_node: np.ndarray
    link_name: list[str]
    # ring that a link is part of, NONE: none (never with `locked`); None: there are no rings
    link_ring: np.ndarray | None = field(default=None, kw_only=True)
    route: np.ndarray  # [network, router, node] → link
    # source FIFOs: the link each feeds; index = fifo − num_links·num_vcs
    source_link: np.ndarray
    core_source: np.ndarray  # [core, network, engine] → fifo; engine index num_engines = acks
    # cores
    port_num: np.ndarray  # scratchpad port: ceil(bytes · port_num / port_den) ticks
    port_den: np.ndarray
    dma_unit_bytes: np.ndarray  # by core
    dma_outstanding: np.ndarray
    dma_issue_ticks: np.ndarray
    # memory
    channels: Channels
    memory_first_channel: np.ndarray  # by memory instance; its channels are consecutive
    memory_num_channels: np.ndarray
    memory_interleave: np.ndarray

    @property
    def split_vcs(self) -> bool:
        """Whether messages have the last virtual channel to themselves, and leave the others."""
        return self.locked and self.num_vcs > 1

    @property
    def locks_stop_all(self) -> bool:
        """Whether locks keep out acknowledges and memory traffic as well as other messages."""
        return self.locked and self.num_vcs == 1 and not self.lock_ack

    @property
    def fifo_room(self) -> np.ndarray:
        """By link, what each FIFO at its end holds: flits or, on a ring, packets. Room for
        `buffer_packets` of the largest: of a message's, or of units between cores and edge memory.
        """
        edge = bool((self.channels.port_node != NONE).any())
        unit = int(self.dma_unit_bytes.max()) if edge else 0
        largest = max(self.max_packet_bytes, unit) + self.header_bytes
        flits = -(-largest // self.link_bytes)
        on_ring = np.zeros(self.num_links, bool)
        if self.link_ring is not None:
            on_ring = self.link_ring != NONE
        return self.buffer_packets * np.where(on_ring, 1, flits)

    @property
    def num_links(self) -> int:
        return len(self.link_network)

    @property
    def num_fifos(self) -> int:
        return self.num_links * self.num_vcs + len(self.source_link)


@dataclass(frozen=True)
class Tasks:
    """Task streams. `queue` is a dense id of (core, unit), NONE for RECV and SYNC; the tasks of
    queue q in order are queue_tasks[queue_start[q]:queue_start[q+1]]."""

    kind: np.ndarray
    core: np.ndarray
    queue: np.ndarray
    ticks: np.ndarray  # COMPUTE: duration without port contention
    bytes: np.ndarray
    memory: np.ndarray
    address: np.ndarray
    row_bytes: np.ndarray
    stride_bytes: np.ndarray
    match: np.ndarray
    num_waits: np.ndarray  # dependencies
    dependents_start: np.ndarray  # CSR of successors
    dependents: np.ndarray
    queue_start: np.ndarray
    queue_tasks: np.ndarray
    queue_core: np.ndarray
    queue_engine: np.ndarray  # DMA engine index, NONE for a compute queue
    # by which tasks that come later find the same queue again; None: 0, 1, … as they stand
    queue_key: np.ndarray | None = field(default=None, kw_only=True)

    @property
    def queue_keys(self) -> np.ndarray:
        return np.arange(self.num_queues) if self.queue_key is None else self.queue_key

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def num_queues(self) -> int:
        return len(self.queue_core)


@dataclass
class Totals:
    """What a chip has done so far. Keys, all int64 by row: `channel` read_bytes, write_bytes,
    busy_ps, requests, row_hits, row_misses, and the ticks that units spent in each phase,
    request_ticks, queue_ticks, service_ticks, response_ticks; `link` packets, bytes, busy_ticks,
    wait_ticks; `core` port_bytes, port_busy_ticks, stretch_ticks.
    """

    channel: dict[str, np.ndarray]
    link: dict[str, np.ndarray]
    core: dict[str, np.ndarray]


@dataclass
class Outcome(Totals):
    """What a run gives back; ticks, −1 where nothing happened. Both engines give equal ones."""

    ready: np.ndarray
    start: np.ndarray
    end: np.ndarray
    bin_ticks: int
    channel_bins: np.ndarray
    link_bins: np.ndarray
    events: int  # processed by the data plane
    waiting: list[str]  # empty, or why it cannot proceed, one line an item


NUM_BINS = 1024
