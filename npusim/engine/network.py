"""Links and FIFOs of the NoC: which packet gets which link when (phase E and its events)."""

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
from npusim.engine.record import link_span, reach
from npusim.engine.wheel import ceil_div, schedule

NEVER = 1 << 62


@kernel
def new_packet(A, kind, task, index, payload, wire):
    """Takes a packet from the free list; the caller fills in the way it goes."""
    packet = A[at.FREE_PACKET]
    A[at.FREE_PACKET] = A[packet + at.P_NEXT]
    A[packet + at.P_KIND] = kind
    A[packet + at.P_TASK] = task
    A[packet + at.P_KEY] = (task << 24) | index
    A[packet + at.P_PAYLOAD] = payload
    A[packet + at.P_WIRE] = wire
    A[packet + at.P_NEXT] = at.NIL
    return packet


@kernel
def free_packet(A, packet):
    A[packet + at.P_NEXT] = A[at.FREE_PACKET]
    A[at.FREE_PACKET] = packet


@kernel
def touch_link(A, link):
    if A[link + at.L_TOUCHED] == 0:
        A[link + at.L_TOUCHED] = 1
        A[A[at.W_LINKS] + A[at.N_LINKS]] = link
        A[at.N_LINKS] += 1


@kernel
def _route(A, router, packet):
    """Next link of a packet that stands at a router."""
    network = 1 if A[packet + at.P_KIND] >= at.FIRST_RESPONSE_KIND else 0
    row = network * A[at.NUM_ROUTERS] + router
    return A[A[at.ROUTE] + row * A[at.NUM_NODES] + A[packet + at.P_NODE]]


@kernel
def _make_wish(A, fifo):
    """The first packet of a FIFO tells the link it wants."""
    link = A[fifo + at.F_OUT_LINK]
    if link == at.NIL:
        link = _route(A, A[fifo + at.F_ROUTER], A[fifo + at.F_FIRST])
    A[A[fifo + at.F_FIRST] + at.P_TICK] = A[at.NOW]
    A[fifo + at.F_NEXT_WISH] = A[link + at.L_WISHES]
    A[link + at.L_WISHES] = fifo
    touch_link(A, link)


@kernel
def enter_fifo(A, fifo, packet):
    """A packet goes to the end of a FIFO."""
    A[packet + at.P_NEXT] = at.NIL
    if A[fifo + at.F_FIRST] != at.NIL:
        A[A[fifo + at.F_LAST] + at.P_NEXT] = packet
        A[fifo + at.F_LAST] = packet
        return
    A[fifo + at.F_FIRST] = packet
    A[fifo + at.F_LAST] = packet
    if A[fifo + at.F_STREAMING] == 0:
        _make_wish(A, fifo)


@kernel
def _rank(A, link, fifo):
    """Order of the wishes: round robin by FIFO, or the longest waiting first."""
    if A[at.FIFO_ARBITRATION] == 1:
        return (A[A[fifo + at.F_FIRST] + at.P_TICK] << 26) | fifo
    return fifo if fifo > A[link + at.L_LAST] else fifo + (1 << 40)


@kernel
def _choose(A, link):
    """FIFO whose wish a link grants; NIL when a lock keeps all of them out."""
    best, best_rank = at.NIL, NEVER
    owner = A[link + at.L_OWNER]
    fifo = A[link + at.L_WISHES]
    while fifo != at.NIL:
        if owner == at.NIL or A[A[fifo + at.F_FIRST] + at.P_TASK] == owner:
            rank = _rank(A, link, fifo)
            if rank < best_rank:
                best, best_rank = fifo, rank
        fifo = A[fifo + at.F_NEXT_WISH]
    return best


@kernel
def _roomiest(A, link):
    """Downstream FIFO with most free slots, the lowest on a tie; NIL when all are full."""
    best, most = at.NIL, 0
    fifo = A[link + at.L_FIFOS]
    for _ in range(A[at.NUM_VCS]):
        if A[fifo + at.F_FREE] > most:
            best, most = fifo, A[fifo + at.F_FREE]
        fifo += at.F_SIZE
    return best


@kernel
def _drop_wish(A, link, fifo):
    before = A[link + at.L_WISHES]
    if before == fifo:
        A[link + at.L_WISHES] = A[fifo + at.F_NEXT_WISH]
        return
    while A[before + at.F_NEXT_WISH] != fifo:
        before = A[before + at.F_NEXT_WISH]
    A[before + at.F_NEXT_WISH] = A[fifo + at.F_NEXT_WISH]


