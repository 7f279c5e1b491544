"""Locks of links: which message a link belongs to, and what that keeps out (channel_locked)."""

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
from npusim.engine.tables import RESPONSE_NETWORK


@kernel
def touch_link(A, link):
    """Lets a link decide in phase E of this tick; a busy or unwanted one has nothing to decide."""
    if A[link + at.L_BUSY] == 0 and A[link + at.L_WISHES] != at.NIL and A[link + at.L_TOUCHED] == 0:
        A[link + at.L_TOUCHED] = 1
        A[A[at.W_LINKS] + A[at.N_LINKS]] = link
        A[at.N_LINKS] += 1


@kernel
def link_towards(A, network, router, node):
    """The link by which a packet for `node` leaves a router."""
    row = network * A[at.NUM_ROUTERS] + router
    return A[A[at.ROUTE] + row * A[at.NUM_NODES] + node]


@kernel
def lock_admits(A, link, packet):
    """Whether the lock of a link lets a packet pass.

    It may be nothing to what is no message's data.
    """
    if A[at.LOCKS_STOP_ALL] == 0 and A[packet + at.P_KIND] != at.MESSAGE:
        return True
    owner = A[link + at.L_OWNER]
    return owner == at.NIL or owner == A[packet + at.P_TASK]


@kernel
def pass_data(A, link, packet):
    """A packet of a message is granted: the first takes the lock, the last will release it."""
    if A[link + at.L_OWNER] == at.NIL:
        _take(A, link, A[packet + at.P_TASK])
    A[link + at.L_LEFT] -= A[packet + at.P_PAYLOAD]
    if A[link + at.L_LEFT] == 0:
        A[link + at.L_UNLOCK] = 1


@kernel
def _take(A, link, send):
    A[link + at.L_OWNER] = send
    A[link + at.L_LEFT] = A[send + at.T_BYTES]


@kernel
def release(A, link):
    A[link + at.L_OWNER] = at.NIL
    A[at.UNLOCKED] = 1
    touch_link(A, link)


@kernel
def lock_ways(A, send):
    """Locks all links of a message's data and of its acknowledge; 0, and none, if one is locked."""
    sender, receiver = A[send + at.T_CORE], A[A[send + at.T_MATCH] + at.T_CORE]
    data, ack = _data_link(A, send), A[A[receiver + at.C_ACKS] + at.F_OUT_LINK]
    if not _is_free(A, ack, A[sender + at.C_NODE]):
        return 0
    if not _is_free(A, data, A[receiver + at.C_NODE]):
        return 0
    _take_way(A, ack, A[sender + at.C_NODE], send)
    _take_way(A, data, A[receiver + at.C_NODE], send)
    return 1


@kernel
def unlock_ack_way(A, send):
    """Releases what is still locked of the acknowledge's way: the message's data is there."""
    node = A[A[send + at.T_CORE] + at.C_NODE]
    receiver = A[A[send + at.T_MATCH] + at.T_CORE]
    link = A[A[receiver + at.C_ACKS] + at.F_OUT_LINK]
    while link != at.NIL:
        if A[link + at.L_OWNER] == send:
            release(A, link)
        link = _ahead(A, link, node)


@kernel
def _data_link(A, send):
    """Injection link of a message's data."""
    engine = A[A[send + at.T_QUEUE] + at.Q_ENGINE]
    place = at.C_SOURCES + RESPONSE_NETWORK * at.MAX_ENGINES + engine
    return A[A[A[send + at.T_CORE] + place] + at.F_OUT_LINK]


@kernel
def _ahead(A, link, node):
    """The link after `link` on the way to a node; NIL after the last."""
    if A[link + at.L_ROUTER] == at.NIL:
        return at.NIL
    return link_towards(A, RESPONSE_NETWORK, A[link + at.L_ROUTER], node)


@kernel
def _is_free(A, link, node):
    while link != at.NIL:
        if A[link + at.L_OWNER] != at.NIL:
            return False
        link = _ahead(A, link, node)
    return True


@kernel
def _take_way(A, link, node, send):
    while link != at.NIL:
        _take(A, link, send)
        link = _ahead(A, link, node)
