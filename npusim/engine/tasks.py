"""Tasks: what becomes ready, what ends because of it (phase A), and acknowledges (phase D)."""

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
from npusim.engine.locks import lock_ways
from npusim.engine.network import enter_fifo, new_packet
from npusim.engine.tables import RECV, SYNC


@kernel
def touch_queue(A, queue):
    if A[queue + at.Q_TOUCHED] == 0:
        A[queue + at.Q_TOUCHED] = 1
        A[A[at.W_QUEUES] + A[at.N_QUEUES]] = queue
        A[at.N_QUEUES] += 1


@kernel
def chain(A, task):
    """Puts a task that has ended on the list whose successors are still to be told."""
    A[task + at.T_NEXT] = A[at.CHAIN]
    A[at.CHAIN] = task


@kernel
def became_ready(A, task):
    """The last dependency has ended: a SYNC ends, a RECV is posted, others wake their queue."""
    A[task + at.T_READY] = A[at.NOW]
    kind = A[task + at.T_KIND]
    if kind == SYNC:
        A[task + at.T_START] = A[at.NOW]
        chain(A, task)
    elif kind == RECV:
        A[task + at.T_POSTED] = 1
        if A[task + at.T_ASKED] == 1:
            add_ack(A, A[task + at.T_MATCH])
        if A[task + at.T_LEFT] == 0:
            chain(A, task)
    else:
        touch_queue(A, A[task + at.T_QUEUE])


@kernel
def begin_stream(A, stream):
    """Phase A: tasks without dependencies become ready."""
    task, end = A[stream + at.J_TASKS], A[stream + at.J_TASKS_END]
    while task < end:
        if A[task + at.T_WAITS] == 0:
            became_ready(A, task)
        task += at.T_SIZE


@kernel
def drain_chain(A):
    """Ends the chained tasks and whatever ends because of them."""
    while A[at.CHAIN] != at.NIL:
        task = A[at.CHAIN]
        A[at.CHAIN] = A[task + at.T_NEXT]
        A[task + at.T_END] = A[at.NOW]
        _leave_group(A, A[task + at.T_GROUP])
        for i in range(A[task + at.T_SUCCESSORS], A[task + at.T_SUCCESSORS_END]):
            successor = A[i]
            A[successor + at.T_WAITS] -= 1
            if A[successor + at.T_WAITS] == 0:
                became_ready(A, successor)


@kernel
def _leave_group(A, group):
    A[group + at.S_LEFT] -= 1
    if A[group + at.S_LEFT] == 0:
        A[group + at.S_NEXT] = A[at.ENDED]
        A[at.ENDED] = group


@kernel
def bytes_done(A, task, num_bytes):
    """Counts bytes of a transfer that are done; the last ones end it (a RECV only when posted)."""
    A[task + at.T_LEFT] -= num_bytes
    if A[task + at.T_LEFT] == 0 and (A[task + at.T_KIND] != RECV or A[task + at.T_POSTED] == 1):
        chain(A, task)


@kernel
def add_ack(A, send):
    """Notes an acknowledge for phase D: behind those that wait from before, in order of SENDs."""
    i = A[at.W_ACKS] + A[at.N_ACKS]
    while i > A[at.W_ACKS] + A[at.N_OLD_ACKS] and _is_later(A, A[i - 1], send):
        A[i] = A[i - 1]
        i -= 1
    A[i] = send
    A[at.N_ACKS] += 1


@kernel
def _is_later(A, task, other):
    return A[task + at.T_NUMBER] > A[other + at.T_NUMBER]


@kernel
def send_acks(A):
    """Phase D: sends what may go. What must wait for locks stays, and has been tried in vain as
    long as there is nothing new and no lock is released."""
    count = A[at.N_ACKS]
    if count == A[at.N_OLD_ACKS] and A[at.UNLOCKED] == 0:
        return
    kept = 0
    for i in range(count):
        send = A[A[at.W_ACKS] + i]
        if A[at.LOCK_ACK] == 0 or lock_ways(A, send) == 1:
            _send_ack(A, send)
        else:
            A[A[at.W_ACKS] + kept] = send
            kept += 1
    A[at.N_ACKS] = A[at.N_OLD_ACKS] = kept
    A[at.UNLOCKED] = 0


@kernel
def _send_ack(A, send):
    packet = new_packet(A, at.ACK, send, 0, 0, A[at.HEADER])
    A[packet + at.P_NODE] = A[A[send + at.T_CORE] + at.C_NODE]
    receiver = A[A[send + at.T_MATCH] + at.T_CORE]
    enter_fifo(A, A[receiver + at.C_ACKS], packet)
