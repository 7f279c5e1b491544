"""Wiring + Tasks → `Machine`, the fast engine's state: one record array an entity.

A record is one entity (link, FIFO, packet, …) so that an event touches one or two cache
lines and the kernels read like prose (`m.links[l].busy`).
Events are entity ids in one numbering: links, then channels, queues, packets; an entity has at most
one pending event, so its id is the event.
"""

from typing import NamedTuple

import numpy as np

from npusim.engine.tables import NONE, NUM_BINS, Tasks, Wiring

WHEEL_SLOTS = 4096
SPAN_GAP_TICKS = 64

# Packet kinds, and the stage whose end the packet's pending event is.
LOAD_REQUEST, LOAD_DATA, STORE_DATA, STORE_ACK, MESSAGE, ASK, ACK = range(7)
AT_ROUTER, AT_NODE, AT_CHANNEL, DATA_READY, PORT_DONE = range(5)

SPAN_FIELDS = [("span_task", "i4"), ("span_start", "i8"), ("span_end", "i8"), ("span_bytes", "i8")]


def _record(*fields) -> np.dtype:
    return np.dtype(list(fields), align=True)


GLOBALS = _record(
    ("now", "i8"), ("events", "i8"), ("tasks_left", "i8"), ("free_packet", "i4"),
    ("num_links", "i4"), ("num_queues", "i4"), ("num_ports", "i4"), ("num_channels", "i4"),
    ("num_acks", "i4"), ("chain", "i4"), ("bin_shift", "i8"), ("num_spans", "i8"),
    ("pending", "i8"), ("last_tick", "i8"), ("begun", "i4"),
)  # fmt: skip
LINK = _record(
    ("busy", "i4"), ("touched", "i4"), ("wishes", "i4"), ("last", "i4"), ("from_fifo", "i4"),
    ("packet", "i4"), ("owner", "i4"), ("unlock", "i4"), ("eject_free", "i4"), ("left", "i8"),
    ("to_router", "i4"), ("to_node", "i4"), ("network", "i4"), ("ticks", "i4"),
    ("width", "i8"), ("bytes", "i8"), ("busy_ticks", "i8"), ("packets", "i8"), ("wait", "i8"),
    *SPAN_FIELDS,
)  # fmt: skip
FIFO = _record(
    ("first", "i4"), ("last", "i4"), ("free", "i4"), ("up_link", "i4"), ("router", "i4"),
    ("out_link", "i4"), ("next_wish", "i4"), ("streaming", "i4"), ("wish", "i8"),
)  # fmt: skip
PACKET = _record(
    ("key", "i8"), ("address", "i8"), ("tick", "i8"),
    ("task", "i4"), ("payload", "i4"), ("wire", "i4"), ("kind", "i4"), ("stage", "i4"),
    ("next", "i4"), ("prev", "i4"), ("node", "i4"), ("fifo", "i4"), ("core", "i4"),
    ("queue", "i4"), ("channel", "i4"), ("bank", "i4"), ("engine", "i4"), ("row", "i8"),
)  # fmt: skip
QUEUE = _record(
    ("pos", "i8"), ("end", "i8"), ("task", "i4"), ("core", "i4"), ("engine", "i4"),
    ("busy", "i4"), ("touched", "i4"), ("timer", "i4"), ("asked", "i4"), ("answered", "i4"),
    ("under_way", "i4"), ("limit", "i4"), ("issue_ticks", "i8"), ("next_issue", "i8"),
    ("unit_bytes", "i8"), ("offset", "i8"), ("index", "i8"), ("start", "i8"), ("seen", "i8"), ("packet", "i8"),
)  # fmt: skip
CORE = _record(
    ("num", "i8"), ("den", "i8"), ("free", "i8"), ("bytes", "i8"), ("busy_ticks", "i8"),
    ("stretch", "i8"), ("first", "i4"), ("touched", "i4"),
)  # fmt: skip
TASK = _record(
    ("left", "i8"), ("ready", "i8"), ("start", "i8"), ("end", "i8"),
    ("waits", "i4"), ("posted", "i4"), ("asked", "i4"), ("chain", "i4"),
)  # fmt: skip
BANK = _record(("row", "i8"), ("column_ok", "i8"), ("precharge_ok", "i8"), ("act_ok", "i8"))
_TIMINGS = ("t_rcd", "t_rp", "t_cl", "t_cwl", "t_ras", "t_rrd", "t_faw", "t_ccd_l", "t_wtr",
            "t_rtw", "t_wr", "t_refi", "t_rfc")  # fmt: skip
