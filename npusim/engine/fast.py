"""The fast engine: Wiring and Tasks → the ticks at which things end, in numba kernels."""

from collections.abc import Callable

import numpy as np

from npusim.engine import layout as at
from npusim.engine.advance import ENDED, SPANS_FULL, advance
from npusim.engine.arena import Arena, build, widen_bins
from npusim.engine.streams import Stream, Streams
from npusim.engine.stuck import describe
from npusim.engine.tables import NUM_BINS, RECV, Outcome, Tasks, Totals, Wiring

SPAN_ROOM = 1 << 18
FAR = 1 << 62

OnSpans = Callable[[np.ndarray], None]


class Machine:
    """A chip that lives on: tasks may be handed over at any tick that is still to come.

    `on_spans` is given int64 rows (track, number of the task, start_ps, end_ps, bytes) as they fill
    up; they are overwritten afterwards.
    """

    def __init__(self, wiring: Wiring, on_spans: OnSpans | None = None):
        self.wiring = wiring
        self.arena = build(wiring, SPAN_ROOM if on_spans else 0)
        self._streams = Streams(self.arena, wiring)
        self._on_spans = on_spans

    @property
    def now(self) -> int:
        """The last tick that is over; −1 at first."""
        return int(self.arena.words[at.NOW])

    def add(self, tasks: Tasks, begin: int, group: np.ndarray | None = None) -> Stream:
        """Hands over tasks; those without dependencies are ready at tick `begin` > now. `group`: 0,
        1, … by task; None: all in one. Groups are numbered on from hand-over to hand-over."""
        if group is None:
            group = np.zeros(len(tasks), np.int64)
        return self._streams.add(tasks, begin, group)

    def drop(self, stream: Stream) -> None:
        """Forgets tasks that have all ended."""
        self._streams.drop(stream)

    def next_tick(self) -> int | None:
        """A tick before which nothing happens; None when nothing will."""
        following = int(self.arena.words[at.FOLLOWING])
        return None if following == at.NIL else following

    def advance(self, limit: int = FAR) -> list[int]:
        """Goes on up to and including tick `limit`, or the first in which groups end, then `now`;
        returns their numbers in order."""
        while True:
            status = advance(self.arena.words, self.arena.spans, limit)
            self._empty_spans()
            if status != SPANS_FULL:
                return self._ended() if status == ENDED else []

    def waiting(self) -> list[str]:
        """Why tasks that are left cannot proceed, once nothing happens any more."""
        return describe(self._streams, self.wiring)

    def totals(self) -> Totals:
        return _totals(self.arena)

    def times(self, stream: Stream) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ticks by task: ready, start (not of RECVs), end."""
        table = stream.tasks.view(self.arena.words)
        return table[:, at.T_READY].copy(), table[:, at.T_START].copy(), table[:, at.T_END].copy()

    def _ended(self) -> list[int]:
        words, numbers = self.arena.words, []
        group = int(words[at.ENDED])
        while group != at.NIL:
            numbers.append(int(words[group + at.S_NUMBER]))
            group = int(words[group + at.S_NEXT])
        words[at.ENDED] = at.NIL
        return sorted(numbers)

    def _empty_spans(self) -> None:
        count = int(self.arena.words[at.NUM_SPANS])
        if self._on_spans and count:
            self._on_spans(self.arena.spans[:count])
        self.arena.words[at.NUM_SPANS] = 0


def run(wiring: Wiring, tasks: Tasks, on_spans: OnSpans | None = None) -> Outcome:
    """Runs all tasks from tick 0, until nothing happens any more. `on_spans`: see Machine."""
    machine = Machine(wiring, on_spans)
    stream = machine.add(tasks, 0)
    while machine.next_tick() is not None:
        machine.advance()
    ready, start, end = machine.times(stream)
    receives = np.flatnonzero(tasks.kind == RECV)
    start[receives] = start[tasks.match[receives]]  # a RECV starts when its SEND does
    return Outcome(
        **vars(machine.totals()),
        **_bins(machine.arena, int(end.max(initial=0))),
        ready=ready,
        start=start,
        end=end,
        events=int(machine.arena.words[at.EVENTS]),
        waiting=machine.waiting() if (end < 0).any() else [],
    )


def _totals(arena: Arena) -> Totals:
    channels, links, cores = (arena.table(name) for name in ("channels", "links", "cores"))
    return Totals(
        channel={
            "read_bytes": channels[:, at.K_READ_BYTES].copy(),
            "write_bytes": channels[:, at.K_WRITE_BYTES].copy(),
            "busy_ps": channels[:, at.K_BUSY].copy(),
            "requests": channels[:, at.K_REQUESTS].copy(),
            "row_hits": channels[:, at.K_HITS].copy(),
            "row_misses": channels[:, at.K_MISSES].copy(),
            "request_ticks": channels[:, at.K_SUM_REQUEST].copy(),
            "queue_ticks": channels[:, at.K_SUM_QUEUE].copy(),
            "service_ticks": channels[:, at.K_SUM_SERVICE].copy(),
            "response_ticks": channels[:, at.K_SUM_RESPONSE].copy(),
        },
        link={
            "bytes": links[:, at.L_BYTES].copy(),
            "busy_ticks": links[:, at.L_BUSY_TICKS].copy(),
            "packets": links[:, at.L_PACKETS].copy(),
            "wait_ticks": links[:, at.L_WAIT].copy(),
        },
        core={
            "port_bytes": cores[:, at.C_BYTES].copy(),
            "port_busy_ticks": cores[:, at.C_BUSY_TICKS].copy(),
            "stretch_ticks": cores[:, at.C_STRETCH].copy(),
        },
    )


def _bins(arena: Arena, last_end: int) -> dict:
    """Bytes over time, in bins that reach beyond the last end of a task."""
    shift = int(arena.words[at.BIN_SHIFT])
    last = max(last_end, int(arena.words[at.LAST_TICK]))
    wider = 0
    while last >> (shift + wider) >= NUM_BINS:
        wider += 1
    return {
        "bin_ticks": 1 << (shift + wider),
        "channel_bins": widen_bins(arena.table("channel_bins"), wider),
        "link_bins": widen_bins(arena.table("link_bins"), wider),
    }
