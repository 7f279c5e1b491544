"""Tasks: what becomes ready, what ends because of it (phase A), and acknowledges (phase D)."""

from npusim.engine.kernel import kernel
from npusim.engine.layout import (
    ACK,
    C_ACKS,
    C_NODE,
    CHAIN,
    HEADER,
    N_ACKS,
    N_QUEUES,
    NIL,
    NOW,
    P_NODE,
    Q_TOUCHED,
    SUCCESSORS,
    T_ASKED,
    T_CHAIN,
    T_CORE,
    T_END,
    T_KIND,
    T_LEFT,
    T_MATCH,
    T_POSTED,
    T_QUEUE,
    T_READY,
    T_START,
    T_SUCCESSORS,
    T_SUCCESSORS_END,
    T_WAITS,
    TASKS_LEFT,
    W_ACKS,
    W_QUEUES,
)
from npusim.engine.network import enter_fifo, new_packet
from npusim.engine.tables import RECV, SYNC


@kernel
def touch_queue(A, queue):
    if A[queue + Q_TOUCHED] == 0:
        A[queue + Q_TOUCHED] = 1
        A[A[W_QUEUES] + A[N_QUEUES]] = queue
        A[N_QUEUES] += 1


@kernel
def chain(A, task):
    """Puts a task that has ended on the list whose successors are still to be told."""
    A[task + T_CHAIN] = A[CHAIN]
    A[CHAIN] = task


@kernel
def became_ready(A, task):
    """The last dependency has ended: a SYNC ends, a RECV is posted, others wake their queue."""
    A[task + T_READY] = A[NOW]
    kind = A[task + T_KIND]
    if kind == SYNC:
        A[task + T_START] = A[NOW]
        chain(A, task)
    elif kind == RECV:
        A[task + T_POSTED] = 1
        if A[task + T_ASKED] == 1:
            add_ack(A, A[task + T_MATCH])
        if A[task + T_LEFT] == 0:
            chain(A, task)
    else:
        touch_queue(A, A[task + T_QUEUE])


@kernel
def drain_chain(A):
    """Ends the chained tasks and whatever ends because of them."""
    while A[CHAIN] != NIL:
        task = A[CHAIN]
        A[CHAIN] = A[task + T_CHAIN]
        A[task + T_END] = A[NOW]
        A[TASKS_LEFT] -= 1
        for i in range(A[task + T_SUCCESSORS], A[task + T_SUCCESSORS_END]):
            successor = A[A[SUCCESSORS] + i]
            A[successor + T_WAITS] -= 1
            if A[successor + T_WAITS] == 0:
                became_ready(A, successor)


@kernel
def bytes_done(A, task, num_bytes):
    """Counts bytes of a transfer that are done; the last ones end it (a RECV only when posted)."""
    A[task + T_LEFT] -= num_bytes
    if A[task + T_LEFT] == 0 and (A[task + T_KIND] != RECV or A[task + T_POSTED] == 1):
        chain(A, task)


@kernel
def add_ack(A, send):
    """Notes an acknowledge for phase D, in order of the SENDs."""
    i = A[W_ACKS] + A[N_ACKS]
    while i > A[W_ACKS] and A[i - 1] > send:
        A[i] = A[i - 1]
        i -= 1
    A[i] = send
    A[N_ACKS] += 1


@kernel
def send_acks(A):
    """Phase D."""
    for i in range(A[N_ACKS]):
        send = A[A[W_ACKS] + i]
        packet = new_packet(A, ACK, send, 0, 0, A[HEADER])
        A[packet + P_NODE] = A[A[send + T_CORE] + C_NODE]
        receiver = A[A[send + T_MATCH] + T_CORE]
        enter_fifo(A, A[receiver + C_ACKS], packet)
    A[N_ACKS] = 0