CHANNEL = _record(
    ("memory", "i4"), ("port_node", "i4"), ("source", "i4"), ("window", "i4"),
    ("num_banks", "i4"), ("first_bank", "i4"), ("first", "i4"), ("last", "i4"), ("open", "i4"),
    ("touched", "i4"), ("direction", "i4"), ("passed", "i4"), ("oldest", "i4"),
    ("num_acts", "i4"), ("request_ticks", "i8"), ("response_ticks", "i8"), ("mb_s", "i8"),
    ("burst_bytes", "i8"), ("row_bytes", "i8"), *((t, "i8") for t in _TIMINGS),
    ("bus_free", "i8"), ("next_refresh", "i8"), ("last_ready", "i8"),
    ("acts", "i8", (4,)), ("read_bytes", "i8"), ("write_bytes", "i8"), ("busy", "i8"),
    ("requests", "i8"), ("hits", "i8"), ("misses", "i8"), ("queue_ticks", "i8"), *SPAN_FIELDS,
)  # fmt: skip
SPAN = np.dtype([("track", np.int32), ("task", np.int32), ("start_ps", np.int64),
                 ("end_ps", np.int64), ("bytes", np.int64)])  # fmt: skip


class Machine(NamedTuple):
    """Scalars of the wiring, its tables, the task columns, and the state. Ints are constants."""

    khz: int
    num_cores: int
    num_vcs: int
    buffer_packets: int
    locked: int
    lock_ack: int
    fifo_arbitration: int
    handshake: int
    header: int
    min_packet: int
    max_packet: int
    packets_per_message: int
    first_channel: int  # event id of channel 0; queues and packets follow
    first_queue: int
    first_packet: int
    keep_spans: int
    route: np.ndarray
    core_source: np.ndarray
    memory_first_channel: np.ndarray
    memory_num_channels: np.ndarray
    memory_interleave: np.ndarray
    kind: np.ndarray
    core_of: np.ndarray
    queue_of: np.ndarray
    ticks: np.ndarray
    bytes: np.ndarray
    memory: np.ndarray
    address: np.ndarray
    row_bytes: np.ndarray
    stride_bytes: np.ndarray
    match: np.ndarray
    dependents_start: np.ndarray
    dependents: np.ndarray
    queue_tasks: np.ndarray
    g: np.ndarray
    links: np.ndarray
    fifos: np.ndarray
    packets: np.ndarray
    queues: np.ndarray
    cores: np.ndarray
    tasks: np.ndarray
    channels: np.ndarray
    banks: np.ndarray
    slots: np.ndarray
    occupied: np.ndarray
    ev_next: np.ndarray
    ev_tick: np.ndarray
    link_bins: np.ndarray
    channel_bins: np.ndarray
    work_links: np.ndarray
    work_queues: np.ndarray
    work_ports: np.ndarray
    work_channels: np.ndarray
    acks: np.ndarray
    spans: np.ndarray


