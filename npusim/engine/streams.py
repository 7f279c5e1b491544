"""Task streams: ready tasks, queues that start them, DMA units and scratchpad ports (phases A–D)."""

from npusim.engine.dram import join_queue, touch_channel
from npusim.engine.kernel import kernel
from npusim.engine.network import (
    enter_fifo,
    free_packet,
    give_back_eject,
    new_packet,
    tail_left,
    unlock_ack_path,
)
from npusim.engine.state import (
    ACK,
    ASK,
    AT_CHANNEL,
    AT_NODE,
    AT_ROUTER,
    DATA_READY,
    LOAD_DATA,
    LOAD_REQUEST,
    MESSAGE,
    PORT_DONE,
    STORE_ACK,
    STORE_DATA,
)
from npusim.engine.tables import LOAD, NONE, RECV, SEND, SYNC
from npusim.engine.wheel import ceil_div, schedule


@kernel
def touch_queue(m, q):
    if m.queues[q].touched == 0:
        m.queues[q].touched = 1
        m.work_queues[m.g[0].num_queues] = q
        m.g[0].num_queues += 1


@kernel
def _chain(m, task):
    """Puts a task that has ended on the list whose dependents are still to be told."""
    m.tasks[task].chain = m.g[0].chain
    m.g[0].chain = task


@kernel
def became_ready(m, task):
    """The last dependency has ended: SYNCs end, RECVs are posted, others wake their queue."""
    record = m.tasks[task]
    record.ready = m.g[0].now
    kind = m.kind[task]
    if kind == SYNC:
        record.start = record.ready
        _chain(m, task)
    elif kind == RECV:
        record.posted = 1
        if record.asked == 1:
            _add_ack(m, m.match[task])
        if record.left == 0:
            _chain(m, task)
    else:
        touch_queue(m, m.queue_of[task])


@kernel
def drain_chain(m):
    """Ends the chained tasks and whatever ends because of them."""
    g = m.g[0]
    while g.chain != NONE:
        task = g.chain
        record = m.tasks[task]
        g.chain = record.chain
        record.end = g.now
        g.tasks_left -= 1
        for i in range(m.dependents_start[task], m.dependents_start[task + 1]):
            other = m.dependents[i]
            m.tasks[other].waits -= 1
            if m.tasks[other].waits == 0:
                became_ready(m, other)


@kernel
def _bytes_done(m, task, num_bytes):
    """Counts bytes of a transfer that are done; ends it with the last."""
    record = m.tasks[task]
    record.left -= num_bytes
    if record.left == 0 and (m.kind[task] != RECV or record.posted == 1):
        _chain(m, task)


@kernel
def _add_ack(m, send):
    """Notes an acknowledge for phase D, in order of the SENDs."""
    g = m.g[0]
    i = g.num_acks
    while i > 0 and m.acks[i - 1] > send:
        m.acks[i] = m.acks[i - 1]
        i -= 1
    m.acks[i] = send
    g.num_acks += 1


@kernel
def send_acks(m):
    """Phase D."""
    for i in range(m.g[0].num_acks):
        send = m.acks[i]
        core = m.core_of[m.match[send]]
        p = new_packet(m, ACK, send, 0, 0, m.header)
        m.packets[p].node = m.core_of[send]
        enter_fifo(m, m.core_source[core, 1, m.core_source.shape[2] - 1], p)
    m.g[0].num_acks = 0


# ---- queues (phase B)


@kernel
def run_queue(m, q):
    """Phase B for one queue: starts its next task, or issues its next unit."""
    queue = m.queues[q]
    if queue.engine == NONE:
        if queue.busy == 0:
            _start_compute(m, q, queue)
    else:
        _run_dma(m, q, queue)


@kernel
def _next_is_ready(m, queue):
    return queue.pos < queue.end and m.tasks[m.queue_tasks[queue.pos]].waits == 0


@kernel
def _start_compute(m, q, queue):
    if not _next_is_ready(m, queue):
        return
    now = m.g[0].now
    task = m.queue_tasks[queue.pos]
    queue.pos += 1
    queue.task = task
    queue.busy = 1
    queue.start = now
    queue.seen = m.cores[queue.core].bytes
    m.tasks[task].start = now
    schedule(m, m.first_queue + q, now + m.ticks[task])


@kernel
def compute_over(m, q):
    """Phase A: a COMPUTE would end; it goes on while the scratchpad port owes it time."""
    queue = m.queues[q]
    task, core, now = queue.task, m.cores[queue.core], m.g[0].now
    moved = m.bytes[task] + core.bytes - queue.seen
    needed = queue.start + ceil_div(moved * core.num, core.den)
    if needed > now:
        schedule(m, m.first_queue + q, needed)
        return
    core.stretch += now - queue.start - m.ticks[task]
    queue.busy = 0
    _chain(m, task)
    touch_queue(m, q)


