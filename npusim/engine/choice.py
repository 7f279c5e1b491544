"""Wishes at a link → the FIFO it grants and the one downstream (rules of phase E)."""

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
from npusim.engine.locks import lock_admits

NEVER = 1 << 62
LONGEST_WAIT = (1 << 36) - 1  # ticks, a minute; all that wait longer rank alike


@kernel
def _rank(A, link, fifo):
    """Order of the wishes: round robin by FIFO, or the longest waiting first."""
    if A[at.FIFO_ARBITRATION] == 1:
        waited = min(A[at.NOW] - A[A[fifo + at.F_FIRST] + at.P_TICK], LONGEST_WAIT)
        return ((LONGEST_WAIT - waited) << 26) | fifo
    return fifo if fifo > A[link + at.L_LAST] else fifo + (1 << 40)


@kernel
def _roomiest(A, link, count):
    """Of the first downstream FIFOs the one with most room, the lowest on a tie; NIL: all full."""
    best, most = at.NIL, 0
    fifo = A[link + at.L_FIFOS]
    for _ in range(count):
        if A[fifo + at.F_FREE] > most:
            best, most = fifo, A[fifo + at.F_FREE]
        fifo += at.F_SIZE
    return best


@kernel
def ejection_is_full(A, link):
    """Whether a link ends at a core that has no ejection slot left."""
    if A[link + at.L_ROUTER] != at.NIL or A[link + at.L_NODE] >= A[at.NUM_CORES]:
        return False
    return A[link + at.L_EJECT_FREE] == 0


@kernel
def choose(A, link):
    """FIFO whose wish a link grants and the one its packet goes to, NIL if to none."""
    down = at.NIL
    if A[link + at.L_ROUTER] != at.NIL:
        down = _roomiest(A, link, A[at.NUM_VCS])
        if down == at.NIL:
            return at.NIL, at.NIL
    last_slot = A[at.RINGS] == 1 and A[link + at.L_RING] != at.NIL and _free_slots(A, link) == 1
    best, best_rank = at.NIL, NEVER
    fifo = A[link + at.L_WISHES]
    while fifo != at.NIL:
        if not last_slot or _comes_round(A, link, fifo):
            rank = _rank(A, link, fifo)
            if rank < best_rank:
                best, best_rank = fifo, rank
        fifo = A[fifo + at.F_NEXT_WISH]
    return best, down


@kernel
def _free_slots(A, link):
    """Free slots of all FIFOs downstream."""
    free, fifo = 0, A[link + at.L_FIFOS]
    for _ in range(A[at.NUM_VCS]):
        free += A[fifo + at.F_FREE]
        fifo += at.F_SIZE
    return free


@kernel
def _comes_round(A, link, fifo):
    """Whether a FIFO's packets come from the ring that the link is part of."""
    up = A[fifo + at.F_UP_LINK]
    return up != at.NIL and A[up + at.L_RING] == A[link + at.L_RING]


@kernel
def choose_locked(A, link):
    """The same with channel locking: packets that a lock or full FIFOs keep out are passed over."""
    down, message_down = _downstream(A, link)
    is_end = A[link + at.L_ROUTER] == at.NIL
    best, best_rank = at.NIL, NEVER
    fifo = A[link + at.L_WISHES]
    while fifo != at.NIL:
        packet = A[fifo + at.F_FIRST]
        slot = message_down if A[packet + at.P_KIND] == at.MESSAGE else down
        if (is_end or slot != at.NIL) and lock_admits(A, link, packet):
            rank = _rank(A, link, fifo)
            if rank < best_rank:
                best, best_rank = fifo, rank
        fifo = A[fifo + at.F_NEXT_WISH]
    if best != at.NIL and A[A[best + at.F_FIRST] + at.P_KIND] == at.MESSAGE:
        return best, message_down
    return best, down


@kernel
def _downstream(A, link):
    """Downstream FIFOs that are not full: for others, and for data of messages."""
    if A[link + at.L_ROUTER] == at.NIL:
        return at.NIL, at.NIL
    if A[at.SPLIT_VCS] == 0:
        down = _roomiest(A, link, A[at.NUM_VCS])
        return down, down
    last = A[link + at.L_FIFOS] + (A[at.NUM_VCS] - 1) * at.F_SIZE
    down = _roomiest(A, link, A[at.NUM_VCS] - 1)
    return down, (last if A[last + at.F_FREE] > 0 else at.NIL)
