"""Queues: the units of a core start their tasks; DMA engines cut transfers into units (phase B)."""

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
from npusim.engine.network import enter_fifo, new_packet
from npusim.engine.ports import ask_port, source_fifo, to_memory
from npusim.engine.tables import LOAD, SEND
from npusim.engine.tasks import chain, touch_queue
from npusim.engine.wheel import ceil_div, schedule


@kernel
def run_queue(A, queue):
    """Phase B for one queue: starts its next task, or issues its next unit."""
    if A[queue + at.Q_ENGINE] != at.NIL:
        _run_dma(A, queue)
    elif A[queue + at.Q_BUSY] == 0 and _next_is_ready(A, queue):
        _start_compute(A, queue)


@kernel
def _next_is_ready(A, queue):
    task = A[queue + at.Q_NEXT]
    return task != at.NIL and A[task + at.T_WAITS] == 0


@kernel
def _take_next(A, queue):
    task = A[queue + at.Q_NEXT]
    A[queue + at.Q_NEXT] = A[task + at.T_NEXT]
    A[queue + at.Q_TASK] = task
    return task


@kernel
def _start_compute(A, queue):
    task, now = _take_next(A, queue), A[at.NOW]
    A[queue + at.Q_BUSY] = 1
    A[queue + at.Q_START] = now
    A[queue + at.Q_SEEN] = A[A[queue + at.Q_CORE] + at.C_BYTES]
    A[task + at.T_START] = now
    schedule(A, queue, at.COMPUTE_OVER, now + max(1, A[task + at.T_TICKS]))


@kernel
def compute_over(A, queue):
    """Phase A: a COMPUTE would end; it goes on while the scratchpad port owes it time."""
    task, core, now = A[queue + at.Q_TASK], A[queue + at.Q_CORE], A[at.NOW]
    moved = A[task + at.T_BYTES]
    if moved > 0:
        moved += A[core + at.C_BYTES] - A[queue + at.Q_SEEN]
    needed = A[queue + at.Q_START] + ceil_div(moved * A[core + at.C_NUM], A[core + at.C_DEN])
    if needed > now:
        schedule(A, queue, at.COMPUTE_OVER, needed)
        return
    A[core + at.C_STRETCH] += now - A[queue + at.Q_START] - max(1, A[task + at.T_TICKS])
    A[queue + at.Q_BUSY] = 0
    chain(A, task)
    touch_queue(A, queue)


@kernel
def timer_over(A, queue):
    """Phase A: the queue may issue again."""
    A[queue + at.Q_TIMER] = 0
    touch_queue(A, queue)


@kernel
def _run_dma(A, queue):
    if A[queue + at.Q_TASK] == at.NIL:
        if not _next_is_ready(A, queue):
            return
        _open_transfer(A, queue)
    task = A[queue + at.Q_TASK]
    is_send = A[task + at.T_KIND] == SEND
    handshake = is_send and A[at.HANDSHAKE] == 1
    if handshake and A[queue + at.Q_ASKED] == 1 and A[queue + at.Q_ANSWERED] == 0:
        return
    if A[queue + at.Q_UNDER_WAY] >= A[queue + at.Q_LIMIT]:
        return
    if A[at.NOW] < A[queue + at.Q_NEXT_ISSUE]:
        _set_timer(A, queue)
        return
    if handshake and A[queue + at.Q_ASKED] == 0:
        _ask(A, queue, task)
    else:
        _issue(A, queue, task, is_send)


@kernel
def _issue(A, queue, task, is_send):
    """One unit; then a timer for the next when there is one."""
    if A[task + at.T_START] == at.NIL:
        A[task + at.T_START] = A[at.NOW]
    if is_send:
        _issue_packet(A, queue, task)
    else:
        _issue_unit(A, queue, task)
    A[queue + at.Q_NEXT_ISSUE] = A[at.NOW] + A[queue + at.Q_ISSUE_TICKS]
    A[queue + at.Q_UNDER_WAY] += 1
    A[queue + at.Q_INDEX] += 1
    if A[queue + at.Q_OFFSET] == A[task + at.T_BYTES]:
        A[queue + at.Q_TASK] = at.NIL
    more = A[queue + at.Q_TASK] != at.NIL or _next_is_ready(A, queue)
    if more and A[queue + at.Q_UNDER_WAY] < A[queue + at.Q_LIMIT]:
        _set_timer(A, queue)