@kernel
def _run_dma(m, q, queue):
    now = m.g[0].now
    if queue.task == NONE:
        if not _next_is_ready(m, queue):
            return
        _open_transfer(m, queue)
    if queue.under_way >= queue.limit or (queue.asked == 1 and queue.answered == 0):
        return
    if now < queue.next_issue:
        _set_timer(m, q, queue)
        return
    queue.next_issue = now + queue.issue_ticks
    kind = m.kind[queue.task]
    if m.tasks[queue.task].start == NONE:
        m.tasks[queue.task].start = now
    if kind == SEND and m.handshake == 1 and queue.asked == 0:
        queue.asked = 1
        _ask(m, q, queue)
        return
    if kind == SEND:
        _issue_packet(m, q, queue)
    else:
        _issue_unit(m, q, queue, kind)
    queue.under_way += 1
    if queue.offset == m.bytes[queue.task]:
        queue.task = NONE
    if queue.under_way < queue.limit and (queue.task != NONE or _next_is_ready(m, queue)):
        _set_timer(m, q, queue)


@kernel
def _set_timer(m, q, queue):
    if queue.timer == 0:
        queue.timer = 1
        schedule(m, m.first_queue + q, queue.next_issue)


@kernel
def _open_transfer(m, queue):
    task = m.queue_tasks[queue.pos]
    queue.pos += 1
    queue.task = task
    queue.offset = 0
    queue.index = 0
    queue.asked = 0
    queue.answered = 0
    if m.kind[task] == SEND:
        share = ceil_div(m.bytes[task], m.packets_per_message)
        queue.packet = min(max(share, m.min_packet), m.max_packet)


@kernel
def _ask(m, q, queue):
    p = new_packet(m, ASK, queue.task, 0, 0, m.header)
    packet = m.packets[p]
    packet.node = m.core_of[m.match[queue.task]]
    packet.queue = q
    enter_fifo(m, m.core_source[queue.core, 0, queue.engine], p)


@kernel
def _issue_packet(m, q, queue):
    payload = min(queue.packet, m.bytes[queue.task] - queue.offset)
    p = new_packet(m, MESSAGE, queue.task, queue.index, payload, payload + m.header)
    packet = m.packets[p]
    packet.node = m.core_of[m.match[queue.task]]
    packet.queue = q
    packet.core = queue.core
    packet.engine = queue.engine
    queue.offset += payload
    queue.index += 1
    ask_port(m, p)


@kernel
def _issue_unit(m, q, queue, kind):
    """Cuts the next unit off a LOAD or STORE and sends it on its way."""
    task = queue.task
    total, row_bytes = m.bytes[task], m.row_bytes[task]
    row, inside = 0, queue.offset
    room = total - queue.offset
    if row_bytes > 0:
        row = queue.offset // row_bytes
        inside = queue.offset - row * row_bytes
        room = min(room, row_bytes - inside)
    address = m.address[task] + row * m.stride_bytes[task] + inside
    memory = m.memory[task]
    interleave = m.memory_interleave[memory]
    payload = min(room, queue.unit_bytes - address % queue.unit_bytes)
    payload = min(payload, interleave - address % interleave)
    stripe = address // interleave
    count = m.memory_num_channels[memory]
    c = m.memory_first_channel[memory] + stripe % count
    is_load = kind == LOAD
    p = new_packet(m, LOAD_REQUEST if is_load else STORE_DATA, task, queue.index, payload,
                   m.header if is_load else payload + m.header)  # fmt: skip
    packet = m.packets[p]
    packet.channel = c
    packet.address = stripe // count * interleave + address % interleave
    packet.queue = q
    packet.core = queue.core
    packet.engine = queue.engine
    packet.node = m.channels[c].port_node
    queue.offset += payload
    queue.index += 1
    if is_load:
        _to_memory(m, p)
    else:
        ask_port(m, p)


@kernel
def _to_memory(m, p):
    """A LOAD's request or a STORE's data leaves the core: straight to the channel, or by the NoC."""
    packet = m.packets[p]
    if packet.node == NONE:
        packet.stage = AT_CHANNEL
        ticks = m.channels[packet.channel].request_ticks
        schedule(m, m.first_packet + p, m.g[0].now + ticks)
    else:
        enter_fifo(m, m.core_source[packet.core, 0, packet.engine], p)


# ---- scratchpad ports (phase C)


@kernel
def ask_port(m, p):
    """Packet p wants its core's port in this tick; kept in order of key."""
    packet = m.packets[p]
    core = m.cores[packet.core]
    before, after = NONE, core.first
    while after != NONE and m.packets[after].key < packet.key:
        before, after = after, m.packets[after].next
    packet.next = after
    if before == NONE:
        core.first = p
    else:
        m.packets[before].next = p
    if core.touched == 0:
        core.touched = 1
        m.work_ports[m.g[0].num_ports] = packet.core
        m.g[0].num_ports += 1


