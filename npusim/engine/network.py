"""Links and FIFOs of the NoC: which packet gets which link when (phase E and its events)."""

from npusim.engine.kernel import kernel
from npusim.engine.layout import (
    ACK,
    AT_NODE,
    AT_ROUTER,
    BIN_SHIFT,
    C_ACKS,
    C_NODE,
    C_SIZE,
    F_FIRST,
    F_FREE,
    F_LAST,
    F_NEXT_WISH,
    F_OUT_LINK,
    F_ROUTER,
    F_SIZE,
    F_STREAMING,
    F_UP_LINK,
    F_WISH,
    FIFO_ARBITRATION,
    FIRST_RESPONSE_KIND,
    FREE_PACKET,
    KEEP_SPANS,
    L_BINS,
    L_BUSY,
    L_BUSY_TICKS,
    L_BYTES,
    L_EJECT_FREE,
    L_FIFOS,
    L_FROM,
    L_LAST,
    L_LEFT,
    L_NODE,
    L_OWNER,
    L_PACKET,
    L_PACKETS,
    L_ROUTER,
    L_TICKS,
    L_TOUCHED,
    L_UNLOCK,
    L_WAIT,
    L_WIDTH,
    L_WISHES,
    LOCK_ACK,
    LOCKED,
    MESSAGE,
    N_LINKS,
    NIL,
    NOW,
    NUM_CORES,
    NUM_NODES,
    NUM_ROUTERS,
    NUM_VCS,
    P_FIFO,
    P_KEY,
    P_KIND,
    P_NEXT,
    P_NODE,
    P_PAYLOAD,
    P_TASK,
    P_WIRE,
    ROUTE,
    T_BYTES,
    TAIL_LEFT,
    W_LINKS,
)
from npusim.engine.record import link_span, reach
from npusim.engine.wheel import ceil_div, schedule

NEVER = 1 << 62


@kernel
def new_packet(A, kind, task, index, payload, wire):
    """Takes a packet from the free list; the caller fills in the way it goes."""
    packet = A[FREE_PACKET]
    A[FREE_PACKET] = A[packet + P_NEXT]
    A[packet + P_KIND] = kind
    A[packet + P_TASK] = task
    A[packet + P_KEY] = (task << 24) | index
    A[packet + P_PAYLOAD] = payload
    A[packet + P_WIRE] = wire
    A[packet + P_NEXT] = NIL
    return packet


@kernel
def free_packet(A, packet):
    A[packet + P_NEXT] = A[FREE_PACKET]
    A[FREE_PACKET] = packet


@kernel
def touch_link(A, link):
    if A[link + L_TOUCHED] == 0:
        A[link + L_TOUCHED] = 1
        A[A[W_LINKS] + A[N_LINKS]] = link
        A[N_LINKS] += 1


@kernel
def _route(A, router, packet):
    """Next link of a packet that stands at a router."""
    network = 1 if A[packet + P_KIND] >= FIRST_RESPONSE_KIND else 0
    row = network * A[NUM_ROUTERS] + router
    return A[A[ROUTE] + row * A[NUM_NODES] + A[packet + P_NODE]]


@kernel
def _make_wish(A, fifo):
    """The first packet of a FIFO tells the link it wants."""
    link = A[fifo + F_OUT_LINK]
    if link == NIL:
        link = _route(A, A[fifo + F_ROUTER], A[fifo + F_FIRST])
    A[fifo + F_WISH] = A[NOW]
    A[fifo + F_NEXT_WISH] = A[link + L_WISHES]
    A[link + L_WISHES] = fifo
    touch_link(A, link)


@kernel
def enter_fifo(A, fifo, packet):
    """A packet goes to the end of a FIFO."""
    A[packet + P_NEXT] = NIL
    if A[fifo + F_FIRST] != NIL:
        A[A[fifo + F_LAST] + P_NEXT] = packet
        A[fifo + F_LAST] = packet
        return
    A[fifo + F_FIRST] = packet
    A[fifo + F_LAST] = packet
    if A[fifo + F_STREAMING] == 0:
        _make_wish(A, fifo)


@kernel
def _rank(A, link, fifo):
    """Order of the wishes: round robin by FIFO, or the longest waiting first."""
    if A[FIFO_ARBITRATION] == 1:
        return (A[fifo + F_WISH] << 26) | fifo
    return fifo if fifo > A[link + L_LAST] else fifo + (1 << 40)


@kernel
def _choose(A, link):
    """FIFO whose wish a link grants; NIL when a lock keeps all of them out."""
    best, best_rank = NIL, NEVER
    owner = A[link + L_OWNER]
    fifo = A[link + L_WISHES]
    while fifo != NIL:
        if owner == NIL or A[A[fifo + F_FIRST] + P_TASK] == owner:
            rank = _rank(A, link, fifo)
            if rank < best_rank:
                best, best_rank = fifo, rank
        fifo = A[fifo + F_NEXT_WISH]
    return best


@kernel
def _roomiest(A, link):
    """Downstream FIFO of a link with most free slots, the lowest on a tie; NIL when all are full."""
    best, most = NIL, 0
    fifo = A[link + L_FIFOS]
    for _ in range(A[NUM_VCS]):
        if A[fifo + F_FREE] > most:
            best, most = fifo, A[fifo + F_FREE]
        fifo += F_SIZE
    return best


