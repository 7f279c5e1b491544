"""A memory channel: units that arrive at its queue → picks (phase F), data ready.

It looks at a window of its oldest units and takes the one whose data could move first without a
turn of the bus, but never lets the oldest be passed over for ever (FR-FCFS).
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
        self._lead = self.dram.timing.lead + clock.ps(1)
        self._ahead: list[int] = []  # when units begin that were picked ahead of their time
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
                later = self._look()
                if later is None:
                    yield self._clock.at(self._next_open(), Phase.CHANNELS)
                else:
                    yield from self._bell.wait_until(self._clock.tick_at(later))

    def _look(self) -> int | None:
        """Serves a unit if one may begin; else the time (ps) when one may."""
        now_ps = self._clock.ps(self._clock.now)
        self._ahead = [begin for begin in self._ahead if begin > now_ps]
        room = self._window - len(self._ahead)
        if room == 0:
            return self._ahead[0]
        request = self._pick(room, now_ps)
        begins = self.dram.begins(now_ps, request.address)
        if begins > now_ps:
            return begins
        self._passed = 0 if request is self._queue()[0] else self._passed + 1
        self._requests.remove(request)
        self._serve(request, now_ps)
        return None

    def _queue(self) -> list[Request]:
        return sorted(self._requests, key=lambda request: (request.arrival_tick, request.key))

    def _pick(self, room: int, now_ps: int) -> Request:
        """The readiest of the oldest `room` units, the oldest one if it is overdue."""
        queue, dram = self._queue()[:room], self.dram
        ready = {
            request: dram.readiness(now_ps, request.address, request.direction) for request in queue
        }
        oldest, choice = queue[0], queue
        if self._passed >= self._window:
            turned, is_blocked, _ = ready[oldest]
            if turned or not is_blocked:
                return oldest
            banks = dram.set_of(oldest.address)
            choice = [r for r in queue[1:] if dram.set_of(r.address) != banks and not ready[r][0]]
            choice.insert(0, oldest)
        best = min(choice, key=lambda request: ready[request])  # min: the first on a tie
        is_overdue = self._passed >= self._window and best is oldest
        return best if is_overdue else self._first_to_hit(best, queue)

    def _first_to_hit(self, request: Request, queue: list[Request]) -> Request:
        """The request itself, or the oldest of those that want the row that it would close."""
        dram = self.dram
        bank = dram.place(request.address)[0]
        if dram.is_hit(request.address):
            return request
        for other in queue:
            same = dram.place(other.address)[0] == bank and other.direction == request.direction
            if same and dram.is_hit(other.address):
                return other
        return request

    def _serve(self, request: Request, now_ps: int) -> None:
        clock, now, dram = self._clock, self._clock.now, self.dram
        was_hit = dram.is_hit(request.address)
        start, end = dram.access(
            now_ps, self._lead, request.address, request.bytes, request.direction
        )
        begin = start - dram.timing.latency(request.direction)
        if was_hit and begin > now_ps:
            self._ahead.append(begin)
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
        return max(self._clock.tick_at(self.dram.bus_free - self._lead), self._clock.now + 1)
