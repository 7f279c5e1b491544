"""What is counted on the way: bytes over time in bins, busy intervals as spans."""

from npusim.engine.kernel import kernel
from npusim.engine.layout import (
    BIN_SHIFT,
    CHANNELS,
    K_BINS,
    K_SIZE,
    K_SPAN_BYTES,
    K_SPAN_END,
    K_SPAN_START,
    K_SPAN_TASK,
    KHZ,
    L_BINS,
    L_NUMBER,
    L_SIZE,
    L_SPAN_BYTES,
    L_SPAN_END,
    L_SPAN_START,
    L_SPAN_TASK,
    LAST_TICK,
    LINKS,
    NIL,
    NUM_CHANNELS,
    NUM_LINKS,
    NUM_SPANS,
    SPAN_GAP_TICKS,
    T_SIZE,
    TASKS,
)
from npusim.engine.tables import NUM_BINS
from npusim.engine.wheel import cycles_to_ps


@kernel
def _halve(A, bins):
    """Pairs of bins are added up into the lower half, the upper half is cleared."""
    half = NUM_BINS // 2
    for i in range(half):
        A[bins + i] = A[bins + 2 * i] + A[bins + 2 * i + 1]
    for i in range(half, NUM_BINS):
        A[bins + i] = 0


@kernel
def reach(A, tick):
    """Makes the bins wide enough for `tick`."""
    A[LAST_TICK] = tick
    while tick >> A[BIN_SHIFT] >= NUM_BINS:
        A[BIN_SHIFT] += 1
        for i in range(A[NUM_LINKS]):
            _halve(A, A[LINKS] + i * L_SIZE + L_BINS)
        for i in range(A[NUM_CHANNELS]):
            _halve(A, A[CHANNELS] + i * K_SIZE + K_BINS)


@kernel
def _flush(A, spans, track, task, start_ps, end_ps, num_bytes):
    row = A[NUM_SPANS]
    spans[row, 0] = track
    spans[row, 1] = (task - A[TASKS]) // T_SIZE
    spans[row, 2] = start_ps
    spans[row, 3] = end_ps
    spans[row, 4] = num_bytes
    A[NUM_SPANS] = row + 1


@kernel
def _flush_link(A, spans, link):
    khz = A[KHZ]
    _flush(A, spans, A[NUM_CHANNELS] + A[link + L_NUMBER], A[link + L_SPAN_TASK],
           cycles_to_ps(A[link + L_SPAN_START], khz), cycles_to_ps(A[link + L_SPAN_END], khz),
           A[link + L_SPAN_BYTES])  # fmt: skip


@kernel
def link_span(A, spans, link, task, start, end, num_bytes):
    """A link is busy from `start` to `end` (ticks); joins the open span when it can."""
    if A[link + L_SPAN_TASK] == task and start - A[link + L_SPAN_END] <= SPAN_GAP_TICKS:
        A[link + L_SPAN_END] = end
        A[link + L_SPAN_BYTES] += num_bytes
        return
    if A[link + L_SPAN_TASK] != NIL:
        _flush_link(A, spans, link)
    A[link + L_SPAN_TASK] = task
    A[link + L_SPAN_START] = start
    A[link + L_SPAN_END] = end
    A[link + L_SPAN_BYTES] = num_bytes


@kernel
def _flush_channel(A, spans, channel):
    _flush(A, spans, (channel - A[CHANNELS]) // K_SIZE, A[channel + K_SPAN_TASK],
           A[channel + K_SPAN_START], A[channel + K_SPAN_END], A[channel + K_SPAN_BYTES])  # fmt: skip


@kernel
def channel_span(A, spans, channel, task, start_ps, end_ps, num_bytes):
    """A channel's bus carries data from `start_ps` to `end_ps`; joins the open span when it can."""
    gap_ps = cycles_to_ps(SPAN_GAP_TICKS, A[KHZ])
    if A[channel + K_SPAN_TASK] == task and start_ps - A[channel + K_SPAN_END] <= gap_ps:
        A[channel + K_SPAN_END] = end_ps
        A[channel + K_SPAN_BYTES] += num_bytes
        return
    if A[channel + K_SPAN_TASK] != NIL:
        _flush_channel(A, spans, channel)
    A[channel + K_SPAN_TASK] = task
    A[channel + K_SPAN_START] = start_ps
    A[channel + K_SPAN_END] = end_ps
    A[channel + K_SPAN_BYTES] = num_bytes


@kernel
def flush_all(A, spans):
    """Writes out the spans that are still open."""
    for i in range(A[NUM_CHANNELS]):
        channel = A[CHANNELS] + i * K_SIZE
        if A[channel + K_SPAN_TASK] != NIL:
            _flush_channel(A, spans, channel)
            A[channel + K_SPAN_TASK] = NIL
    for i in range(A[NUM_LINKS]):
        link = A[LINKS] + i * L_SIZE
        if A[link + L_SPAN_TASK] != NIL:
            _flush_link(A, spans, link)
            A[link + L_SPAN_TASK] = NIL
