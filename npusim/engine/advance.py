"""The loop of the fast engine: tick after tick, phase after phase."""

from npusim.engine.dram import flush_channel_span, serve_channel
from npusim.engine.kernel import entry, kernel
from npusim.engine.network import arbitrate, flush_link_span
from npusim.engine.tables import NONE, NUM_BINS
from npusim.engine.streams import (
    became_ready,
    channel_event,
    drain_chain,
    link_event,
    packet_event,
    queue_event,
    run_port,
    run_queue,
    send_acks,
)
from npusim.engine.wheel import next_tick, schedule, take_slot

DONE, STUCK, SPANS_FULL, LIMIT = range(4)


@kernel
def _dispatch(m, event):
    """Phase A for one event."""
    if event < m.first_channel:
        link_event(m, event)
    elif event >= m.first_packet:
        packet_event(m, event - m.first_packet)
    elif event >= m.first_queue:
        queue_event(m, event - m.first_queue)
    else:
        channel_event(m, event - m.first_channel)


@kernel
def _phase_a(m, tick):
    """Events that are due; parked ones go back to the wheel. Returns how many were due."""
    if m.g[0].begun == 0:
        _begin(m)
    event = take_slot(m, tick)
    count = 0
    while event != NONE:
        following = m.ev_next[event]
        m.g[0].pending -= 1
        if m.ev_tick[event] == tick:
            _dispatch(m, event)
            count += 1
        else:
            schedule(m, event, m.ev_tick[event])
        event = following
    drain_chain(m)
    m.g[0].events += count
    return count


@kernel
def _phases_b_to_f(m):
    g = m.g[0]
    for i in range(g.num_queues):
        m.queues[m.work_queues[i]].touched = 0
        run_queue(m, m.work_queues[i])
    g.num_queues = 0
    for i in range(g.num_ports):
        m.cores[m.work_ports[i]].touched = 0
        run_port(m, m.work_ports[i])
    g.num_ports = 0
    send_acks(m)
    for i in range(g.num_links):
        m.links[m.work_links[i]].touched = 0
        arbitrate(m, m.work_links[i])
    g.num_links = 0
    for i in range(g.num_channels):
        m.channels[m.work_channels[i]].touched = 0
        serve_channel(m, m.work_channels[i])
    g.num_channels = 0


@kernel
def _widen_bins(m, bins):
    """Doubles the width of the bins: pairs are added up, the upper half is cleared."""
    half = NUM_BINS // 2
    for row in range(bins.shape[0]):
        for i in range(half):
            bins[row, i] = bins[row, 2 * i] + bins[row, 2 * i + 1]
        for i in range(half, NUM_BINS):
            bins[row, i] = 0


@kernel
def _flush_spans(m):
    for c in range(m.channels.shape[0]):
        if m.channels[c].span_task != NONE:
            flush_channel_span(m, c)
    for link in range(m.links.shape[0]):
        if m.links[link].span_task != NONE:
            flush_link_span(m, link)


@kernel
def _begin(m):
    """Phase A of tick 0: tasks without dependencies become ready."""
    m.g[0].begun = 1
    for task in range(m.tasks.shape[0]):
        if m.tasks[task].waits == 0:
            became_ready(m, task)
    drain_chain(m)


@entry
def advance(m, limit):
    """Runs all ticks up to and including `limit`; returns DONE, STUCK (no event is left but tasks
    are), SPANS_FULL (empty the span buffer and call again) or LIMIT."""
    g = m.g[0]
    most_spans = m.channels.shape[0] + m.links.shape[0]
    while True:
        if m.keep_spans == 1 and m.spans.shape[0] - g.num_spans < most_spans:
            return SPANS_FULL
        tick = next_tick(m) if g.begun == 1 else 0
        if tick < 0:
            break
        if tick > limit:
            return LIMIT
        g.now = tick
        while tick >> g.bin_shift >= NUM_BINS:
            g.bin_shift += 1
            _widen_bins(m, m.link_bins)
            _widen_bins(m, m.channel_bins)
        if _phase_a(m, tick) > 0 or tick == 0:
            g.last_tick = tick
            _phases_b_to_f(m)
    if m.keep_spans == 1:
        _flush_spans(m)
    return DONE if g.tasks_left == 0 else STUCK
