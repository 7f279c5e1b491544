"""Scratchpad ports and the way of a unit from issue to its end (phase C, events of packets)."""

from npusim.engine import layout as at
from npusim.engine.dram import join_queue
from npusim.engine.kernel import kernel
from npusim.engine.locks import unlock_ack_way
from npusim.engine.network import enter_fifo, free_packet, give_back_eject
from npusim.engine.tasks import add_ack, bytes_done, touch_queue
from npusim.engine.wheel import ceil_div, schedule


@kernel
def source_fifo(A, core, network, engine):
    return A[core + at.C_SOURCES + network * at.MAX_ENGINES + engine]


@kernel
def to_memory(A, packet):
    """A LOAD's request or a STORE's data leaves the core: directly, or through the NoC."""
    if A[packet + at.P_NODE] == at.NIL:
        ticks = A[A[packet + at.P_CHANNEL] + at.K_REQUEST_TICKS]
        schedule(A, packet, at.AT_CHANNEL, A[at.NOW] + ticks)
    else:
        enter_fifo(A, source_fifo(A, A[packet + at.P_CORE], 0, A[packet + at.P_ENGINE]), packet)


@kernel
def ask_port(A, packet):
    """A unit wants its core's port in this tick; those that do are kept in order of key."""
    core, key = A[packet + at.P_CORE], A[packet + at.P_KEY]
    before, after = at.NIL, A[core + at.C_FIRST]
    while after != at.NIL and A[after + at.P_KEY] < key:
        before, after = after, A[after + at.P_NEXT]
    A[packet + at.P_NEXT] = after
    if before == at.NIL:
        A[core + at.C_FIRST] = packet
    else:
        A[before + at.P_NEXT] = packet
    if A[core + at.C_TOUCHED] == 0:
        A[core + at.C_TOUCHED] = 1
        A[A[at.W_PORTS] + A[at.N_PORTS]] = core
        A[at.N_PORTS] += 1


@kernel
def run_port(A, core):
    """Phase C for one core: books the port for all that asked in this tick."""
    packet = A[core + at.C_FIRST]
    A[core + at.C_FIRST] = at.NIL
    while packet != at.NIL:
        following, payload = A[packet + at.P_NEXT], A[packet + at.P_PAYLOAD]
        service = max(1, ceil_div(payload * A[core + at.C_NUM], A[core + at.C_DEN]))
        A[core + at.C_FREE] = max(A[at.NOW], A[core + at.C_FREE]) + service
        A[core + at.C_BYTES] += payload
        A[core + at.C_BUSY_TICKS] += service
        schedule(A, packet, at.PORT_DONE, A[core + at.C_FREE])
        packet = following


@kernel
def packet_event(A, packet, event):
    """Phase A for a packet."""
    if event == at.AT_ROUTER:
        enter_fifo(A, A[packet + at.P_FIFO], packet)
    elif event == at.PORT_DONE:
        _port_done(A, packet)
    elif event == at.AT_CHANNEL:
        join_queue(A, packet)
    elif event == at.DATA_READY:
        _data_ready(A, packet)
    elif event == at.AT_NODE:
        _at_node(A, packet)


@kernel
def _at_node(A, packet):
    """A packet has come out of the NoC, whole."""
    kind = A[packet + at.P_KIND]
    if kind == at.MESSAGE:
        A[packet + at.P_CORE] = A[at.CORES] + A[packet + at.P_NODE] * at.C_SIZE
        A[packet + at.P_ENGINE] = at.NIL  # from here on it is to be written, not read
        ask_port(A, packet)
    elif kind == at.LOAD_DATA:
        ask_port(A, packet)
    elif kind < at.ASK:  # a LOAD_REQUEST or STORE_DATA at a memory port
        ticks = A[A[packet + at.P_CHANNEL] + at.K_REQUEST_TICKS]
        schedule(A, packet, at.AT_CHANNEL, A[at.NOW] + ticks)
    else:
        give_back_eject(A, packet)
        if kind == at.STORE_ACK:
            _unit_done(A, packet)
        else:
            _handshake(A, packet, kind)


@kernel
def _handshake(A, packet, kind):
    """A request has reached the receiver (ASK), or its answer the sender (ACK)."""
    send = A[packet + at.P_TASK]
    if kind == at.ASK:
        recv = A[send + at.T_MATCH]
        A[recv + at.T_ASKED] = 1
        if A[recv + at.T_POSTED] == 1:
            add_ack(A, send)
    else:
        A[A[send + at.T_QUEUE] + at.Q_ANSWERED] = 1
        touch_queue(A, A[send + at.T_QUEUE])
    free_packet(A, packet)


@kernel
def _data_ready(A, packet):
    """The channel has read or written the unit."""
    A[packet + at.P_SINCE] = A[at.NOW]
    is_store = A[packet + at.P_KIND] == at.STORE_DATA
    A[packet + at.P_KIND] = at.STORE_ACK if is_store else at.LOAD_DATA
    if A[packet + at.P_NODE] != at.NIL:
        A[packet + at.P_WIRE] = A[at.HEADER] + (0 if is_store else A[packet + at.P_PAYLOAD])
        A[packet + at.P_NODE] = A[A[packet + at.P_CORE] + at.C_NODE]
        enter_fifo(A, A[A[packet + at.P_CHANNEL] + at.K_SOURCE], packet)
    elif is_store:
        _unit_done(A, packet)
    else:
        ask_port(A, packet)


@kernel
def _port_done(A, packet):
    """The scratchpad port has read (STORE, SEND) or written (LOAD, RECV) the unit."""
    kind = A[packet + at.P_KIND]
    if kind == at.STORE_DATA:
        to_memory(A, packet)
    elif kind == at.LOAD_DATA:
        if A[A[packet + at.P_CHANNEL] + at.K_NODE] != at.NIL:
            give_back_eject(A, packet)
        _unit_done(A, packet)
    elif A[packet + at.P_ENGINE] == at.NIL:
        _message_written(A, packet)
    else:
        enter_fifo(A, source_fifo(A, A[packet + at.P_CORE], 1, A[packet + at.P_ENGINE]), packet)


@kernel
def _message_written(A, packet):
    give_back_eject(A, packet)
    send = A[packet + at.P_TASK]
    recv = A[send + at.T_MATCH]
    bytes_done(A, recv, A[packet + at.P_PAYLOAD])
    if A[at.LOCK_ACK] == 1 and A[recv + at.T_LEFT] == 0:
        unlock_ack_way(A, send)
    free_packet(A, packet)


@kernel
def _unit_done(A, packet):
    """A LOAD's or STORE's unit has ended."""
    A[A[packet + at.P_CHANNEL] + at.K_SUM_RESPONSE] += A[at.NOW] - A[packet + at.P_SINCE]
    no_longer_under_way(A, packet)
    free_packet(A, packet)


@kernel
def no_longer_under_way(A, packet):
    """Its queue may issue another; its bytes count as done. (A SEND's: its tail has left.)"""
    queue = A[packet + at.P_QUEUE]
    A[queue + at.Q_UNDER_WAY] -= 1
    touch_queue(A, queue)
    bytes_done(A, A[packet + at.P_TASK], A[packet + at.P_PAYLOAD])
