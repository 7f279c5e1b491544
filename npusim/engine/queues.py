"""Queues: the units of a core start their tasks; DMA engines cut transfers into units (phase B)."""

from npusim.engine.kernel import kernel
from npusim.engine.layout import (
    ASK,
    C_BYTES,
    C_DEN,
    C_NODE,
    C_NUM,
    C_STRETCH,
    COMPUTE_OVER,
    DMA_TIMER,
    HANDSHAKE,
    HEADER,
    K_NODE,
    K_SIZE,
    LOAD_REQUEST,
    M_FIRST_CHANNEL,
    M_INTERLEAVE,
    M_NUM_CHANNELS,
    MAX_PACKET,
    MESSAGE,
    MIN_PACKET,
    NIL,
    NOW,
    P_ADDRESS,
    P_CHANNEL,
    P_CORE,
    P_ENGINE,
    P_NODE,
    P_QUEUE,
    P_SINCE,
    PACKETS_PER_MESSAGE,
    Q_ANSWERED,
    Q_ASKED,
    Q_BUSY,
    Q_CORE,
    Q_END,
    Q_ENGINE,
    Q_INDEX,
    Q_ISSUE_TICKS,
    Q_LIMIT,
    Q_NEXT_ISSUE,
    Q_OFFSET,
    Q_PACKET,
    Q_POS,
    Q_SEEN,
    Q_START,
    Q_TASK,
    Q_TIMER,
    Q_UNDER_WAY,
    Q_UNIT_BYTES,
    STORE_DATA,
    T_ADDRESS,
    T_BYTES,
    T_CORE,
    T_KIND,
    T_MATCH,
    T_MEMORY,
    T_ROW_BYTES,
    T_START,
    T_STRIDE,
    T_TICKS,
    T_WAITS,
)
from npusim.engine.network import enter_fifo, new_packet
from npusim.engine.ports import ask_port, source_fifo, to_memory
from npusim.engine.tables import LOAD, SEND
from npusim.engine.tasks import chain, touch_queue
from npusim.engine.wheel import ceil_div, schedule


@kernel
def run_queue(A, queue):
    """Phase B for one queue: starts its next task, or issues its next unit."""
    if A[queue + Q_ENGINE] != NIL:
        _run_dma(A, queue)
    elif A[queue + Q_BUSY] == 0 and _next_is_ready(A, queue):
        _start_compute(A, queue)


@kernel
def _next_is_ready(A, queue):
    position = A[queue + Q_POS]
    return position < A[queue + Q_END] and A[A[position] + T_WAITS] == 0


@kernel
def _take_next(A, queue):
    task = A[A[queue + Q_POS]]
    A[queue + Q_POS] += 1
    A[queue + Q_TASK] = task
    return task


@kernel
def _start_compute(A, queue):
    task, now = _take_next(A, queue), A[NOW]
    A[queue + Q_BUSY] = 1
    A[queue + Q_START] = now
    A[queue + Q_SEEN] = A[A[queue + Q_CORE] + C_BYTES]
    A[task + T_START] = now
    schedule(A, queue, COMPUTE_OVER, now + max(1, A[task + T_TICKS]))


@kernel
def compute_over(A, queue):
    """Phase A: a COMPUTE would end; it goes on while the scratchpad port owes it time."""
    task, core, now = A[queue + Q_TASK], A[queue + Q_CORE], A[NOW]
    moved = A[task + T_BYTES] + A[core + C_BYTES] - A[queue + Q_SEEN]
    needed = A[queue + Q_START] + ceil_div(moved * A[core + C_NUM], A[core + C_DEN])
    if needed > now:
        schedule(A, queue, COMPUTE_OVER, needed)
        return
    A[core + C_STRETCH] += now - A[queue + Q_START] - max(1, A[task + T_TICKS])
    A[queue + Q_BUSY] = 0
    chain(A, task)
    touch_queue(A, queue)


@kernel
def timer_over(A, queue):
    """Phase A: the queue may issue again."""
    A[queue + Q_TIMER] = 0
    touch_queue(A, queue)


@kernel
def _run_dma(A, queue):
    if A[queue + Q_TASK] == NIL:
        if not _next_is_ready(A, queue):
            return
        _open_transfer(A, queue)
    task = A[queue + Q_TASK]
    is_send = A[task + T_KIND] == SEND
    handshake = is_send and A[HANDSHAKE] == 1
    if handshake and A[queue + Q_ASKED] == 1 and A[queue + Q_ANSWERED] == 0:
        return
    if A[queue + Q_UNDER_WAY] >= A[queue + Q_LIMIT]:
        return
    if A[NOW] < A[queue + Q_NEXT_ISSUE]:
        _set_timer(A, queue)
        return
    if handshake and A[queue + Q_ASKED] == 0:
        _ask(A, queue, task)
    else:
        _issue(A, queue, task, is_send)