@kernel
def _set_timer(A, queue):
    if A[queue + at.Q_TIMER] == 0:
        A[queue + at.Q_TIMER] = 1
        schedule(A, queue, at.DMA_TIMER, A[queue + at.Q_NEXT_ISSUE])


@kernel
def _open_transfer(A, queue):
    task = _take_next(A, queue)
    A[queue + at.Q_OFFSET] = 0
    A[queue + at.Q_INDEX] = 0
    A[queue + at.Q_ASKED] = 0
    A[queue + at.Q_ANSWERED] = 0
    if A[task + at.T_KIND] == SEND:
        share = ceil_div(A[task + at.T_BYTES], A[at.PACKETS_PER_MESSAGE])
        A[queue + at.Q_PACKET] = min(max(share, A[at.MIN_PACKET]), A[at.MAX_PACKET])


@kernel
def _receiver_node(A, send):
    return A[A[A[send + at.T_MATCH] + at.T_CORE] + at.C_NODE]


@kernel
def _ask(A, queue, task):
    """A handshake's request: issued like a unit, but not under way."""
    A[queue + at.Q_ASKED] = 1
    A[queue + at.Q_NEXT_ISSUE] = A[at.NOW] + A[queue + at.Q_ISSUE_TICKS]
    A[task + at.T_START] = A[at.NOW]
    packet = new_packet(A, at.ASK, task, 0, 0, A[at.HEADER])
    A[packet + at.P_NODE] = _receiver_node(A, task)
    enter_fifo(A, source_fifo(A, A[queue + at.Q_CORE], 0, A[queue + at.Q_ENGINE]), packet)


@kernel
def _new_unit(A, queue, task, kind, payload, wire):
    packet = new_packet(A, kind, task, A[queue + at.Q_INDEX], payload, wire)
    A[packet + at.P_QUEUE] = queue
    A[packet + at.P_CORE] = A[queue + at.Q_CORE]
    A[packet + at.P_ENGINE] = A[queue + at.Q_ENGINE]
    A[queue + at.Q_OFFSET] += payload
    return packet


@kernel
def _issue_packet(A, queue, task):
    payload = min(A[queue + at.Q_PACKET], A[task + at.T_BYTES] - A[queue + at.Q_OFFSET])
    packet = _new_unit(A, queue, task, at.MESSAGE, payload, payload + A[at.HEADER])
    A[packet + at.P_NODE] = _receiver_node(A, task)
    ask_port(A, packet)


@kernel
def _issue_unit(A, queue, task):
    """Cuts the next unit off a LOAD or STORE and sends it on its way."""
    offset, row_bytes = A[queue + at.Q_OFFSET], A[task + at.T_ROW_BYTES]
    room, address = A[task + at.T_BYTES] - offset, A[task + at.T_ADDRESS] + offset
    if row_bytes > 0:
        row = offset // row_bytes
        address += row * (A[task + at.T_STRIDE] - row_bytes)
        room = min(room, (row + 1) * row_bytes - offset)
    memory, unit_bytes = A[task + at.T_MEMORY], A[queue + at.Q_UNIT_BYTES]
    interleave, count = A[memory + at.M_INTERLEAVE], A[memory + at.M_NUM_CHANNELS]
    stripe = address // interleave
    inside = address - stripe * interleave
    payload = min(room, unit_bytes - address % unit_bytes, interleave - inside)
    channel = A[memory + at.M_FIRST_CHANNEL] + stripe % count * at.K_SIZE
    if A[task + at.T_KIND] == LOAD:
        packet = _new_unit(A, queue, task, at.LOAD_REQUEST, payload, A[at.HEADER])
        _address(A, packet, channel, stripe // count * interleave + inside)
        to_memory(A, packet)
    else:
        packet = _new_unit(A, queue, task, at.STORE_DATA, payload, payload + A[at.HEADER])
        _address(A, packet, channel, stripe // count * interleave + inside)
        ask_port(A, packet)


@kernel
def _address(A, packet, channel, address):
    A[packet + at.P_CHANNEL] = channel
    A[packet + at.P_ADDRESS] = address
    A[packet + at.P_SINCE] = A[at.NOW]
    A[packet + at.P_NODE] = A[channel + at.K_NODE]
