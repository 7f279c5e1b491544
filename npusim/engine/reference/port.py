"""A core's scratchpad port: units that read or write → when each is served (phase C)."""

import simpy

from npusim.engine.reference.clock import Bell, Clock, Phase, Steps
from npusim.units import ceil_div

Key = tuple[int, int]  # (task, index of the unit in its task)


class Port:
    """One server, first come first served; of one tick's arrivals the lowest key first.

    `granted_bytes` is what DMA and network have been given so far: what stretches COMPUTE tasks.
    """

    def __init__(self, clock: Clock, num: int, den: int):
        self._clock = clock
        self._num, self._den = num, den
        self._arrived: list[tuple[Key, int, simpy.Event]] = []
        self._free_tick = 0
        self._bell = Bell(clock, Phase.PORTS)
        self.granted_bytes = self.busy_ticks = 0
        clock.start(self._run())

    def serve(self, key: Key, num_bytes: int) -> simpy.Event:
        """A unit stands in line; the event happens at the end of its service."""
        done = self._clock.event()
        self._arrived.append((key, num_bytes, done))
        self._bell.ring()
        return done

    def ticks(self, num_bytes: int) -> int:
        """Time that the port needs for so many bytes."""
        return ceil_div(num_bytes * self._num, self._den)

    def _run(self) -> Steps:
        while True:
            yield from self._bell.wait()
            for _, num_bytes, done in sorted(self._arrived, key=lambda unit: unit[0]):
                self._grant(num_bytes, done)
            self._arrived.clear()

    def _grant(self, num_bytes: int, done: simpy.Event) -> None:
        service = max(1, self.ticks(num_bytes))
        self._free_tick = max(self._clock.now, self._free_tick) + service
        self._clock.fire(done, self._free_tick, Phase.EVENTS)
        self.granted_bytes += num_bytes
        self.busy_ticks += service
