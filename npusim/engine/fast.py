"""The fast engine: Wiring and Tasks → Outcome, in numba kernels under a simpy clock."""

from collections.abc import Callable

import numpy as np
import simpy

from npusim.engine.advance import DONE, LIMIT, SPANS_FULL, STUCK, advance
from npusim.engine.state import Machine, build
from npusim.engine.stuck import describe
from npusim.engine.tables import Outcome, Tasks, Wiring

SPAN_ROOM = 1 << 18
FAR = 1 << 62


class DataPlane:
    """The kernels as one simpy process: `done` is the event of the last task.

    It runs ahead only to the next instant at which anything else in the environment
    happens, so nothing ever reaches its past; simpy's time is the tick.
    """

    def __init__(self, env: simpy.Environment, machine: Machine, on_spans: Callable | None = None):
        self.env = env
        self.machine = machine
        self.on_spans = on_spans
        self.status = LIMIT
        self.done = env.process(self._run())

    def _run(self):
        while self.status not in (DONE, STUCK):
            horizon = self.env.peek()
            limit = FAR if horizon == float("inf") else int(horizon)
            self.status = advance(self.machine, limit)
            self._empty_spans()
            if self.status != SPANS_FULL:
                yield self.env.timeout(max(0, int(self.machine.g["now"][0]) - self.env.now))

    def _empty_spans(self) -> None:
        count = int(self.machine.g["num_spans"][0])
        if self.on_spans and count:
            self.on_spans(self.machine.spans[:count].copy())
        self.machine.g["num_spans"] = 0


def run(wiring: Wiring, tasks: Tasks, on_spans: Callable[[np.ndarray], None] | None = None
        ) -> Outcome:  # fmt: skip
    """Runs all tasks from tick 0. `on_spans` is given arrays of busy intervals as they fill up."""
    env = simpy.Environment()
    machine = build(wiring, tasks, SPAN_ROOM if on_spans else 0)
    plane = DataPlane(env, machine, on_spans)
    env.run(until=plane.done)
    return _outcome(machine, [] if plane.status == DONE else describe(machine))


def _outcome(m: Machine, waiting: list[str]) -> Outcome:
    channels, links, cores = m.channels, m.links, m.cores
    return Outcome(
        ready=m.tasks["ready"].copy(),
        start=_starts(m),
        end=m.tasks["end"].copy(),
        channel={
            "read_bytes": channels["read_bytes"].copy(),
            "write_bytes": channels["write_bytes"].copy(),
            "busy_ps": channels["busy"].copy(),
            "requests": channels["requests"].copy(),
            "row_hits": channels["hits"].copy(),
            "row_misses": channels["misses"].copy(),
            "queue_ticks": channels["queue_ticks"].copy(),
        },
        link={
            "bytes": links["bytes"].copy(),
            "busy_ticks": links["busy_ticks"].copy(),
            "packets": links["packets"].copy(),
            "wait_ticks": links["wait"].copy(),
        },
        core={
            "port_bytes": cores["bytes"].copy(),
            "port_busy_ticks": cores["busy_ticks"].copy(),
            "stretch_ticks": cores["stretch"].copy(),
        },
        bin_ticks=1 << int(m.g["bin_shift"][0]),
        channel_bins=m.channel_bins,
        link_bins=m.link_bins,
        events=int(m.g["events"][0]),
        waiting=waiting,
    )


def _starts(m: Machine) -> np.ndarray:
    """A RECV starts when its SEND does."""
    start = m.tasks["start"].copy()
    receives = np.flatnonzero(m.kind == 4)
    start[receives] = start[m.match[receives]]
    return start
