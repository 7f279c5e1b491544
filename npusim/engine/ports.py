"""Scratchpad ports and the way of a unit from issue to its end (phase C, events of packets)."""

from npusim.engine.dram import join_queue
from npusim.engine.kernel import kernel
from npusim.engine.layout import (
    ASK,
    AT_CHANNEL,
    AT_NODE,
    AT_ROUTER,
    C_BUSY_TICKS,
    C_BYTES,
    C_DEN,
    C_FIRST,
    C_FREE,
    C_NODE,
    C_NUM,
    C_SIZE,
    C_SOURCES,
    C_TOUCHED,
    CORES,
    DATA_READY,
    HEADER,
    K_NODE,
    K_REQUEST_TICKS,
    K_SOURCE,
    K_SUM_RESPONSE,
    LOAD_DATA,
    LOAD_REQUEST,
    LOCK_ACK,
    MAX_ENGINES,
    MESSAGE,
    N_PORTS,
    NIL,
    NOW,
    P_CHANNEL,
    P_CORE,
    P_ENGINE,
    P_FIFO,
    P_KEY,
    P_KIND,
    P_NEXT,
    P_NODE,
    P_PAYLOAD,
    P_QUEUE,
    P_SINCE,
    P_TASK,
    P_WIRE,
    PORT_DONE,
    Q_ANSWERED,
    Q_UNDER_WAY,
    STORE_ACK,
    STORE_DATA,
    T_ASKED,
    T_CORE,
    T_LEFT,
    T_MATCH,
    T_POSTED,
    T_QUEUE,
    W_PORTS,
)
from npusim.engine.network import enter_fifo, free_packet, give_back_eject, unlock_ack_path
from npusim.engine.tasks import add_ack, bytes_done, touch_queue
from npusim.engine.wheel import ceil_div, schedule


@kernel
def source_fifo(A, core, network, engine):
    return A[core + C_SOURCES + network * MAX_ENGINES + engine]


@kernel
def to_memory(A, packet):
    """A LOAD's request or a STORE's data leaves the core: straight to the channel, or by the NoC."""
    if A[packet + P_NODE] == NIL:
        ticks = A[A[packet + P_CHANNEL] + K_REQUEST_TICKS]
        schedule(A, packet, AT_CHANNEL, A[NOW] + ticks)
    else:
        enter_fifo(A, source_fifo(A, A[packet + P_CORE], 0, A[packet + P_ENGINE]), packet)


@kernel
def ask_port(A, packet):
    """A unit wants its core's port in this tick; those that do are kept in order of key."""
    core, key = A[packet + P_CORE], A[packet + P_KEY]
    before, after = NIL, A[core + C_FIRST]
    while after != NIL and A[after + P_KEY] < key:
        before, after = after, A[after + P_NEXT]
    A[packet + P_NEXT] = after
    if before == NIL:
        A[core + C_FIRST] = packet
    else:
        A[before + P_NEXT] = packet
    if A[core + C_TOUCHED] == 0:
        A[core + C_TOUCHED] = 1
        A[A[W_PORTS] + A[N_PORTS]] = core
        A[N_PORTS] += 1


@kernel
def run_port(A, core):
    """Phase C for one core: books the port for all that asked in this tick."""
    packet = A[core + C_FIRST]
    A[core + C_FIRST] = NIL
    while packet != NIL:
        following, payload = A[packet + P_NEXT], A[packet + P_PAYLOAD]
        service = max(1, ceil_div(payload * A[core + C_NUM], A[core + C_DEN]))
        A[core + C_FREE] = max(A[NOW], A[core + C_FREE]) + service
        A[core + C_BYTES] += payload
        A[core + C_BUSY_TICKS] += service
        schedule(A, packet, PORT_DONE, A[core + C_FREE])
        packet = following


@kernel
def packet_event(A, packet, event):
    """Phase A for a packet."""
    if event == AT_ROUTER:
        enter_fifo(A, A[packet + P_FIFO], packet)
    elif event == PORT_DONE:
        _port_done(A, packet)
    elif event == AT_CHANNEL:
        join_queue(A, packet)
    elif event == DATA_READY:
        _data_ready(A, packet)
    elif event == AT_NODE:
        _at_node(A, packet)


