"""A scenario's `iteration` → what makes iterations and moves of KV take their time."""

from collections.abc import Sequence
from typing import Protocol

import simpy

from npusim.program import Program
from npusim.serving.instance import Execution, Instance
from npusim.serving.interrupt import Interrupt
from npusim.serving.iteration.execution import TimedExecution
from npusim.serving.iteration.times import Facts, Timings
from npusim.serving.kv.cache import KvCache
from npusim.serving.moves import Handover, Lane, MoveLog, Moves, TimedMoves
from npusim.serving.neighbours import neighbours_of
from npusim.serving.settle import Settled
from npusim.spec.load import Setup
from npusim.units import PS_PER_US


class Backend(Protocol):
    """What an instance's iterations, and KV between instances, run on."""

    def execution(self, index: int, settled: Settled, cache: KvCache) -> Execution: ...

    def moves(self, log: MoveLog) -> Moves: ...

    def facts(self) -> Facts:
        """What is to be known of the iterations that it ran, for the result and in a note."""


class TimedBackend:
    """Iterations take what they take alone, or beside others at the same memory; moves what they
    take alone: memo, analytic, table."""

    def __init__(
        self,
        env: simpy.Environment,
        setup: Setup,
        timings: Timings,
        interrupt: Interrupt,
        settled: Sequence[Settled],
    ) -> None:
        self._around = neighbours_of(settled)
        self._made: dict[int, TimedExecution] = {}
        self._env = env
        self._setup = setup
        self._timings = timings
        self._interrupt = interrupt

    def execution(self, index: int, settled: Settled, cache: KvCache) -> Execution:
        stage_ps = self._interrupt.prompt(self._timings.of(settled, cache))
        around = self._around[index]
        crowded_ps = self._timings.crowded(settled, cache, around) if around.others else None
        if crowded_ps is not None:
            crowded_ps = self._interrupt.prompt(crowded_ps)
        made = TimedExecution(self._env, stage_ps, host_ps_of(self._setup), crowded_ps)
        for other in around.others:
            if other in self._made:
                made.neighbours.append(self._made[other])
                self._made[other].neighbours.append(made)
        self._made[index] = made
        return made

    def moves(self, log: MoveLog) -> TimedMoves:
        serving, model = self._setup.scenario.serving, self._setup.model
        times = self._timings.transfers
        prompt = self._interrupt.prompt(times.ps)

        def duration_ps(source: Instance, destination: Instance, tokens: int) -> int:
            return prompt(source.settled, destination.settled, tokens)

        layers = model.num_layers if model else 1
        layered = serving.transfer == "layer"
        return TimedMoves(self._env, log, duration_ps, lanes_of, layers, layered)

    def facts(self) -> Facts:
        return self._timings.facts()


class LiveBackend:
    """Iterations and moves are programs of one machine a chip, where they contend."""

    def __init__(
        self,
        env: simpy.Environment,
        setup: Setup,
        timings: Timings,
        interrupt: Interrupt,
        settled: Sequence[Settled],
    ) -> None:
        from npusim.serving.iteration.live import Machines

        self._machines = Machines(env, setup)
        self._timed = TimedBackend(env, setup, timings, interrupt, settled)
        self._env = env
        self._setup = setup
        self._transfers = timings.transfers

    def execution(self, index: int, settled: Settled, cache: KvCache) -> Execution:
        from npusim.serving.iteration.live import LiveExecution

        rows, host_ps = self._transfers.rows, host_ps_of(self._setup)
        return LiveExecution(self._env, self._machines, index, settled, cache, rows, host_ps)

    def moves(self, log: MoveLog) -> Moves:
        from npusim.serving.iteration.live import LiveMoves
        from npusim.serving.iteration.transfer import crosses_links

        machines = self._machines

        def program(handover: Handover) -> Program | None:
            ends = handover.source.settled, handover.destination.settled
            if crosses_links(*ends):
                return None
            engines = machines.engines(handover.source.index)
            return self._transfers.program(*ends, handover.tokens, machines.hardware, engines)

        layered = self._setup.scenario.serving.transfer == "layer"
        return LiveMoves(self._env, log, machines, program, self._timed.moves(log), layered)

    def facts(self) -> Facts:
        return self._machines.facts()


def lanes_of(source: Instance, destination: Instance) -> tuple[Lane, ...]:
    """What a move keeps busy: its source on one chip; between chips the links that leave the one
    and those that reach the other, where instances that run kernels are chips of their own.

    Assumes that moves on one chip meet neither in the NoC nor at their destination.
    """
    ends = source.settled, destination.settled
    if source.settled.row.chip == destination.settled.row.chip or any(
        one.setup.hardware.kernels is not None for one in ends
    ):
        return (("from", source.index),)
    return ("out of", source.settled.row.chip), ("into", destination.settled.row.chip)


def host_ps_of(setup: Setup) -> int:
    return round(setup.scenario.serving.host_us * PS_PER_US)


def backend_of(
    env: simpy.Environment,
    setup: Setup,
    timings: Timings,
    interrupt: Interrupt,
    settled: Sequence[Settled],
) -> Backend:
    """What runs the scenario's iterations."""
    live = setup.scenario.serving.iteration == "live"
    return (LiveBackend if live else TimedBackend)(env, setup, timings, interrupt, settled)
