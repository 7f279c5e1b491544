"""The loop of the fast engine: tick after tick, phase after phase."""

from npusim.engine.dram import serve_channel, touch_channel
from npusim.engine.kernel import entry, kernel
from npusim.engine.layout import (
    AT_ROUTER,
    BEGUN,
    C_TOUCHED,
    CHANNEL_OPEN,
    COMPUTE_OVER,
    DMA_TIMER,
    DUE,
    EVENT,
    EVENTS,
    FIRST_SOURCE,
    K_OPEN,
    K_TOUCHED,
    KEEP_SPANS,
    L_FROM,
    L_PACKET,
    L_TOUCHED,
    MESSAGE,
    N_CHANNELS,
    N_LINKS,
    N_PORTS,
    N_QUEUES,
    NEXT_EVENT,
    NIL,
    NOW,
    NUM_CHANNELS,
    NUM_LINKS,
    NUM_SPANS,
    NUM_TASKS,
    P_KIND,
    PENDING,
    Q_TOUCHED,
    T_SIZE,
    T_WAITS,
    TAIL_LEFT,
    TASKS,
    TASKS_LEFT,
    W_CHANNELS,
    W_LINKS,
    W_PORTS,
    W_QUEUES,
)
from npusim.engine.network import arbitrate, tail_left
from npusim.engine.ports import packet_event, run_port, no_longer_under_way
from npusim.engine.queues import compute_over, run_queue, timer_over
from npusim.engine.record import flush_all
from npusim.engine.tasks import became_ready, drain_chain, send_acks
from npusim.engine.wheel import next_tick, schedule, take_slot

DONE, STUCK, SPANS_FULL, LIMIT = range(4)


@kernel
def _dispatch(A, entity, event):
    """Phase A for one event."""
    if event >= AT_ROUTER:
        packet_event(A, entity, event)
    elif event == TAIL_LEFT:
        tail_left(A, entity)
        packet = A[entity + L_PACKET]  # not freed yet: it arrives after its tail has left
        if A[entity + L_FROM] >= A[FIRST_SOURCE] and A[packet + P_KIND] == MESSAGE:
            no_longer_under_way(A, packet)
    elif event == CHANNEL_OPEN:
        A[entity + K_OPEN] = 1
        touch_channel(A, entity)
    elif event == COMPUTE_OVER:
        compute_over(A, entity)
    elif event == DMA_TIMER:
        timer_over(A, entity)


@kernel
def _begin(A):
    """Phase A of tick 0: tasks without dependencies become ready."""
    A[BEGUN] = 1
    for i in range(A[NUM_TASKS]):
        task = A[TASKS] + i * T_SIZE
        if A[task + T_WAITS] == 0:
            became_ready(A, task)


@kernel
def _phase_a(A, tick):
    """Events that are due; parked ones go back to the wheel. Returns how many were due."""
    count = 0
    if A[BEGUN] == 0:
        _begin(A)
        count = 1
    entity = take_slot(A, tick)
    while entity != NIL:
        following = A[entity + NEXT_EVENT]
        A[PENDING] -= 1
        if A[entity + DUE] == tick:
            _dispatch(A, entity, A[entity + EVENT])
            count += 1
        else:
            schedule(A, entity, A[entity + EVENT], A[entity + DUE])
        entity = following
    drain_chain(A)
    return count


@kernel
def _phases_b_to_f(A, spans):
    for i in range(A[N_QUEUES]):
        queue = A[A[W_QUEUES] + i]
        A[queue + Q_TOUCHED] = 0
        run_queue(A, queue)
    A[N_QUEUES] = 0
    for i in range(A[N_PORTS]):
        core = A[A[W_PORTS] + i]
        A[core + C_TOUCHED] = 0
        run_port(A, core)
    A[N_PORTS] = 0
    send_acks(A)
    for i in range(A[N_LINKS]):
        link = A[A[W_LINKS] + i]
        A[link + L_TOUCHED] = 0
        arbitrate(A, spans, link)
    A[N_LINKS] = 0
    for i in range(A[N_CHANNELS]):
        channel = A[A[W_CHANNELS] + i]
        A[channel + K_TOUCHED] = 0
        serve_channel(A, spans, channel)
    A[N_CHANNELS] = 0


@entry
def advance(A, spans, limit):
    """Runs all ticks up to and including `limit`; returns DONE, STUCK (no event is left but tasks
    are), SPANS_FULL (empty the span buffer and call again) or LIMIT."""
    most_spans = A[NUM_CHANNELS] + A[NUM_LINKS]
    while True:
        if A[KEEP_SPANS] == 1 and spans.shape[0] - A[NUM_SPANS] < most_spans:
            return SPANS_FULL
        tick = next_tick(A) if A[BEGUN] == 1 else 0
        if tick < 0:
            break
        if tick > limit:
            return LIMIT
        A[NOW] = tick
        count = _phase_a(A, tick)
        if count > 0:
            A[EVENTS] += count
            _phases_b_to_f(A, spans)
    if A[KEEP_SPANS] == 1:
        flush_all(A, spans)
    return DONE if A[TASKS_LEFT] == 0 else STUCK