@kernel
def _at_node(A, packet):
    """A packet has come out of the NoC, whole."""
    kind = A[packet + P_KIND]
    if kind == MESSAGE:
        A[packet + P_CORE] = A[CORES] + A[packet + P_NODE] * C_SIZE
        A[packet + P_ENGINE] = NIL  # from here on it is to be written, not read
        ask_port(A, packet)
    elif kind == LOAD_DATA:
        ask_port(A, packet)
    elif kind == LOAD_REQUEST or kind == STORE_DATA:
        ticks = A[A[packet + P_CHANNEL] + K_REQUEST_TICKS]
        schedule(A, packet, AT_CHANNEL, A[NOW] + ticks)
    else:
        give_back_eject(A, packet)
        if kind == STORE_ACK:
            _unit_done(A, packet)
        else:
            _handshake(A, packet, kind)


@kernel
def _handshake(A, packet, kind):
    """A request has reached the receiver (ASK), or its answer the sender (ACK)."""
    send = A[packet + P_TASK]
    if kind == ASK:
        recv = A[send + T_MATCH]
        A[recv + T_ASKED] = 1
        if A[recv + T_POSTED] == 1:
            add_ack(A, send)
    else:
        A[A[send + T_QUEUE] + Q_ANSWERED] = 1
        touch_queue(A, A[send + T_QUEUE])
    free_packet(A, packet)


@kernel
def _data_ready(A, packet):
    """The channel has read or written the unit."""
    A[packet + P_SINCE] = A[NOW]
    is_store = A[packet + P_KIND] == STORE_DATA
    A[packet + P_KIND] = STORE_ACK if is_store else LOAD_DATA
    if A[packet + P_NODE] != NIL:
        A[packet + P_WIRE] = A[HEADER] + (0 if is_store else A[packet + P_PAYLOAD])
        A[packet + P_NODE] = A[A[packet + P_CORE] + C_NODE]
        enter_fifo(A, A[A[packet + P_CHANNEL] + K_SOURCE], packet)
    elif is_store:
        _unit_done(A, packet)
    else:
        ask_port(A, packet)


@kernel
def _port_done(A, packet):
    """The scratchpad port has read (STORE, SEND) or written (LOAD, RECV) the unit."""
    kind = A[packet + P_KIND]
    if kind == STORE_DATA:
        to_memory(A, packet)
    elif kind == LOAD_DATA:
        if A[A[packet + P_CHANNEL] + K_NODE] != NIL:
            give_back_eject(A, packet)
        _unit_done(A, packet)
    elif A[packet + P_ENGINE] == NIL:
        _message_written(A, packet)
    else:
        enter_fifo(A, source_fifo(A, A[packet + P_CORE], 1, A[packet + P_ENGINE]), packet)


@kernel
def _message_written(A, packet):
    give_back_eject(A, packet)
    send = A[packet + P_TASK]
    recv = A[send + T_MATCH]
    bytes_done(A, recv, A[packet + P_PAYLOAD])
    if A[LOCK_ACK] == 1 and A[recv + T_LEFT] == 0:
        unlock_ack_path(A, A[send + T_CORE], packet)
    free_packet(A, packet)


@kernel
def _unit_done(A, packet):
    """A LOAD's or STORE's unit has ended."""
    A[A[packet + P_CHANNEL] + K_SUM_RESPONSE] += A[NOW] - A[packet + P_SINCE]
    no_longer_under_way(A, packet)
    free_packet(A, packet)


@kernel
def no_longer_under_way(A, packet):
    """Its queue may issue another; its bytes count as done. (A SEND's: its tail has left.)"""
    queue = A[packet + P_QUEUE]
    A[queue + Q_UNDER_WAY] -= 1
    touch_queue(A, queue)
    bytes_done(A, A[packet + P_TASK], A[packet + P_PAYLOAD])