@kernel
def run_port(m, c):
    """Phase C for one core: books the port for all that asked in this tick."""
    core = m.cores[c]
    now = m.g[0].now
    p = core.first
    core.first = NONE
    while p != NONE:
        packet = m.packets[p]
        following = packet.next
        service = max(1, ceil_div(packet.payload * core.num, core.den))
        core.free = max(now, core.free) + service
        core.bytes += packet.payload
        core.busy_ticks += service
        packet.stage = PORT_DONE
        schedule(m, m.first_packet + p, core.free)
        p = following


# ---- events of packets, links and queues (phase A)


@kernel
def link_event(m, link):
    """The tail of a packet has left over `link`; a SEND's unit is no longer under way."""
    f = tail_left(m, link)
    packet = m.packets[m.links[link].packet]  # not freed yet: it arrives after its tail has left
    if f >= m.links.shape[0] * m.num_vcs and packet.kind == MESSAGE:
        m.queues[packet.queue].under_way -= 1
        touch_queue(m, packet.queue)
        _bytes_done(m, packet.task, packet.payload)


@kernel
def queue_event(m, q):
    if m.queues[q].engine == NONE:
        compute_over(m, q)
    else:
        m.queues[q].timer = 0
        touch_queue(m, q)


@kernel
def channel_event(m, c):
    m.channels[c].open = 1
    touch_channel(m, c)


@kernel
def packet_event(m, p):
    stage = m.packets[p].stage
    if stage == AT_ROUTER:
        enter_fifo(m, m.packets[p].fifo, p)
    elif stage == PORT_DONE:
        _port_done(m, p)
    elif stage == AT_CHANNEL:
        join_queue(m, p)
    elif stage == DATA_READY:
        _data_ready(m, p)
    elif stage == AT_NODE:
        _at_node(m, p)


@kernel
def _at_node(m, p):
    """A packet has come out of the NoC, whole."""
    packet = m.packets[p]
    kind = packet.kind
    if kind == LOAD_DATA:
        ask_port(m, p)
    elif kind == MESSAGE:
        packet.core = packet.node
        packet.engine = NONE
        ask_port(m, p)
    elif kind == LOAD_REQUEST or kind == STORE_DATA:
        packet.stage = AT_CHANNEL
        ticks = m.channels[packet.channel].request_ticks
        schedule(m, m.first_packet + p, m.g[0].now + ticks)
    else:
        give_back_eject(m, p)
        if kind == STORE_ACK:
            _unit_done(m, p)
        else:
            _handshake(m, p, kind)


@kernel
def _handshake(m, p, kind):
    packet = m.packets[p]
    if kind == ASK:
        recv = m.match[packet.task]
        m.tasks[recv].asked = 1
        if m.tasks[recv].posted == 1:
            _add_ack(m, packet.task)
    else:
        q = m.queue_of[packet.task]
        m.queues[q].answered = 1
        touch_queue(m, q)
    free_packet(m, p)


@kernel
def _data_ready(m, p):
    """The channel has read or written the unit."""
    packet = m.packets[p]
    is_store = packet.kind == STORE_DATA
    if packet.node == NONE:
        if is_store:
            _unit_done(m, p)
        else:
            packet.kind = LOAD_DATA
            ask_port(m, p)
        return
    packet.kind = STORE_ACK if is_store else LOAD_DATA
    packet.wire = m.header if is_store else packet.payload + m.header
    packet.node = packet.core
    enter_fifo(m, m.channels[packet.channel].source, p)


@kernel
def _port_done(m, p):
    """The scratchpad port has read (STORE, SEND) or written (LOAD, RECV) the unit."""
    packet = m.packets[p]
    if packet.kind == STORE_DATA:
        _to_memory(m, p)
    elif packet.kind == LOAD_DATA:
        if m.channels[packet.channel].port_node != NONE:
            give_back_eject(m, p)
        _unit_done(m, p)
    elif packet.engine == NONE:
        _message_written(m, p)
    else:
        enter_fifo(m, m.core_source[packet.core, 1, packet.engine], p)


@kernel
def _message_written(m, p):
    packet = m.packets[p]
    give_back_eject(m, p)
    recv = m.match[packet.task]
    _bytes_done(m, recv, packet.payload)
    if m.lock_ack == 1 and m.tasks[recv].left == 0:
        unlock_ack_path(m, m.core_of[packet.task], packet.node, packet.task)
    free_packet(m, p)


@kernel
def _unit_done(m, p):
    """A LOAD's or STORE's unit has ended."""
    packet = m.packets[p]
    m.queues[packet.queue].under_way -= 1
    touch_queue(m, packet.queue)
    _bytes_done(m, packet.task, packet.payload)
    free_packet(m, p)
