"""Wiring → the state of an idle chip as the fast engine keeps it: one array of named tables."""

import numpy as np

from npusim.engine import layout as at
from npusim.engine.space import LINE_WORDS, Block, Space
from npusim.engine.tables import NONE, NUM_BINS, NUM_NETWORKS, Wiring
from npusim.units import cycles_to_ps

NIL = at.NIL


class Arena(Space):
    """The state (see layout.py). Tables of the chip are named: `table("links")[i, at.L_BUSY]`;
    behind them stand the blocks of what comes and goes: queues, packets, task streams."""

    def __init__(self, tables: dict[str, Block], num_words: int, span_room: int):
        super().__init__(num_words)
        self.tables = tables
        self.spans = np.zeros((max(span_room, 1), at.SPAN_WORDS), np.int64)

    def table(self, name: str) -> np.ndarray:
        """A view: what is written to it is written to the state, until the array grows."""
        return self.tables[name].view(self.words)


def build(w: Wiring, span_room: int = 0) -> Arena:
    """The state before tick 0, without tasks. `span_room`: rows of the span buffer, 0: none."""
    tables, num_words = _reserve(w)
    base = {name: block.first for name, block in tables.items()}
    arena = Arena(tables, num_words, span_room)
    arena.words[at.SLOTS : at.SLOTS + at.WHEEL_SLOTS] = NIL
    _fill_globals(arena.words, w, base, span_room)
    _fill_links(arena.table("links"), w, base)
    _fill_fifos(arena.table("fifos"), w, base)
    _fill_channels(arena.table("channels"), arena.table("banks"), arena.table("groups"), w, base)
    _fill_cores(arena.table("cores"), w, base)
    _fill_memories(arena.table("memories"), w, base)
    arena.table("route")[:, 0] = base["links"] + w.route.reshape(-1).astype(np.int64) * at.L_SIZE
    return arena


def _reserve(w: Wiring) -> tuple[dict[str, Block], int]:
    """Where each table stands, and how many words they take."""
    sizes = {
        "links": (w.num_links, at.L_SIZE),
        "fifos": (w.num_fifos, at.F_SIZE),
        "channels": (len(w.channels), at.K_SIZE),
        "banks": (int(w.channels.num_banks.sum()), at.B_SIZE),
        "groups": (int(w.channels.num_groups.sum()), at.G_SIZE),
        "ahead": (int(w.channels.window.sum()), 1),
        "cores": (w.num_cores, at.C_SIZE),
        "memories": (len(w.memory_first_channel), at.M_SIZE),
        "route": (w.route.size, 1),
        "work_ports": (w.num_cores, 1),
        "work_links": (w.num_links, 1),
        "work_credits": (w.num_links, 1),
        "work_channels": (len(w.channels), 1),
        "link_bins": (w.num_links, NUM_BINS),
        "channel_bins": (len(w.channels), NUM_BINS),
    }
    tables, end = {}, at.HEADER_WORDS
    for name, (count, size) in sizes.items():
        first = -(-end // LINE_WORDS) * LINE_WORDS
        tables[name] = Block(first, count, size)
        end = first + count * size
    return tables, end


def _fill_globals(words, w: Wiring, base, span_room) -> None:
    words[[at.NOW, at.FREE_PACKET, at.CHAIN, at.NEW, at.ENDED, at.FOLLOWING]] = NIL
    values = {
        at.KHZ: w.khz, at.NUM_CORES: w.num_cores, at.NUM_VCS: w.num_vcs, at.LOCKED: w.locked,
        at.LOCK_ACK: w.lock_ack, at.SPLIT_VCS: w.split_vcs,
        at.LOCKS_STOP_ALL: w.locks_stop_all, at.FIFO_ARBITRATION: w.fifo_arbitration,
        at.HANDSHAKE: w.handshake, at.HEADER: w.header_bytes, at.MIN_PACKET: w.min_packet_bytes,
        at.MAX_PACKET: w.max_packet_bytes, at.PACKETS_PER_MESSAGE: w.packets_per_message,
        at.MIXED_WIDTHS: len(np.unique(w.link_bytes)) > 1, at.RINGS: w.link_ring is not None,
        at.KEEP_SPANS: span_room > 0, at.NUM_ROUTERS: w.route.shape[1], at.NUM_NODES: w.num_nodes,
        at.LINKS: base["links"], at.CHANNELS: base["channels"], at.CORES: base["cores"],
        at.FIRST_SOURCE: base["fifos"] + w.num_links * w.num_vcs * at.F_SIZE,
        at.ROUTE: base["route"], at.NUM_LINKS: w.num_links, at.NUM_CHANNELS: len(w.channels),
        at.W_PORTS: base["work_ports"], at.W_LINKS: base["work_links"],
        at.W_CREDITS: base["work_credits"], at.W_CHANNELS: base["work_channels"],
    }  # fmt: skip
    for place, value in values.items():
        words[place] = value


def offsets_of(base: int, index: np.ndarray, size: int) -> np.ndarray:
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
    fifos[inner:, at.F_OUT_LINK] = offsets_of(base["links"], w.source_link, at.L_SIZE)


def _fill_channels(channels, banks, groups, w: Wiring, base) -> None:
    c = w.channels
    for place, name in enumerate(at.TIMINGS, start=at.K_TRCD):
        channels[:, place] = getattr(c, name)
    first_bank = np.cumsum(c.num_banks) - c.num_banks
    first_group = np.cumsum(c.num_groups) - c.num_groups
    spread = np.where(c.block_bytes > 0, 2, 1)
    values = {
        at.K_NODE: c.port_node, at.K_SOURCE: offsets_of(base["fifos"], c.source, at.F_SIZE),
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
    sources = offsets_of(base["fifos"], w.core_source, at.F_SIZE)
    engines = sources.shape[2] - 1
    for network in range(NUM_NETWORKS):
        first = at.C_SOURCES + network * at.MAX_ENGINES
        cores[:, first : first + engines] = sources[:, network, :engines]
    cores[:, at.C_ACKS] = sources[:, 1, engines]


def _fill_memories(memories, w: Wiring, base) -> None:
    first = offsets_of(base["channels"], w.memory_first_channel, at.K_SIZE)
    memories[:, at.M_FIRST_CHANNEL] = first
    memories[:, at.M_NUM_CHANNELS] = w.memory_num_channels
    memories[:, at.M_INTERLEAVE] = w.memory_interleave


def widen_bins(bins: np.ndarray, times: int) -> np.ndarray:
    """Bins (rows, NUM_BINS) of 2**times the width: neighbours added up, the rest zero."""
    for _ in range(times):
        bins = bins.reshape(len(bins), NUM_BINS // 2, 2).sum(axis=2)
        bins = np.concatenate([bins, np.zeros_like(bins)], axis=1)
    return np.ascontiguousarray(bins)
