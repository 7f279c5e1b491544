"""Programs that come while others run on one chip → when their tasks have ended, in ps.

The chip's engine counts ticks; the environment of those who submit counts ps.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import simpy

from npusim.engine.tables import Tasks, Wiring
from npusim.engine.tables import Totals as Counted
from npusim.errors import SpecError, pick
from npusim.machine.analytic import coarsen
from npusim.machine.core import build_tasks
from npusim.machine.system import build_tables, deadlock
from npusim.machine.totals import Totals, to_totals
from npusim.program import Program, ProgramBuilder
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Fidelity
from npusim.units import cycles_to_ps

AT_ONCE, LAST = 1, 2  # priorities of simpy events: ordinary ones, and those behind all ordinary
KHZ_PS = 1_000_000_000  # a period of 1 kHz
FOREVER = 1 << 62


class Machine(Protocol):
    """What both engines offer to those who hand over tasks at any tick; `engine.fast.Machine` tells
    the methods, all times are ticks. A stream, tasks that were handed over together, is theirs; its
    `first_group` is the number of its group 0."""

    @property
    def now(self) -> int: ...

    def add(self, tasks: Tasks, begin: int, group: np.ndarray | None = None) -> Any: ...

    def drop(self, stream: Any) -> None: ...

    def next_tick(self) -> int | None: ...

    def advance(self, limit: int) -> list[int]: ...

    def waiting(self) -> list[str]: ...

    def totals(self) -> Counted: ...


def _fast(wiring: Wiring) -> Machine:
    from npusim.engine import fast

    return fast.Machine(wiring)


def _simpy(wiring: Wiring) -> Machine:
    from npusim.engine import reference

    return reference.Machine(wiring)


MACHINES: dict[str, Callable[[Wiring], Machine]] = {"fast": _fast, "simpy": _simpy}


@dataclass
class _Running:
    """A program that was submitted: its stream, and the events of groups that have not ended."""

    stream: Any
    events: dict[int, simpy.Event]


class Session:
    """One chip that lives on: programs are submitted while others run.

    It runs ahead only to the next instant at which anything else in `env` happens, so nothing ever
    reaches its past. At an instant it comes last: what others submit there is part of its tick.
    Chips that share an environment hold each other up, tick by tick.

    Raises SpecError for an unknown engine, or for a NoC of the analytic level, whose links are made
    for one program. While the environment runs, raises DeadlockError as `run` does.
    """

    def __init__(self, env: simpy.Environment, hw: Hardware, *, engine: str = "fast",
                 fidelity: Fidelity | None = None):  # fmt: skip
        self._env, self._hw, self._fidelity = env, hw, fidelity or Fidelity()
        if self._fidelity.noc == "analytic":
            raise SpecError("fidelity.noc must be transaction where programs share a chip")
        self._fine = build_tables(ProgramBuilder().build(), hw)
        self._tables = coarsen(self._fine, hw, self._fidelity)
        self._khz = self._tables.wiring.khz
        self._machine = pick(MACHINES, engine, "engine")(self._tables.wiring)
        self._running: dict[int, _Running] = {}  # by number of a group that has not ended
        self._due_ps: int | None = None

    def submit(self, program: Program, group: np.ndarray | None = None) -> list[simpy.Event]:
        """Starts a program now: tasks without dependencies are ready at the first tick from now on
        that is still to come; a queue (unit of a core) takes them after those that it has.

        Returns an event a group (`group`: 0, 1, … by task; None: all in one). It happens when the
        last task of the group has ended; its value is that time in ps.
        """
        if group is None:
            group = np.zeros(len(program), np.int64)
        counts = np.bincount(group, minlength=1)
        events = [self._env.event() for _ in counts]
        for index in np.flatnonzero(counts == 0):
            events[index].succeed(int(self._env.now))
        if len(program):
            self._start(program, group, {i: events[i] for i in np.flatnonzero(counts).tolist()})
        return events

    def totals(self) -> Totals:
        """What channels, links and cores have done so far."""
        return to_totals(self._hw, self._tables, self._machine.totals())

    def _start(self, program: Program, group: np.ndarray, events: dict[int, simpy.Event]) -> None:
        fine = replace(self._fine, tasks=build_tasks(program, self._hw))
        tasks = coarsen(fine, self._hw, self._fidelity).tasks
        begin = max(first_tick(int(self._env.now), self._khz), self._machine.now + 1)
        stream = self._machine.add(tasks, begin, group)
        numbered = {stream.first_group + index: event for index, event in events.items()}
        running = _Running(stream, numbered)
        self._running.update(dict.fromkeys(numbered, running))
        self._look_at(begin)

    def _look_at(self, tick: int) -> None:
        """Goes on at a tick, after everything else at that instant."""
        due_ps = cycles_to_ps(tick, self._khz)
        if self._due_ps is None or due_ps < self._due_ps:
            self._due_ps = due_ps
            event = self._env.event()
            event.callbacks.append(self._go_on)
            self._happen(event, due_ps, LAST)

    def _go_on(self, _: simpy.Event) -> None:
        """Runs until groups end, or to where something else may happen in the environment."""
        now_ps = int(self._env.now)
        if now_ps != self._due_ps:
            return  # was asked to go on earlier, and did
        self._due_ps = None
        ended = self._machine.advance(self._horizon(now_ps))
        for number in ended:
            self._end(number)
        following = self._machine.next_tick()
        if following is not None:
            self._look_at(following)
        elif ended:
            self._look_at(self._machine.now)  # once more, when those who wait have been told
        elif self._running:
            raise deadlock(self._machine.waiting())

    def _horizon(self, now_ps: int) -> int:
        """The last tick up to which nothing but the chip itself can do anything."""
        other_ps = self._env.peek()
        if other_ps == float("inf"):
            return FOREVER
        return last_tick(max(now_ps, int(other_ps) - 1), self._khz)

    def _end(self, number: int) -> None:
        """A group has ended in the engine's tick, which may be to come in the environment."""
        running = self._running.pop(number)
        end_ps = cycles_to_ps(self._machine.now, self._khz)
        self._happen(running.events.pop(number), end_ps, AT_ONCE)
        if not running.events:
            self._machine.drop(running.stream)

    def _happen(self, event: simpy.Event, time_ps: int, priority: int) -> None:
        """Lets an event happen then, with the time as its value."""
        event._ok, event._value = True, time_ps  # as simpy's own Timeout does
        self._env.schedule(event, priority, time_ps - int(self._env.now))  # type: ignore[arg-type]


def first_tick(ps: int, khz: int) -> int:
    """The first tick that is not before `ps`, with ticks as ps rounded up: the tick whose time was
    read as `ps` is found again."""
    return (ps - 1) * khz // KHZ_PS + 1


def last_tick(ps: int, khz: int) -> int:
    """The last tick that is not after `ps`."""
    return ps * khz // KHZ_PS
