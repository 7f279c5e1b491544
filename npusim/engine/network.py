"""Links and FIFOs of the NoC: which packet gets which link when (phase E and its events)."""

from npusim.engine.kernel import kernel
from npusim.engine.state import (
    ACK,
    ASK,
    AT_NODE,
    AT_ROUTER,
    LOAD_REQUEST,
    MESSAGE,
    SPAN_GAP_TICKS,
    STORE_DATA,
)
from npusim.engine.tables import NONE
from npusim.engine.wheel import ceil_div, cycles_to_ps, schedule

BIG = 1 << 62


@kernel
def new_packet(m, kind, task, index, payload, wire):
    """Takes a packet record from the free list; the caller fills in the way it goes."""
    g = m.g[0]
    p = g.free_packet
    packet = m.packets[p]
    g.free_packet = packet.next
    packet.kind = kind
    packet.task = task
    packet.key = (task << 24) | index
    packet.payload = payload
    packet.wire = wire
    packet.next = NONE
    packet.prev = NONE
    return p


@kernel
def free_packet(m, p):
    m.packets[p].next = m.g[0].free_packet
    m.g[0].free_packet = p


@kernel
def touch_link(m, link):
    if m.links[link].touched == 0:
        m.links[link].touched = 1
        m.work_links[m.g[0].num_links] = link
        m.g[0].num_links += 1


@kernel
def network_of(kind):
    return 0 if kind == LOAD_REQUEST or kind == STORE_DATA or kind == ASK else 1


@kernel
def make_wish(m, f):
    """The first packet of FIFO f tells the link it wants."""
    fifo = m.fifos[f]
    link = fifo.out_link
    if fifo.router != NONE:
        packet = m.packets[fifo.first]
        link = m.route[network_of(packet.kind), fifo.router, packet.node]
    fifo.wish = m.g[0].now
    fifo.next_wish = m.links[link].wishes
    m.links[link].wishes = f
    touch_link(m, link)


@kernel
def enter_fifo(m, f, p):
    """Packet p goes to the end of FIFO f."""
    fifo = m.fifos[f]
    m.packets[p].next = NONE
    if fifo.first == NONE:
        fifo.first = p
        fifo.last = p
        if fifo.streaming == 0:
            make_wish(m, f)
    else:
        m.packets[fifo.last].next = p
        fifo.last = p


@kernel
def _choose(m, link):
    """FIFO whose wish link grants: round robin by id, or the longest waiting; NONE when none may."""
    best, best_rank = NONE, BIG
    owner, last = m.links[link].owner, m.links[link].last
    f = m.links[link].wishes
    while f != NONE:
        fifo = m.fifos[f]
        if owner == NONE or m.packets[fifo.first].task == owner:
            if m.fifo_arbitration == 1:
                rank = (fifo.wish << 20) | f
            else:
                rank = f if f > last else f + (1 << 30)
            if rank < best_rank:
                best, best_rank = f, rank
        f = fifo.next_wish
    return best


@kernel
def _roomiest(m, link):
    """Downstream FIFO of a link with most free slots, the lowest on a tie; NONE when all are full."""
    best, most = NONE, 0
    for f in range(link * m.num_vcs, (link + 1) * m.num_vcs):
        if m.fifos[f].free > most:
            best, most = f, m.fifos[f].free
    return best


@kernel
def _drop_wish(m, link, f):
    before = m.links[link].wishes
    if before == f:
        m.links[link].wishes = m.fifos[f].next_wish
        return
    while m.fifos[before].next_wish != f:
        before = m.fifos[before].next_wish
    m.fifos[before].next_wish = m.fifos[f].next_wish


@kernel
def _lock(m, link, packet):
    """Channel locking: a message takes the link with its first packet, gives it up with its last."""
    record = m.links[link]
    if packet.kind == MESSAGE and m.locked == 1:
        if record.owner == NONE:
            record.owner = packet.task
            record.left = m.bytes[packet.task]
        record.left -= packet.payload
        record.unlock = 1 if record.left == 0 else 0
    elif packet.kind == ACK and m.lock_ack == 1:
        record.owner = packet.task
        record.left = BIG


