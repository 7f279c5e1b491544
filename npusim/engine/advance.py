"""The loop of the fast engine: tick after tick, phase after phase."""

from npusim.engine import layout as at
from npusim.engine.dram import serve_channel, touch_channel
from npusim.engine.kernel import entry, kernel
from npusim.engine.network import arbitrate, give_credits, tail_left
from npusim.engine.ports import no_longer_under_way, packet_event, run_port
from npusim.engine.queues import compute_over, run_queue, timer_over
from npusim.engine.record import flush_all
from npusim.engine.tasks import begin_stream, drain_chain, send_acks
from npusim.engine.wheel import next_tick, schedule, take_slot

IDLE, ENDED, SPANS_FULL, LIMIT = range(4)


@kernel
def _dispatch(A, entity, event):
    """Phase A for one event."""
    if event >= at.AT_ROUTER:
        packet_event(A, entity, event)
    elif event == at.TAIL_LEFT:
        tail_left(A, entity)
        packet = A[entity + at.L_PACKET]  # not freed yet: it arrives after its tail has left
        if A[entity + at.L_FROM] >= A[at.FIRST_SOURCE] and A[packet + at.P_KIND] == at.MESSAGE:
            no_longer_under_way(A, packet)
    elif event == at.CHANNEL_OPEN:
        A[entity + at.K_OPEN] = 1
        touch_channel(A, entity)
    elif event == at.COMPUTE_OVER:
        compute_over(A, entity)
    elif event == at.DMA_TIMER:
        timer_over(A, entity)
    elif event == at.BEGIN:
        begin_stream(A, entity)


@kernel
def _phase_a(A, tick):
    """Events that are due; parked ones go back to the wheel. Returns how many were due."""
    count = 0
    entity = take_slot(A, tick)
    while entity != at.NIL:
        following = A[entity + at.NEXT_EVENT]
        if A[entity + at.DUE] == tick:
            _dispatch(A, entity, A[entity + at.EVENT])
            count += 1
        else:
            schedule(A, entity, A[entity + at.EVENT], A[entity + at.DUE])
        entity = following
    drain_chain(A)
    return count


@kernel
def _phases_b_to_f(A, spans):
    for i in range(A[at.N_QUEUES]):
        queue = A[A[at.W_QUEUES] + i]
        A[queue + at.Q_TOUCHED] = 0
        run_queue(A, queue)
    A[at.N_QUEUES] = 0
    for i in range(A[at.N_PORTS]):
        core = A[A[at.W_PORTS] + i]
        A[core + at.C_TOUCHED] = 0
        run_port(A, core)
    A[at.N_PORTS] = 0
    send_acks(A)
    for i in range(A[at.N_LINKS]):
        link = A[A[at.W_LINKS] + i]
        A[link + at.L_TOUCHED] = 0
        arbitrate(A, spans, link)
    A[at.N_LINKS] = 0
    for i in range(A[at.N_CHANNELS]):
        channel = A[A[at.W_CHANNELS] + i]
        A[channel + at.K_TOUCHED] = 0
        serve_channel(A, spans, channel)
    A[at.N_CHANNELS] = 0


@kernel
def _following_tick(A):
    """The next tick in which something happens; −1 when nothing will."""
    return A[at.NOW] + 1 if A[at.N_CREDITS] > 0 else next_tick(A)


@kernel
def _welcome(A):
    """Puts the begin of new streams on the wheel."""
    stream = A[at.NEW]
    while stream != at.NIL:
        following = A[stream + at.NEXT_EVENT]
        schedule(A, stream, at.BEGIN, A[stream + at.DUE])
        stream = following
    A[at.NEW] = at.NIL


@entry
def advance(A, spans, limit):
    """Runs ticks up to and including `limit`, or the first in which a group ends; returns ENDED,
    LIMIT, IDLE (no event is left), or SPANS_FULL (empty the span buffer and call again)."""
    most_spans = A[at.NUM_CHANNELS] + A[at.NUM_LINKS]
    _welcome(A)
    while True:
        if A[at.KEEP_SPANS] == 1 and spans.shape[0] - A[at.NUM_SPANS] < most_spans:
            return SPANS_FULL
        tick = _following_tick(A)
        A[at.FOLLOWING] = tick
        if tick < 0:
            break
        if A[at.ENDED] != at.NIL:
            return ENDED
        if tick > limit:
            return LIMIT
        A[at.NOW] = tick
        credits = give_credits(A)
        count = _phase_a(A, tick)
        if count + credits > 0:
            A[at.EVENTS] += count
            _phases_b_to_f(A, spans)
    if A[at.KEEP_SPANS] == 1:
        flush_all(A, spans)
    return IDLE if A[at.ENDED] == at.NIL else ENDED