def build(w: Wiring, t: Tasks, span_room: int = 0) -> Machine:
    """A Machine at tick 0 with nothing started. `span_room`: rows of the span buffer, 0 = none kept."""
    num_packets = _packet_capacity(w, t)
    first_channel, first_queue = w.num_links, w.num_links + len(w.channels)
    first_packet = first_queue + t.num_queues
    g = np.zeros(1, GLOBALS)
    g["tasks_left"], g["chain"], g["last_tick"] = len(t), NONE, 0
    packets = np.zeros(num_packets, PACKET)
    packets["next"] = np.arange(1, num_packets + 1)
    packets["next"][-1] = NONE
    wide = lambda a: np.ascontiguousarray(a, dtype=np.int64)  # noqa: E731
    slim = lambda a: np.ascontiguousarray(a, dtype=np.int32)  # noqa: E731
    channels, banks = _channels(w)
    return Machine(
        khz=w.khz, num_cores=w.num_cores, num_vcs=w.num_vcs, buffer_packets=w.buffer_packets,
        locked=int(w.locked), lock_ack=int(w.lock_ack), fifo_arbitration=int(w.fifo_arbitration),
        handshake=int(w.handshake), header=w.header_bytes, min_packet=w.min_packet_bytes,
        max_packet=w.max_packet_bytes, packets_per_message=w.packets_per_message,
        first_channel=first_channel, first_queue=first_queue, first_packet=first_packet,
        keep_spans=int(span_room > 0), route=slim(w.route), core_source=slim(w.core_source),
        memory_first_channel=wide(w.memory_first_channel),
        memory_num_channels=wide(w.memory_num_channels),
        memory_interleave=wide(w.memory_interleave),
        kind=np.ascontiguousarray(t.kind, dtype=np.int8), core_of=slim(t.core),
        queue_of=slim(t.queue), ticks=wide(t.ticks), bytes=wide(t.bytes), memory=slim(t.memory),
        address=wide(t.address), row_bytes=wide(t.row_bytes), stride_bytes=wide(t.stride_bytes),
        match=slim(t.match), dependents_start=wide(t.dependents_start),
        dependents=slim(t.dependents), queue_tasks=slim(t.queue_tasks), g=g, links=_links(w),
        fifos=_fifos(w), packets=packets, queues=_queues(w, t), cores=_cores(w), tasks=_tasks(t),
        channels=channels, banks=banks, slots=np.full(WHEEL_SLOTS, NONE, np.int32),
        occupied=np.zeros(WHEEL_SLOTS // 64, np.uint64),
        ev_next=np.full(first_packet + num_packets, NONE, np.int32),
        ev_tick=np.zeros(first_packet + num_packets, np.int64),
        link_bins=np.zeros((w.num_links, NUM_BINS), np.int64),
        channel_bins=np.zeros((len(w.channels), NUM_BINS), np.int64),
        work_links=np.zeros(w.num_links + 1, np.int32),
        work_queues=np.zeros(t.num_queues + 1, np.int32),
        work_ports=np.zeros(w.num_cores + 1, np.int32),
        work_channels=np.zeros(len(w.channels) + 1, np.int32),
        acks=np.zeros(t.num_queues + 1, np.int32), spans=np.zeros(max(span_room, 1), SPAN),
    )  # fmt: skip


def _packet_capacity(w: Wiring, t: Tasks) -> int:
    """Most packets that can be alive: units under way, and messages past their injection link."""
    dma = t.queue_core[t.queue_engine != NONE]
    under_way = int(w.dma_outstanding[dma].sum()) + 2 * len(dma)
    in_network = w.num_links * (w.num_vcs * w.buffer_packets + 2)
    return under_way + in_network + 16


def _links(w: Wiring) -> np.ndarray:
    links = np.zeros(w.num_links, LINK)
    for name in ("wishes", "last", "from_fifo", "owner", "span_task"):
        links[name] = NONE
    links["eject_free"] = w.buffer_packets * w.num_vcs
    links["to_router"], links["to_node"] = w.link_to_router, w.link_to_node
    links["network"], links["ticks"] = w.link_network, w.link_ticks
    links["width"] = w.link_bytes
    return links


def _fifos(w: Wiring) -> np.ndarray:
    fifos = np.zeros(w.num_fifos, FIFO)
    for name in ("first", "last", "up_link", "router", "out_link", "next_wish"):
        fifos[name] = NONE
    inner = w.num_links * w.num_vcs
    fifos["up_link"][:inner] = np.repeat(np.arange(w.num_links), w.num_vcs)
    fifos["router"][:inner] = np.repeat(w.link_to_router, w.num_vcs)
    fifos["free"][:inner] = w.buffer_packets
    fifos["out_link"][inner:] = w.source_link
    return fifos


def _queues(w: Wiring, t: Tasks) -> np.ndarray:
    queues = np.zeros(t.num_queues, QUEUE)
    queues["task"] = NONE
    queues["pos"], queues["end"] = t.queue_start[:-1], t.queue_start[1:]
    queues["core"], queues["engine"] = t.queue_core, t.queue_engine
    queues["unit_bytes"] = w.dma_unit_bytes[t.queue_core]
    queues["limit"] = w.dma_outstanding[t.queue_core]
    queues["issue_ticks"] = w.dma_issue_ticks[t.queue_core]
    return queues


def _cores(w: Wiring) -> np.ndarray:
    cores = np.zeros(w.num_cores, CORE)
    cores["num"], cores["den"], cores["first"] = w.port_num, w.port_den, NONE
    return cores


def _tasks(t: Tasks) -> np.ndarray:
    tasks = np.zeros(len(t), TASK)
    tasks["left"], tasks["waits"] = t.bytes, t.num_waits
    for name in ("ready", "start", "end", "chain"):
        tasks[name] = NONE
    return tasks


def _channels(w: Wiring) -> tuple[np.ndarray, np.ndarray]:
    c = w.channels
    channels = np.zeros(len(c), CHANNEL)
    same = ("memory", "port_node", "source", "window", "num_banks", "request_ticks",
            "response_ticks", "mb_s", "burst_bytes", "row_bytes", *_TIMINGS)  # fmt: skip
    for name in same:
        channels[name] = getattr(c, name)
    for name in ("first", "last", "direction", "oldest", "span_task"):
        channels[name] = NONE
    channels["open"] = 1
    channels["next_refresh"] = c.t_refi
    channels["last_ready"] = NONE
    channels["first_bank"] = np.cumsum(c.num_banks) - c.num_banks
    banks = np.zeros(int(c.num_banks.sum()), BANK)
    banks["row"] = NONE
    return channels, banks