@kernel
def _issue(A, queue, task, is_send):
    """One unit; then a timer for the next when there is one."""
    if A[task + T_START] == NIL:
        A[task + T_START] = A[NOW]
    if is_send:
        _issue_packet(A, queue, task)
    else:
        _issue_unit(A, queue, task)
    A[queue + Q_NEXT_ISSUE] = A[NOW] + A[queue + Q_ISSUE_TICKS]
    A[queue + Q_UNDER_WAY] += 1
    A[queue + Q_INDEX] += 1
    if A[queue + Q_OFFSET] == A[task + T_BYTES]:
        A[queue + Q_TASK] = NIL
    more = A[queue + Q_TASK] != NIL or _next_is_ready(A, queue)
    if more and A[queue + Q_UNDER_WAY] < A[queue + Q_LIMIT]:
        _set_timer(A, queue)


@kernel
def _set_timer(A, queue):
    if A[queue + Q_TIMER] == 0:
        A[queue + Q_TIMER] = 1
        schedule(A, queue, DMA_TIMER, A[queue + Q_NEXT_ISSUE])


@kernel
def _open_transfer(A, queue):
    task = _take_next(A, queue)
    A[queue + Q_OFFSET] = 0
    A[queue + Q_INDEX] = 0
    A[queue + Q_ASKED] = 0
    A[queue + Q_ANSWERED] = 0
    if A[task + T_KIND] == SEND:
        share = ceil_div(A[task + T_BYTES], A[PACKETS_PER_MESSAGE])
        A[queue + Q_PACKET] = min(max(share, A[MIN_PACKET]), A[MAX_PACKET])


@kernel
def _receiver_node(A, send):
    return A[A[A[send + T_MATCH] + T_CORE] + C_NODE]


@kernel
def _ask(A, queue, task):
    """A handshake's request: issued like a unit, but not under way."""
    A[queue + Q_ASKED] = 1
    A[queue + Q_NEXT_ISSUE] = A[NOW] + A[queue + Q_ISSUE_TICKS]
    A[task + T_START] = A[NOW]
    packet = new_packet(A, ASK, task, 0, 0, A[HEADER])
    A[packet + P_NODE] = _receiver_node(A, task)
    enter_fifo(A, source_fifo(A, A[queue + Q_CORE], 0, A[queue + Q_ENGINE]), packet)


@kernel
def _new_unit(A, queue, task, kind, payload, wire):
    packet = new_packet(A, kind, task, A[queue + Q_INDEX], payload, wire)
    A[packet + P_QUEUE] = queue
    A[packet + P_CORE] = A[queue + Q_CORE]
    A[packet + P_ENGINE] = A[queue + Q_ENGINE]
    A[queue + Q_OFFSET] += payload
    return packet


@kernel
def _issue_packet(A, queue, task):
    payload = min(A[queue + Q_PACKET], A[task + T_BYTES] - A[queue + Q_OFFSET])
    packet = _new_unit(A, queue, task, MESSAGE, payload, payload + A[HEADER])
    A[packet + P_NODE] = _receiver_node(A, task)
    ask_port(A, packet)


@kernel
def _issue_unit(A, queue, task):
    """Cuts the next unit off a LOAD or STORE and sends it on its way."""
    offset, row_bytes = A[queue + Q_OFFSET], A[task + T_ROW_BYTES]
    room, address = A[task + T_BYTES] - offset, A[task + T_ADDRESS] + offset
    if row_bytes > 0:
        row = offset // row_bytes
        address += row * (A[task + T_STRIDE] - row_bytes)
        room = min(room, (row + 1) * row_bytes - offset)
    memory, unit_bytes = A[task + T_MEMORY], A[queue + Q_UNIT_BYTES]
    interleave, count = A[memory + M_INTERLEAVE], A[memory + M_NUM_CHANNELS]
    stripe = address // interleave
    inside = address - stripe * interleave
    payload = min(room, unit_bytes - address % unit_bytes, interleave - inside)
    channel = A[memory + M_FIRST_CHANNEL] + stripe % count * K_SIZE
    if A[task + T_KIND] == LOAD:
        packet = _new_unit(A, queue, task, LOAD_REQUEST, payload, A[HEADER])
        _address(A, packet, channel, stripe // count * interleave + inside)
        to_memory(A, packet)
    else:
        packet = _new_unit(A, queue, task, STORE_DATA, payload, payload + A[HEADER])
        _address(A, packet, channel, stripe // count * interleave + inside)
        ask_port(A, packet)


@kernel
def _address(A, packet, channel, address):
    A[packet + P_CHANNEL] = channel
    A[packet + P_ADDRESS] = address
    A[packet + P_SINCE] = A[NOW]
    A[packet + P_NODE] = A[channel + K_NODE]
