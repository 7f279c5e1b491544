"""What is counted on the way: bytes over time in bins, busy intervals as spans."""

from npusim.engine import layout as at
from npusim.engine.kernel import kernel
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
    A[at.LAST_TICK] = tick
    while tick >> A[at.BIN_SHIFT] >= NUM_BINS:
        A[at.BIN_SHIFT] += 1
        for i in range(A[at.NUM_LINKS]):
            _halve(A, A[A[at.LINKS] + i * at.L_SIZE + at.L_BINS])
        for i in range(A[at.NUM_CHANNELS]):
            _halve(A, A[A[at.CHANNELS] + i * at.K_SIZE + at.K_BINS])


@kernel
def _flush(A, spans, track, task, start_ps, end_ps, num_bytes):
    row = A[at.NUM_SPANS]
    spans[row, 0] = track
    spans[row, 1] = A[task + at.T_NUMBER]
    spans[row, 2] = start_ps
    spans[row, 3] = end_ps
    spans[row, 4] = num_bytes
    A[at.NUM_SPANS] = row + 1


@kernel
def _flush_link(A, spans, link):
    khz = A[at.KHZ]
    _flush(A, spans, A[at.NUM_CHANNELS] + A[link + at.L_NUMBER], A[link + at.L_SPAN_TASK],
           cycles_to_ps(A[link + at.L_SPAN_START], khz), cycles_to_ps(A[link + at.L_SPAN_END], khz),
           A[link + at.L_SPAN_BYTES])  # fmt: skip


@kernel
def link_span(A, spans, link, task, start, end, num_bytes):
    """A link is busy from `start` to `end` (ticks); joins the open span when it can."""
    if A[link + at.L_SPAN_TASK] == task and start - A[link + at.L_SPAN_END] <= at.SPAN_GAP_TICKS:
        A[link + at.L_SPAN_END] = end
        A[link + at.L_SPAN_BYTES] += num_bytes
        return
    if A[link + at.L_SPAN_TASK] != at.NIL:
        _flush_link(A, spans, link)
    A[link + at.L_SPAN_TASK] = task
    A[link + at.L_SPAN_START] = start
    A[link + at.L_SPAN_END] = end
    A[link + at.L_SPAN_BYTES] = num_bytes


@kernel
def _flush_channel(A, spans, channel):
    track = (channel - A[at.CHANNELS]) // at.K_SIZE
    start_ps, end_ps = A[channel + at.K_SPAN_START], A[channel + at.K_SPAN_END]
    task, num_bytes = A[channel + at.K_SPAN_TASK], A[channel + at.K_SPAN_BYTES]
    _flush(A, spans, track, task, start_ps, end_ps, num_bytes)


@kernel
def channel_span(A, spans, channel, task, start_ps, end_ps, num_bytes):
    """A channel's bus is busy from `start_ps` to `end_ps`; joins the open span when it can."""
    gap_ps = cycles_to_ps(at.SPAN_GAP_TICKS, A[at.KHZ])
    if A[channel + at.K_SPAN_TASK] == task and start_ps - A[channel + at.K_SPAN_END] <= gap_ps:
        A[channel + at.K_SPAN_END] = end_ps
        A[channel + at.K_SPAN_BYTES] += num_bytes
        return
    if A[channel + at.K_SPAN_TASK] != at.NIL:
        _flush_channel(A, spans, channel)
    A[channel + at.K_SPAN_TASK] = task
    A[channel + at.K_SPAN_START] = start_ps
    A[channel + at.K_SPAN_END] = end_ps
    A[channel + at.K_SPAN_BYTES] = num_bytes


@kernel
def flush_all(A, spans):
    """Writes out the spans that are still open."""
    for i in range(A[at.NUM_CHANNELS]):
        channel = A[at.CHANNELS] + i * at.K_SIZE
        if A[channel + at.K_SPAN_TASK] != at.NIL:
            _flush_channel(A, spans, channel)
            A[channel + at.K_SPAN_TASK] = at.NIL
    for i in range(A[at.NUM_LINKS]):
        link = A[at.LINKS] + i * at.L_SIZE
        if A[link + at.L_SPAN_TASK] != at.NIL:
            _flush_link(A, spans, link)
            A[link + at.L_SPAN_TASK] = at.NIL
