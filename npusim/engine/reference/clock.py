"""A simpy environment → events that happen in a given phase of a given tick.

simpy's clock counts ticks, and the phases of a tick are priorities of simpy events. simpy itself
uses priorities 0 and 1 (a process starts or ends, an event succeeds at once): they come first, so
that what follows from an event without delay happens in the event's own phase.
"""

import random
from collections.abc import Generator
from enum import IntEnum

import simpy

from npusim.units import cycles_to_ps, ps_to_cycles

Steps = Generator[simpy.Event, object, None]


class Phase(IntEnum):
    """The phases of a tick, in order."""

    EVENTS = 10
    QUEUES = 11
    PORTS = 12
    ACKNOWLEDGES = 13
    LINKS = 14
    CHANNELS = 15


class Clock:
    """`env` counts ticks of `khz`. With `shuffle`, events of one phase of one tick come in a random
    order (the rules say that this changes nothing; tests see to it)."""

    def __init__(self, khz: int, shuffle: random.Random | None = None):
        self.env = simpy.Environment()
        self.khz = khz
        self.num_events = 0
        self._shuffle = shuffle

    @property
    def now(self) -> int:
        """The current tick."""
        return int(self.env.now)

    def start(self, steps: Steps) -> None:
        """Makes a generator a simpy process."""
        self.env.process(steps)

    def event(self) -> simpy.Event:
        """An event that `fire` may let happen later."""
        return self.env.event()

    def fire(self, event: simpy.Event, tick: int, phase: Phase) -> None:
        """Lets `event` happen in a phase of a tick, now or later."""
        assert tick >= self.now, f"tick {tick} is past at {self.now}"
        event._ok, event._value = True, None  # as simpy's own Timeout does
        priority = phase + (self._shuffle.random() / 2 if self._shuffle else 0)
        self.env.schedule(event, priority, tick - self.now)  # type: ignore[arg-type]
        self.num_events += 1

    def at(self, tick: int, phase: Phase = Phase.EVENTS) -> simpy.Event:
        """An event that happens in a phase of a tick: `yield clock.at(...)` waits for it."""
        event = self.event()
        self.fire(event, tick, phase)
        return event

    def after(self, ticks: int) -> simpy.Event:
        """An event that happens among the due events, `ticks` ≥ 1 from now."""
        assert ticks >= 1, "a signal takes at least a tick"
        return self.at(self.now + ticks)

    def ps(self, tick: int) -> int:
        """A tick as ps, rounded up."""
        return cycles_to_ps(tick, self.khz)

    def tick_at(self, ps: int) -> int:
        """The first tick at or after `ps`."""
        return ps_to_cycles(ps, self.khz)


class Bell:
    """Wakes a process in its phase of the current tick, however often it is rung in that tick.

    Only a process that waits hears it: whoever was busy looks around before he waits again.
    """

    def __init__(self, clock: Clock, phase: Phase):
        self._clock, self._phase = clock, phase
        self._heard = clock.event()
        self._rung = True

    def ring(self) -> None:
        if not self._rung:
            self._rung = True
            self._clock.fire(self._heard, self._clock.now, self._phase)

    def wait(self) -> Steps:
        """Steps that end in the phase, in the first tick in which the bell rings from now on."""
        self._heard, self._rung = self._clock.event(), False
        yield self._heard

    def wait_until(self, tick: int) -> Steps:
        """As `wait`, but in the phase of `tick` at the latest."""
        self._heard, self._rung = self._clock.event(), False
        yield self._clock.env.any_of([self._heard, self._clock.at(tick, self._phase)])
        self._rung = True
