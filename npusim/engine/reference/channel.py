"""A memory channel: units that arrive at its queue → picks (phase F), data ready.

It looks at a window of its oldest units and takes the one that suits rows and bus best, but
never lets the oldest be passed over for ever (FR-FCFS).
"""

from dataclasses import dataclass

import simpy

from npusim.engine.reference.clock import Bell, Clock, Phase, Steps
from npusim.engine.reference.counters import Bytes, Track
from npusim.engine.reference.dram import READ, WRITE, Dram, Timing
from npusim.engine.reference.port import Key
from npusim.engine.tables import Channels


@dataclass(frozen=True)
class Request:
    """A unit in the queue; `answered` happens when its data is ready or its write acknowledged."""

    arrival_tick: int
    key: Key
    address: int
    bytes: int
    direction: str
    answered: simpy.Event


class Channel:
    """One row of tables.Channels as a process."""

    def __init__(self, clock: Clock, table: Channels, row: int, moved: Bytes):
        self._clock, self._row, self._moved = clock, row, moved
        self.port_node = int(table.port_node[row])
        self.source = int(table.source[row])
        self.request_ticks = int(table.request_ticks[row])
        self._response_ticks = int(table.response_ticks[row])
        self._window = int(table.window[row])
        names = Timing.__dataclass_fields__
        self.dram = Dram(Timing(**{name: int(getattr(table, name)[row]) for name in names}))
        self._requests: list[Request] = []
        self._bell = Bell(clock, Phase.CHANNELS)
        self._passed = 0  # picks of others since the oldest became the oldest
        self._last_answer = -1
        self.bytes = {READ: 0, WRITE: 0}
        self.num_requests = 0
        self.request_ticks_sum = self.queue_ticks_sum = 0  # the four phases, over all units;
        self.service_ticks_sum = self.response_ticks_sum = 0  # first and last by journeys.py
        self.track = Track(row, clock.ps(64))
        clock.start(self._run())

    def serve(self, key: Key, address: int, num_bytes: int, direction: str) -> simpy.Event:
        """A unit enters the queue; the event happens when its data is ready (or written),
        `response_ticks` included."""
        answered = self._clock.event()
        self._requests.append(
            Request(self._clock.now, key, address, num_bytes, direction, answered)
        )
        self._bell.ring()
        return answered

    def _run(self) -> Steps:
        while True:
            yield from self._bell.wait()
            while self._requests:
                request = self._pick()
                self._serve(request)
                yield self._clock.at(self._next_open(), Phase.CHANNELS)

    def _pick(self) -> Request:
        queue = sorted(self._requests, key=lambda request: (request.arrival_tick, request.key))
        best = queue[0]
        if self._passed < self._window:
            best = min(queue[: self._window], key=self._readiness)  # min: the first on a tie
        self._passed = 0 if best is queue[0] else self._passed + 1
        self._requests.remove(best)
        return best

    def _readiness(self, request: Request) -> tuple[int, bool]:
        now_ps = self._clock.ps(self._clock.now)
        return self.dram.readiness(now_ps, request.address, request.direction)

    def _serve(self, request: Request) -> None:
        clock, now = self._clock, self._clock.now
        start, end = self.dram.access(
            clock.ps(now), request.address, request.bytes, request.direction
        )
        answer = max(clock.tick_at(end) + self._response_ticks, self._last_answer + 1)
        self._last_answer = answer
        clock.fire(request.answered, answer, Phase.EVENTS)
        self.bytes[request.direction] += request.bytes
        self.num_requests += 1
        self.queue_ticks_sum += now - request.arrival_tick
        self.service_ticks_sum += answer - now
        self._moved.add(self._row, now, request.bytes)
        self.track.add(request.key[0], start, end, request.bytes)

    def _next_open(self) -> int:
        opens = self._clock.tick_at(self.dram.bus_free - self.dram.timing.lead)
        return max(opens, self._clock.now + 1)
