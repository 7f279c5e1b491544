"""Wiring + Tasks → the state array of the fast engine, with named views of its tables."""

from dataclasses import dataclass

import numpy as np

from npusim.engine import layout as at
from npusim.engine.tables import NONE, NUM_BINS, NUM_NETWORKS, SEND, Tasks, Wiring
from npusim.units import cycles_to_ps

NIL = at.NIL
LINE_WORDS = 8  # int64 words of a cache line


@dataclass
class Arena:
    """`words`: the state (see layout.py). The tables are views into it: `links[i, at.L_BUSY]`."""

    words: np.ndarray
    spans: np.ndarray
    links: np.ndarray
    fifos: np.ndarray
    channels: np.ndarray
    queues: np.ndarray
    cores: np.ndarray
    tasks: np.ndarray
    link_bins: np.ndarray
    channel_bins: np.ndarray


class _Space:
    """Hands out blocks of the array: first all sizes are asked for, then the views are cut."""

    def __init__(self) -> None:
        self.size = at.HEADER_WORDS
        self._blocks: dict[str, tuple[int, int, int]] = {}

    def reserve(self, name: str, count: int, words: int = 1) -> int:
        base = -(-self.size // LINE_WORDS) * LINE_WORDS
        self._blocks[name] = (base, count, words)
        self.size = base + count * words
        return base

    def view(self, array: np.ndarray, name: str) -> np.ndarray:
        base, count, words = self._blocks[name]
        return array[base : base + count * words].reshape(count, words)


def build(w: Wiring, t: Tasks, span_room: int = 0) -> Arena:
    """The state at tick 0, nothing started. `span_room`: rows of the span buffer, 0: none kept."""
    space = _Space()
    base = _reserve(space, w, t)
    words = _aligned_zeros(space.size)

    def view(name: str) -> np.ndarray:
        return space.view(words, name)

    words[at.SLOTS : at.SLOTS + at.WHEEL_SLOTS] = NIL
    _fill_globals(words, w, t, base, span_room)
    _fill_links(view("links"), w, base)
    _fill_fifos(view("fifos"), w, base)
    _fill_channels(view("channels"), view("banks"), view("groups"), w, base)
    _fill_cores(view("cores"), w, base)
    _fill_memories(view("memories"), w, base)
    view("route")[:, 0] = base["links"] + w.route.reshape(-1).astype(np.int64) * at.L_SIZE
    _fill_tasks(view("tasks"), t, base)
    view("successors")[:, 0] = base["tasks"] + t.dependents.astype(np.int64) * at.T_SIZE
    view("queue_tasks")[:, 0] = base["tasks"] + t.queue_tasks.astype(np.int64) * at.T_SIZE
    _fill_queues(view("queues"), w, t, base)
    _chain_packets(view("packets"), base)
    spans = np.zeros((max(span_room, 1), at.SPAN_WORDS), np.int64)
    return Arena(words, spans, view("links"), view("fifos"), view("channels"), view("queues"),
                 view("cores"), view("tasks"), view("link_bins"), view("channel_bins"))  # fmt: skip


def _aligned_zeros(count: int) -> np.ndarray:
    """Zeros that begin at a cache line."""
    words = np.zeros(count + LINE_WORDS, np.int64)
    skip = -(words.ctypes.data // words.itemsize) % LINE_WORDS
    return words[skip : skip + count]


def _reserve(space: _Space, w: Wiring, t: Tasks) -> dict[str, int]:
    """Offsets of all tables."""
    sizes = {
        "links": (w.num_links, at.L_SIZE),
        "fifos": (w.num_fifos, at.F_SIZE),
        "channels": (len(w.channels), at.K_SIZE),
        "banks": (int(w.channels.num_banks.sum()), at.B_SIZE),
        "groups": (int(w.channels.num_groups.sum()), at.G_SIZE),
        "ahead": (int(w.channels.window.sum()), 1),
        "queues": (t.num_queues, at.Q_SIZE),
        "cores": (w.num_cores, at.C_SIZE),
        "memories": (len(w.memory_first_channel), at.M_SIZE),
        "packets": (_most_packets(w, t), at.P_SIZE),
        "route": (w.route.size, 1),
        "work_queues": (t.num_queues, 1),
        "work_ports": (w.num_cores, 1),
        "work_acks": (t.num_queues, 1),
        "work_links": (w.num_links, 1),
        "work_credits": (w.num_links, 1),
        "work_channels": (len(w.channels), 1),
        "queue_tasks": (len(t.queue_tasks), 1),
        "link_bins": (w.num_links, NUM_BINS),
        "channel_bins": (len(w.channels), NUM_BINS),
        "tasks": (len(t), at.T_SIZE),
        "successors": (len(t.dependents), 1),
    }
    return {name: space.reserve(name, *size) for name, size in sizes.items()}


def _most_packets(w: Wiring, t: Tasks) -> int:
    """Most packets alive at once: units under way, handshakes, messages past their injection."""
    dma = t.queue_core[t.queue_engine != NONE]
    under_way = int(w.dma_outstanding[dma].sum()) + 2 * len(dma)
    room = w.num_vcs * (int(w.fifo_room.sum()) + w.num_links * w.buffer_packets)
    return under_way + min(room + 2 * w.num_links, _message_packets(w, t)) + 16


def _message_packets(w: Wiring, t: Tasks) -> int:
    """Packets of all messages together."""
    sizes = t.bytes[t.kind == SEND]
    size = np.clip(-(-sizes // w.packets_per_message), w.min_packet_bytes, w.max_packet_bytes)
    return int((-(-sizes // size)).sum())


def _fill_globals(words, w: Wiring, t: Tasks, base, span_room) -> None:
    values = {
        at.TASKS_LEFT: len(t), at.FREE_PACKET: base["packets"], at.CHAIN: NIL, at.KHZ: w.khz,
        at.NUM_CORES: w.num_cores, at.NUM_VCS: w.num_vcs, at.LOCKED: w.locked,
        at.LOCK_ACK: w.lock_ack, at.SPLIT_VCS: w.split_vcs,
        at.LOCKS_STOP_ALL: w.locks_stop_all, at.FIFO_ARBITRATION: w.fifo_arbitration,
        at.HANDSHAKE: w.handshake, at.HEADER: w.header_bytes, at.MIN_PACKET: w.min_packet_bytes,
        at.MAX_PACKET: w.max_packet_bytes, at.PACKETS_PER_MESSAGE: w.packets_per_message,
        at.MIXED_WIDTHS: len(np.unique(w.link_bytes)) > 1, at.RINGS: w.link_ring is not None,
        at.KEEP_SPANS: span_room > 0, at.NUM_ROUTERS: w.route.shape[1], at.NUM_NODES: w.num_nodes,
        at.LINKS: base["links"], at.CHANNELS: base["channels"], at.QUEUES: base["queues"],
        at.FIRST_SOURCE: base["fifos"] + w.num_links * w.num_vcs * at.F_SIZE,
        at.CORES: base["cores"], at.TASKS: base["tasks"], at.MEMORIES: base["memories"],
        at.ROUTE: base["route"], at.SUCCESSORS: base["successors"], at.NUM_LINKS: w.num_links,
        at.NUM_CHANNELS: len(w.channels), at.NUM_TASKS: len(t), at.W_QUEUES: base["work_queues"],
        at.W_PORTS: base["work_ports"], at.W_ACKS: base["work_acks"],
        at.W_LINKS: base["work_links"], at.W_CREDITS: base["work_credits"],
        at.W_CHANNELS: base["work_channels"],
    }  # fmt: skip
    for place, value in values.items():
        words[place] = value


def _offsets(base: int, index: np.ndarray, size: int) -> np.ndarray:
    """Numbers → offsets; NONE stays NIL."""
    index = np.asarray(index, dtype=np.int64)
    return np.where(index == NONE, NIL, base + index * size)


def _fill_links(links, w: Wiring, base) -> None:
    links[:, [at.L_WISHES, at.L_LAST, at.L_FROM, at.L_PACKET, at.L_OWNER, at.L_SPAN_TASK]] = NIL
    links[:, at.L_EJECT_FREE] = w.buffer_packets * w.num_vcs
    links[:, at.L_ROUTER] = w.link_to_router
    links[:, at.L_NODE] = w.link_to_node
    links[:, at.L_TICKS] = w.link_ticks
    links[:, at.L_WIDTH] = w.link_bytes
    links[:, at.L_RING] = NIL if w.link_ring is None else w.link_ring
    links[:, at.L_NUMBER] = np.arange(w.num_links)
    links[:, at.L_BINS] = base["link_bins"] + np.arange(w.num_links) * NUM_BINS
    links[:, at.L_FIFOS] = base["fifos"] + np.arange(w.num_links) * w.num_vcs * at.F_SIZE


def _fill_fifos(fifos, w: Wiring, base) -> None:
    inner = w.num_links * w.num_vcs
    fifos[:, [at.F_FIRST, at.F_LAST, at.F_UP_LINK, at.F_ROUTER, at.F_OUT_LINK, at.F_NEXT_WISH]] = (
        NIL
    )
    up = np.repeat(np.arange(w.num_links), w.num_vcs)
    fifos[:inner, at.F_UP_LINK] = base["links"] + up * at.L_SIZE
    fifos[:inner, at.F_ROUTER] = np.repeat(w.link_to_router, w.num_vcs)
    fifos[:inner, at.F_FREE] = np.repeat(w.fifo_room, w.num_vcs)
    fifos[inner:, at.F_OUT_LINK] = _offsets(base["links"], w.source_link, at.L_SIZE)


def _fill_channels(channels, banks, groups, w: Wiring, base) -> None:
    c = w.channels
    for place, name in enumerate(at.TIMINGS, start=at.K_TRCD):
        channels[:, place] = getattr(c, name)
    first_bank = np.cumsum(c.num_banks) - c.num_banks
    first_group = np.cumsum(c.num_groups) - c.num_groups
    spread = np.where(c.block_bytes > 0, 2, 1)
    values = {
        at.K_NODE: c.port_node, at.K_SOURCE: _offsets(base["fifos"], c.source, at.F_SIZE),
        at.K_WINDOW: c.window, at.K_NUM_SETS: c.num_banks // spread, at.K_SPREAD: spread,
        at.K_NUM_BANKS: c.num_banks, at.K_BANKS: base["banks"] + first_bank * at.B_SIZE,
        at.K_BLOCK_BURSTS: c.block_bytes // c.burst_bytes, at.K_REQUEST_TICKS: c.request_ticks,
        at.K_RESPONSE_TICKS: c.response_ticks, at.K_MB_S: c.mb_s,
        at.K_BURST_PS: -(-c.burst_bytes * 1_000_000 // c.mb_s),
        at.K_BURST_BYTES: c.burst_bytes, at.K_RUN_BYTES: c.row_bytes * spread, at.K_FIRST: NIL,
        at.K_LAST: NIL, at.K_OPEN: 1, at.K_DIRECTION: NIL, at.K_OLDEST: NIL,
        at.K_BINS: base["channel_bins"] + np.arange(len(c)) * NUM_BINS,
        at.K_LEAD: c.t_rp + c.t_rcd + c.t_cl + cycles_to_ps(1, w.khz),
        at.K_AHEAD: base["ahead"] + np.cumsum(c.window) - c.window, at.K_NEXT_REFRESH: c.t_refi,
        at.K_LAST_READY: NIL, at.K_SPAN_TASK: NIL,
    }  # fmt: skip
    for place, value in values.items():
        channels[:, place] = value
    channels[:, at.K_ACTS : at.K_ACTS + 4] = at.LONG_AGO
    banks[:, at.B_ROW] = NIL
    banks[:, at.B_GROUP] = base["groups"] + (
        np.repeat(first_group, c.num_banks) + _groups_of_banks(c)) * at.G_SIZE  # fmt: skip
    groups[:, [at.G_ACT, at.G_WRITTEN]] = at.LONG_AGO


def _groups_of_banks(c) -> np.ndarray:
    """Bank group of every bank of every channel, counted within its channel: neighbours differ."""
    first = np.repeat(np.cumsum(c.num_banks) - c.num_banks, c.num_banks)
    return (np.arange(len(first)) - first) % np.repeat(c.num_groups, c.num_banks)


def _fill_cores(cores, w: Wiring, base) -> None:
    cores[:, at.C_NUM] = w.port_num
    cores[:, at.C_DEN] = w.port_den
    cores[:, at.C_FIRST] = NIL
    cores[:, at.C_NODE] = np.arange(w.num_cores)
    sources = _offsets(base["fifos"], w.core_source, at.F_SIZE)
    engines = sources.shape[2] - 1
    for network in range(NUM_NETWORKS):
        first = at.C_SOURCES + network * at.MAX_ENGINES
        cores[:, first : first + engines] = sources[:, network, :engines]
    cores[:, at.C_ACKS] = sources[:, 1, engines]


def _fill_memories(memories, w: Wiring, base) -> None:
    first = _offsets(base["channels"], w.memory_first_channel, at.K_SIZE)
    memories[:, at.M_FIRST_CHANNEL] = first
    memories[:, at.M_NUM_CHANNELS] = w.memory_num_channels
    memories[:, at.M_INTERLEAVE] = w.memory_interleave


def _fill_tasks(tasks, t: Tasks, base) -> None:
    columns = {
        at.T_KIND: t.kind, at.T_CORE: _offsets(base["cores"], t.core, at.C_SIZE),
        at.T_QUEUE: _offsets(base["queues"], t.queue, at.Q_SIZE), at.T_TICKS: t.ticks,
        at.T_BYTES: t.bytes, at.T_MEMORY: _offsets(base["memories"], t.memory, at.M_SIZE),
        at.T_ADDRESS: t.address, at.T_ROW_BYTES: t.row_bytes, at.T_STRIDE: t.stride_bytes,
        at.T_MATCH: _offsets(base["tasks"], t.match, at.T_SIZE),
        at.T_SUCCESSORS: t.dependents_start[:-1], at.T_SUCCESSORS_END: t.dependents_start[1:],
        at.T_WAITS: t.num_waits, at.T_LEFT: t.bytes,
    }  # fmt: skip
    for place, values in columns.items():
        tasks[:, place] = values
    tasks[:, [at.T_READY, at.T_START, at.T_END, at.T_CHAIN]] = NIL


def _fill_queues(queues, w: Wiring, t: Tasks, base) -> None:
    columns = {
        at.Q_POS: base["queue_tasks"] + t.queue_start[:-1],
        at.Q_END: base["queue_tasks"] + t.queue_start[1:], at.Q_TASK: NIL,
        at.Q_CORE: _offsets(base["cores"], t.queue_core, at.C_SIZE),
        at.Q_ENGINE: t.queue_engine, at.Q_LIMIT: w.dma_outstanding[t.queue_core],
        at.Q_ISSUE_TICKS: w.dma_issue_ticks[t.queue_core],
        at.Q_UNIT_BYTES: w.dma_unit_bytes[t.queue_core],
    }  # fmt: skip
    for place, values in columns.items():
        queues[:, place] = values


def _chain_packets(packets, base) -> None:
    following = base["packets"] + (np.arange(len(packets)) + 1) * at.P_SIZE
    packets[:, at.P_NEXT] = following
    packets[-1, at.P_NEXT] = NIL


def widen_bins(bins: np.ndarray, times: int) -> np.ndarray:
    """Bins (rows, NUM_BINS) of 2**times the width: neighbours added up, the rest zero."""
    for _ in range(times):
        bins = bins.reshape(len(bins), NUM_BINS // 2, 2).sum(axis=2)
        bins = np.concatenate([bins, np.zeros_like(bins)], axis=1)
    return np.ascontiguousarray(bins)