@kernel
def _drop_wish(A, link, fifo):
    before = A[link + L_WISHES]
    if before == fifo:
        A[link + L_WISHES] = A[fifo + F_NEXT_WISH]
        return
    while A[before + F_NEXT_WISH] != fifo:
        before = A[before + F_NEXT_WISH]
    A[before + F_NEXT_WISH] = A[fifo + F_NEXT_WISH]


@kernel
def _lock(A, link, packet):
    """Channel locking: a message takes the link with its first packet, gives it up with its last."""
    if A[packet + P_KIND] == MESSAGE:
        if A[link + L_OWNER] == NIL:
            A[link + L_OWNER] = A[packet + P_TASK]
            A[link + L_LEFT] = A[A[packet + P_TASK] + T_BYTES]
        A[link + L_LEFT] -= A[packet + P_PAYLOAD]
        if A[link + L_LEFT] == 0:
            A[link + L_UNLOCK] = 1
    elif A[packet + P_KIND] == ACK and A[LOCK_ACK] == 1:
        A[link + L_OWNER] = A[packet + P_TASK]
        A[link + L_LEFT] = NEVER


@kernel
def arbitrate(A, spans, link):
    """Phase E for one link: grants at most one packet."""
    if A[link + L_BUSY] == 1 or A[link + L_WISHES] == NIL:
        return
    down = NIL
    if A[link + L_ROUTER] != NIL:
        down = _roomiest(A, link)
        if down == NIL:
            return
    elif A[link + L_NODE] < A[NUM_CORES] and A[link + L_EJECT_FREE] == 0:
        return
    fifo = _choose(A, link)
    if fifo != NIL:
        _grant(A, spans, link, fifo, down)


@kernel
def _grant(A, spans, link, fifo, down):
    now = A[NOW]
    packet = A[fifo + F_FIRST]
    wire = A[packet + P_WIRE]
    flits = max(1, ceil_div(wire, A[link + L_WIDTH]))
    _drop_wish(A, link, fifo)
    if A[LOCKED] == 1:
        _lock(A, link, packet)
    _count(A, link, now - A[fifo + F_WISH], wire, flits)
    if A[KEEP_SPANS] == 1:
        link_span(A, spans, link, A[packet + P_TASK], now, now + flits, wire)
    A[link + L_BUSY] = 1
    A[link + L_LAST] = fifo
    A[link + L_FROM] = fifo
    A[link + L_PACKET] = packet
    A[fifo + F_STREAMING] = 1
    A[fifo + F_FIRST] = A[packet + P_NEXT]
    schedule(A, link, TAIL_LEFT, now + flits)
    if down != NIL:
        A[down + F_FREE] -= 1
        A[packet + P_FIFO] = down
        schedule(A, packet, AT_ROUTER, now + A[link + L_TICKS])
    else:
        A[link + L_EJECT_FREE] -= 1  # a memory port's is not looked at
        A[packet + P_FIFO] = link  # where the ejection slot is given back
        schedule(A, packet, AT_NODE, now + A[link + L_TICKS] + flits)


@kernel
def _count(A, link, waited, wire, flits):
    now = A[NOW]
    reach(A, now)
    A[link + L_BYTES] += wire
    A[link + L_BUSY_TICKS] += flits
    A[link + L_PACKETS] += 1
    A[link + L_WAIT] += waited
    A[link + L_BINS + (now >> A[BIN_SHIFT])] += wire


@kernel
def tail_left(A, link):
    """Phase A: the packet has left the FIFO it stood in."""
    A[link + L_BUSY] = 0
    touch_link(A, link)
    if A[link + L_UNLOCK] == 1:
        A[link + L_UNLOCK] = 0
        A[link + L_OWNER] = NIL
    fifo = A[link + L_FROM]
    A[fifo + F_STREAMING] = 0
    if A[fifo + F_UP_LINK] != NIL:
        A[fifo + F_FREE] += 1
        touch_link(A, A[fifo + F_UP_LINK])
    if A[fifo + F_FIRST] != NIL:
        _make_wish(A, fifo)


@kernel
def give_back_eject(A, packet):
    """The packet has left the ejection slot of the link it came by."""
    link = A[packet + P_FIFO]
    A[link + L_EJECT_FREE] += 1
    touch_link(A, link)


@kernel
def unlock_ack_path(A, source_core, packet):
    """Releases what the acknowledge took on its way to `source_core`; packet: the message's last."""
    owner = A[packet + P_TASK]
    receiver = A[packet + P_NODE]
    A[packet + P_NODE] = A[source_core + C_NODE]  # to ask for the way back
    link = _ack_link(A, receiver, source_core)
    while True:
        if A[link + L_OWNER] == owner:
            A[link + L_OWNER] = NIL
            touch_link(A, link)
        if A[link + L_ROUTER] == NIL:
            break
        link = _route(A, A[link + L_ROUTER], packet)
    A[packet + P_NODE] = receiver


@kernel
def _ack_link(A, node, any_core):
    """Injection link of a node's acknowledges; cores lie next to one another."""
    from_core = any_core + (node - A[any_core + C_NODE]) * C_SIZE
    return A[A[from_core + C_ACKS] + F_OUT_LINK]
