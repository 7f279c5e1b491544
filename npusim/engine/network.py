"""Links and FIFOs of the NoC: packets wish, are granted and move on (phase E and its events)."""

from npusim.engine import layout as at
from npusim.engine.choice import choose, choose_locked, ejection_is_full
from npusim.engine.kernel import kernel
from npusim.engine.locks import link_towards, pass_data, release, touch_link
from npusim.engine.record import link_span, reach
from npusim.engine.wheel import ceil_div, schedule


@kernel
def new_packet(A, kind, task, index, payload, wire):
    """Takes a packet from the free list, or a fresh one; the caller fills in the way it goes."""
    packet = A[at.FREE_PACKET]
    if packet != at.NIL:
        A[at.FREE_PACKET] = A[packet + at.P_NEXT]
    else:
        packet = A[at.FRESH_PACKET]
        if packet == A[at.FRESH_END]:
            raise AssertionError("more packets are alive than the arena has room for")
        A[at.FRESH_PACKET] += at.P_SIZE
    A[packet + at.P_KIND] = kind
    A[packet + at.P_TASK] = task
    A[packet + at.P_KEY] = (A[task + at.T_NUMBER] << at.INDEX_BITS) | index
    A[packet + at.P_PAYLOAD] = payload
    A[packet + at.P_WIRE] = wire
    A[packet + at.P_NEXT] = at.NIL
    return packet


@kernel
def free_packet(A, packet):
    A[packet + at.P_NEXT] = A[at.FREE_PACKET]
    A[at.FREE_PACKET] = packet


@kernel
def _route(A, router, packet):
    """Next link of a packet that stands at a router."""
    network = 1 if A[packet + at.P_KIND] >= at.FIRST_RESPONSE_KIND else 0
    return link_towards(A, network, router, A[packet + at.P_NODE])


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
def _drop_wish(A, link, fifo):
    before = A[link + at.L_WISHES]
    if before == fifo:
        A[link + at.L_WISHES] = A[fifo + at.F_NEXT_WISH]
        return
    while A[before + at.F_NEXT_WISH] != fifo:
        before = A[before + at.F_NEXT_WISH]
    A[before + at.F_NEXT_WISH] = A[fifo + at.F_NEXT_WISH]


@kernel
def arbitrate(A, spans, link):
    """Phase E for one link: grants at most one packet, the one it has chosen, once it has room."""
    if A[link + at.L_BUSY] == 1 or A[link + at.L_WISHES] == at.NIL or ejection_is_full(A, link):
        return
    fifo, down = choose_locked(A, link) if A[at.LOCKED] == 1 else choose(A, link)
    if fifo == at.NIL:
        return
    flits = max(1, ceil_div(A[A[fifo + at.F_FIRST] + at.P_WIRE], A[link + at.L_WIDTH]))
    room = _room(A, link, flits)
    if down == at.NIL or A[down + at.F_FREE] >= room:
        _grant(A, spans, link, fifo, down, flits, room)


@kernel
def _room(A, link, flits):
    """What a packet takes of the room in a FIFO where a link ends: its flits; on a ring a slot."""
    if A[at.RINGS] == 1 and A[link + at.L_RING] != at.NIL:
        return 1
    return flits


@kernel
def _grant(A, spans, link, fifo, down, flits, room):
    now = A[at.NOW]
    packet = A[fifo + at.F_FIRST]
    wire = A[packet + at.P_WIRE]
    _drop_wish(A, link, fifo)
    if A[at.LOCKED] == 1 and A[packet + at.P_KIND] == at.MESSAGE:
        pass_data(A, link, packet)
    _count(A, link, now - A[packet + at.P_TICK], wire, flits)
    if A[at.KEEP_SPANS] == 1:
        link_span(A, spans, link, A[packet + at.P_TASK], now, now + flits, wire)
    A[link + at.L_BUSY] = 1
    A[link + at.L_LAST] = fifo
    A[link + at.L_FROM] = fifo
    A[link + at.L_PACKET] = packet
    A[fifo + at.F_STREAMING] = 1
    A[fifo + at.F_FIRST] = A[packet + at.P_NEXT]
    mixed_widths = A[at.MIXED_WIDTHS] == 1
    if A[fifo + at.F_UP_LINK] != at.NIL and not (mixed_widths and _drains_slowly(A, link, fifo)):
        _note_credit(A, fifo, _taken(A, fifo, packet, flits, mixed_widths))
    schedule(A, link, at.TAIL_LEFT, now + flits)
    if down != at.NIL:
        A[down + at.F_FREE] -= room
        A[packet + at.P_FIFO] = down
        held_back = _held_back(A, link, packet, flits) if mixed_widths else 0
        schedule(A, packet, at.AT_ROUTER, now + A[link + at.L_TICKS] + held_back)
    else:
        A[link + at.L_EJECT_FREE] -= 1  # a memory port's is not looked at
        A[packet + at.P_FIFO] = link  # where the ejection slot is given back
        schedule(A, packet, at.AT_NODE, now + A[link + at.L_TICKS] + flits)


@kernel
def _drains_slowly(A, link, fifo):
    """Whether packets leave a FIFO over a narrower link than they come by."""
    return A[link + at.L_WIDTH] < A[A[fifo + at.F_UP_LINK] + at.L_WIDTH]


@kernel
def _note_credit(A, fifo, room):
    """A FIFO gets room back in the next tick."""
    A[A[at.W_CREDITS] + A[at.N_CREDITS]] = fifo << 32 | room
    A[at.N_CREDITS] += 1


@kernel
def _taken(A, fifo, packet, flits, mixed_widths):
    """The room that a packet took of its FIFO; `flits` it has where it goes."""
    up = A[fifo + at.F_UP_LINK]
    if mixed_widths:
        flits = max(1, ceil_div(A[packet + at.P_WIRE], A[up + at.L_WIDTH]))
    return _room(A, up, flits)


@kernel
def give_credits(A):
    """Phase A: room that packets began to leave in the tick before is free. Of how many packets."""
    count = A[at.N_CREDITS]
    for i in range(count):
        credit = A[A[at.W_CREDITS] + i]
        _give_room(A, credit >> 32, credit & 0xFFFFFFFF)
    A[at.N_CREDITS] = 0
    return count


@kernel
def _give_room(A, fifo, room):
    A[fifo + at.F_FREE] += room
    touch_link(A, A[fifo + at.F_UP_LINK])


@kernel
def _held_back(A, link, packet, flits):
    """Ticks that the head waits for its tail, so that a wider link ahead does not run dry."""
    ahead = _route(A, A[link + at.L_ROUTER], packet)
    return max(0, flits - max(1, ceil_div(A[packet + at.P_WIRE], A[ahead + at.L_WIDTH])))


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
        release(A, link)
    fifo = A[link + at.L_FROM]
    A[fifo + at.F_STREAMING] = 0
    fed = A[fifo + at.F_UP_LINK] != at.NIL
    if fed and A[at.MIXED_WIDTHS] == 1 and _drains_slowly(A, link, fifo):
        _give_room(A, fifo, _taken(A, fifo, A[link + at.L_PACKET], 0, True))
    if A[fifo + at.F_FIRST] != at.NIL:
        _make_wish(A, fifo)


@kernel
def give_back_eject(A, packet):
    """The packet has left the ejection slot of the link it came by."""
    link = A[packet + at.P_FIFO]
    A[link + at.L_EJECT_FREE] += 1
    touch_link(A, link)
