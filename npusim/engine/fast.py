"""The fast engine: Wiring and Tasks → Outcome, in numba kernels under a simpy clock."""

from collections.abc import Callable

import numpy as np
import simpy

from npusim.engine import layout as at
from npusim.engine.advance import DONE, LIMIT, SPANS_FULL, STUCK, advance
from npusim.engine.arena import Arena, build, widen_bins
from npusim.engine.stuck import describe
from npusim.engine.tables import NUM_BINS, RECV, Outcome, Tasks, Wiring

SPAN_ROOM = 1 << 18
FAR = 1 << 62


class DataPlane:
    """The kernels as one simpy process: `done` is the event of the last task.

    It runs ahead only to the next instant at which anything else in the environment
    happens, so nothing ever reaches its past; simpy's time is the tick.
    """

    def __init__(self, env: simpy.Environment, arena: Arena, on_spans: Callable | None = None):
        self.env = env
        self.arena = arena
        self.on_spans = on_spans
        self.status = LIMIT
        self.done = env.process(self._run())

    def _run(self):
        words = self.arena.words
        while self.status not in (DONE, STUCK):
            horizon = self.env.peek()
            limit = FAR if horizon == float("inf") else int(horizon)
            self.status = advance(words, self.arena.spans, limit)
            self._empty_spans()
            if self.status != SPANS_FULL:
                yield self.env.timeout(max(0, int(words[at.NOW]) - self.env.now))

    def _empty_spans(self) -> None:
        count = int(self.arena.words[at.NUM_SPANS])
        if self.on_spans and count:
            self.on_spans(self.arena.spans[:count])
        self.arena.words[at.NUM_SPANS] = 0


def run(wiring: Wiring, tasks: Tasks, on_spans: Callable[[np.ndarray], None] | None = None
        ) -> Outcome:  # fmt: skip
    """Runs all tasks from tick 0. `on_spans` is given int64 rows (track, task, start_ps, end_ps,
    bytes) as they fill up; they are overwritten afterwards."""
    env = simpy.Environment()
    arena = build(wiring, tasks, SPAN_ROOM if on_spans else 0)
    plane = DataPlane(env, arena, on_spans)
    env.run(until=plane.done)
    return _outcome(arena, tasks, [] if plane.status == DONE else describe(arena, wiring, tasks))


def _outcome(arena: Arena, tasks: Tasks, waiting: list[str]) -> Outcome:
    channels, links, cores, words = arena.channels, arena.links, arena.cores, arena.words
    shift = int(words[at.BIN_SHIFT])
    end = arena.tasks[:, at.T_END].copy()
    last = max(int(end.max(initial=0)), int(words[at.LAST_TICK]))
    wider = 0
    while last >> (shift + wider) >= NUM_BINS:
        wider += 1
    return Outcome(
        ready=arena.tasks[:, at.T_READY].copy(),
        start=_starts(arena, tasks),
        end=end,
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
        bin_ticks=1 << (shift + wider),
        channel_bins=widen_bins(arena.channel_bins, wider),
        link_bins=widen_bins(arena.link_bins, wider),
        events=int(words[at.EVENTS]),
        waiting=waiting,
    )


def _starts(arena: Arena, tasks: Tasks) -> np.ndarray:
    """A RECV starts when its SEND does."""
    start = arena.tasks[:, at.T_START].copy()
    receives = np.flatnonzero(tasks.kind == RECV)
    start[receives] = start[tasks.match[receives]]
    return start