@kernel
def flush_span(m, track, task, start, end, num_bytes):
    row = m.spans[m.g[0].num_spans]
    row.track = track
    row.task = task
    row.start_ps = start
    row.end_ps = end
    row.bytes = num_bytes
    m.g[0].num_spans += 1


@kernel
def _record_span(m, link, task, start, end, num_bytes):
    record = m.links[link]
    if record.span_task == task and start - record.span_end <= SPAN_GAP_TICKS:
        record.span_end = end
        record.span_bytes += num_bytes
        return
    if record.span_task != NONE:
        flush_link_span(m, link)
    record.span_task = task
    record.span_start = start
    record.span_end = end
    record.span_bytes = num_bytes


@kernel
def flush_link_span(m, link):
    record = m.links[link]
    flush_span(m, m.channels.shape[0] + link, record.span_task,
               cycles_to_ps(record.span_start, m.khz), cycles_to_ps(record.span_end, m.khz),
               record.span_bytes)  # fmt: skip
    record.span_task = NONE


@kernel
def arbitrate(m, link):
    """Phase E for one link: grants at most one packet."""
    record = m.links[link]
    if record.busy == 1 or record.wishes == NONE:
        return
    down = NONE
    if record.to_router != NONE:
        down = _roomiest(m, link)
        if down == NONE:
            return
    elif record.to_node < m.num_cores and record.eject_free == 0:
        return
    f = _choose(m, link)
    if f != NONE:
        _grant(m, link, f, down)


@kernel
def _grant(m, link, f, down):
    record = m.links[link]
    fifo = m.fifos[f]
    now = m.g[0].now
    p = fifo.first
    packet = m.packets[p]
    _drop_wish(m, link, f)
    _lock(m, link, packet)
    flits = max(1, ceil_div(packet.wire, record.width))
    record.busy = 1
    record.last = f
    record.from_fifo = f
    record.packet = p
    record.bytes += packet.wire
    record.busy_ticks += flits
    record.packets += 1
    record.wait += now - fifo.wish
    m.link_bins[link, now >> m.g[0].bin_shift] += packet.wire
    if m.keep_spans == 1:
        _record_span(m, link, packet.task, now, now + flits, packet.wire)
    fifo.streaming = 1
    fifo.first = packet.next
    schedule(m, link, now + flits)
    if down != NONE:
        m.fifos[down].free -= 1
        packet.fifo = down
        packet.stage = AT_ROUTER
        schedule(m, m.first_packet + p, now + record.ticks)
    else:
        if record.to_node < m.num_cores:
            record.eject_free -= 1
        packet.fifo = link  # where the ejection slot is given back
        packet.stage = AT_NODE
        schedule(m, m.first_packet + p, now + record.ticks + flits)


@kernel
def tail_left(m, link):
    """Phase A: the granted packet has left; returns the FIFO it came from."""
    record = m.links[link]
    record.busy = 0
    touch_link(m, link)
    if record.unlock == 1:
        record.unlock = 0
        record.owner = NONE
    f = record.from_fifo
    fifo = m.fifos[f]
    fifo.streaming = 0
    if fifo.up_link != NONE:
        fifo.free += 1
        touch_link(m, fifo.up_link)
    if fifo.first != NONE:
        make_wish(m, f)
    return f


@kernel
def give_back_eject(m, p):
    """The packet has left the ejection slot of the link it came by (kept in packet.fifo)."""
    link = m.packets[p].fifo
    m.links[link].eject_free += 1
    touch_link(m, link)


@kernel
def unlock_ack_path(m, src, dst, owner):
    """Releases the locks that the acknowledge from dst to src has taken."""
    link = m.fifos[m.core_source[dst, 1, m.core_source.shape[2] - 1]].out_link
    while True:
        if m.links[link].owner == owner:
            m.links[link].owner = NONE
            touch_link(m, link)
        if m.links[link].to_router == NONE:
            return
        link = m.route[1, m.links[link].to_router, src]