@kernel
def _lock(A, link, packet):
    """Channel locking: a message takes the link with its first packet, frees it with its last."""
    if A[packet + at.P_KIND] == at.MESSAGE:
        if A[link + at.L_OWNER] == at.NIL:
            A[link + at.L_OWNER] = A[packet + at.P_TASK]
            A[link + at.L_LEFT] = A[A[packet + at.P_TASK] + at.T_BYTES]
        A[link + at.L_LEFT] -= A[packet + at.P_PAYLOAD]
        if A[link + at.L_LEFT] == 0:
            A[link + at.L_UNLOCK] = 1
    elif A[packet + at.P_KIND] == at.ACK and A[at.LOCK_ACK] == 1:
        A[link + at.L_OWNER] = A[packet + at.P_TASK]
        A[link + at.L_LEFT] = NEVER


@kernel
def arbitrate(A, spans, link):
    """Phase E for one link: grants at most one packet."""
    if A[link + at.L_BUSY] == 1 or A[link + at.L_WISHES] == at.NIL:
        return
    down = at.NIL
    if A[link + at.L_ROUTER] != at.NIL:
        down = _roomiest(A, link)
        if down == at.NIL:
            return
    elif A[link + at.L_NODE] < A[at.NUM_CORES] and A[link + at.L_EJECT_FREE] == 0:
        return
    fifo = _choose(A, link)
    if fifo != at.NIL:
        _grant(A, spans, link, fifo, down)


@kernel
def _grant(A, spans, link, fifo, down):
    now = A[at.NOW]
    packet = A[fifo + at.F_FIRST]
    wire = A[packet + at.P_WIRE]
    flits = max(1, ceil_div(wire, A[link + at.L_WIDTH]))
    _drop_wish(A, link, fifo)
    if A[at.LOCKED] == 1:
        _lock(A, link, packet)
    _count(A, link, now - A[packet + at.P_TICK], wire, flits)
    if A[at.KEEP_SPANS] == 1:
        link_span(A, spans, link, A[packet + at.P_TASK], now, now + flits, wire)
    A[link + at.L_BUSY] = 1
    A[link + at.L_LAST] = fifo
    A[link + at.L_FROM] = fifo
    A[link + at.L_PACKET] = packet
    A[fifo + at.F_STREAMING] = 1
    A[fifo + at.F_FIRST] = A[packet + at.P_NEXT]
    schedule(A, link, at.TAIL_LEFT, now + flits)
    if down != at.NIL:
        A[down + at.F_FREE] -= 1
        A[packet + at.P_FIFO] = down
        schedule(A, packet, at.AT_ROUTER, now + A[link + at.L_TICKS])
    else:
        A[link + at.L_EJECT_FREE] -= 1  # a memory port's is not looked at
        A[packet + at.P_FIFO] = link  # where the ejection slot is given back
        schedule(A, packet, at.AT_NODE, now + A[link + at.L_TICKS] + flits)


@kernel
def _count(A, link, waited, wire, flits):
    now = A[at.NOW]
    reach(A, now)
    A[link + at.L_BYTES] += wire
    A[link + at.L_BUSY_TICKS] += flits
    A[link + at.L_PACKETS] += 1
    A[link + at.L_WAIT] += waited
    A[A[link + at.L_BINS] + (now >> A[at.BIN_SHIFT])] += wire


@kernel
def tail_left(A, link):
    """Phase A: the packet has left the FIFO it stood in."""
    A[link + at.L_BUSY] = 0
    touch_link(A, link)
    if A[link + at.L_UNLOCK] == 1:
        A[link + at.L_UNLOCK] = 0
        A[link + at.L_OWNER] = at.NIL
    fifo = A[link + at.L_FROM]
    A[fifo + at.F_STREAMING] = 0
    if A[fifo + at.F_UP_LINK] != at.NIL:
        A[fifo + at.F_FREE] += 1
        touch_link(A, A[fifo + at.F_UP_LINK])
    if A[fifo + at.F_FIRST] != at.NIL:
        _make_wish(A, fifo)


@kernel
def give_back_eject(A, packet):
    """The packet has left the ejection slot of the link it came by."""
    link = A[packet + at.P_FIFO]
    A[link + at.L_EJECT_FREE] += 1
    touch_link(A, link)


@kernel
def unlock_ack_path(A, source_core, packet):
    """Releases what the acknowledge took on its way to `source_core`.

    `packet` is the last one of the message that was acknowledged.
    """
    owner = A[packet + at.P_TASK]
    receiver = A[packet + at.P_NODE]
    A[packet + at.P_NODE] = A[source_core + at.C_NODE]  # to ask for the way back
    link = _ack_link(A, receiver, source_core)
    while True:
        if A[link + at.L_OWNER] == owner:
            A[link + at.L_OWNER] = at.NIL
            touch_link(A, link)
        if A[link + at.L_ROUTER] == at.NIL:
            break
        link = _route(A, A[link + at.L_ROUTER], packet)
    A[packet + at.P_NODE] = receiver


@kernel
def _ack_link(A, node, any_core):
    """Injection link of a node's acknowledges; cores lie next to one another."""
    from_core = any_core + (node - A[any_core + at.C_NODE]) * at.C_SIZE
    return A[A[from_core + at.C_ACKS] + at.F_OUT_LINK]
