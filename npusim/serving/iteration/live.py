"""Batches of instances → programs on one machine: iterations and moves of KV contend there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import simpy

from npusim.errors import SpecError
from npusim.graph.batch import Slice
from npusim.machine.session import Session
from npusim.passes.kv_flows import KvRow, kv_home
from npusim.passes.kv_transfer import Move, append_kv_transfer
from npusim.passes.move_engines import MoveEngines, engines_of, with_move_engines
from npusim.passes.shared.chip import sustained
from npusim.program import Program
from npusim.serving.instance import Instance
from npusim.serving.iteration.transfer import crosses_links
from npusim.serving.kv.cache import KvCache
from npusim.serving.moves import Handover, MoveLog, TimedMoves
from npusim.serving.request import Request, Work
from npusim.serving.settle import Settled
from npusim.simulate import lower_batch
from npusim.spec.load import Setup


class Machines:
    """The chips of a scenario, each a session of its own in one simulated time.

    Of KV that leaves beside its iteration, by request: `planned`, where it goes, until the
    iteration is launched; `moved`, the event of its arrival, until someone waits for it.
    """

    def __init__(self, env: simpy.Environment, setup: Setup) -> None:
        self._env = env
        self._setup = setup
        roles = (one.count for one in setup.scenario.serving.instances if one.role == "prefill")
        self._num_sources = sum(roles)
        self.hardware = with_move_engines(sustained(setup.hardware), self._num_sources)
        self._sessions: dict[int, Session] = {}
        self.planned: dict[int, Settled] = {}
        self.moved: dict[int, simpy.Event] = {}

    def of(self, index: int, settled: Settled) -> Session:
        """The chip of instance `index`; one that runs kernels has its chips to itself.

        Raises SpecError for pipeline stages there, whose chips are simulated as one.
        """
        kernels = self._setup.hardware.kernels is not None
        if kernels and settled.row.pp > 1:
            raise SpecError(
                f"must be 1 with iteration live on {self._setup.hardware.name}, not "
                f"{settled.row.pp}; memo has stages there",
                "parallel.pp",
            )
        chip = index if kernels else settled.row.chip
        if chip not in self._sessions:
            scenario = self._setup.scenario
            self._sessions[chip] = Session(
                self._env, self.hardware,
                engine=scenario.engine, fidelity=scenario.fidelity,
            )  # fmt: skip
        return self._sessions[chip]

    def facts(self) -> dict[str, object]:
        """How busy the chips were from the start to now: memory channels and links of the NoC, on
        average and the busiest."""
        now_ps = int(self._env.now)
        totals = [session.totals() for session in self._sessions.values()]
        if not now_ps or not totals:
            return {}
        facts: dict[str, object] = {}
        for name in ("channels", "links"):
            busy = np.concatenate([getattr(one, name)["busy_ps"] for one in totals]) / now_ps
            if len(busy):
                facts[f"{name}_busy_mean_fraction"] = round(float(busy.mean()), 6)
                facts[f"{name}_busy_most_fraction"] = round(float(busy.max()), 6)
        return facts

    def engines(self, index: int) -> MoveEngines:
        """DMA engines of what instance `index` moves."""
        return engines_of(self._setup.hardware, index, self._num_sources)


class LiveExecution:
    """Iterations of one instance as programs of the machine it lies on. With pipeline stages, the
    next program is submitted when the first stage's tasks have ended, and its tasks queue behind.
    The KV of a prompt leaves layer by layer, beside the iteration that ends it, where the machines
    have it as planned.
    """

    def __init__(
        self,
        env: simpy.Environment,
        machines: Machines,
        index: int,
        settled: Settled,
        cache: KvCache,
        rows: Sequence[KvRow],
        host_ps: int = 0,
    ) -> None:
        self._env = env
        self._machines = machines
        self._index = index
        self._session = machines.of(index, settled)
        self._settled = settled
        self._cache = cache
        self._rows = rows
        self._host_ps = host_ps

    def launch(self, works: Sequence[Work], delay_ps: int = 0) -> tuple[simpy.Event, simpy.Event]:
        """(the first stage is free, all tokens are out)."""
        program = self._lower(works)
        group = self._stage_groups(program)
        planned, moved = self._machines.planned, self._machines.moved
        moving = [
            (work, planned.pop(work.request.request_id))
            for work in works
            if work.request.request_id in planned
        ]
        if moving:
            program, group = self._with_moves(program, moving)
        free, done = self._env.event(), self._env.event()
        leave = [self._env.event() for _ in moving]
        for (work, _), event in zip(moving, leave, strict=True):
            moved[work.request.request_id] = event
        self._env.process(self._run(program, group, delay_ps, free, done, leave))
        return (done, done) if self._settled.row.pp == 1 else (free, done)

    def _lower(self, works: Sequence[Work]) -> Program:
        batch = tuple(Slice(w.new_tokens, w.context_tokens, w.samples) for w in works)
        fraction = self._cache.resident_fraction([work.request for work in works])
        share = replace(self._settled.share, kv_resident_fraction=fraction)
        return lower_batch(self._settled.setup, batch, share)

    def _stage_groups(self, program: Program) -> np.ndarray:
        """Group 0: tasks of the first stage; 1: those of the others."""
        found = self._settled.footprint
        if self._settled.row.pp == 1 or found is None:
            return np.zeros(len(program), np.int64)
        return np.where(np.isin(program.core, found.groups[0]), 0, 1)

    def _with_moves(
        self, program: Program, moving: Sequence[tuple[Work, Settled]]
    ) -> tuple[Program, np.ndarray]:
        """The program with moves of KV beside it: groups 2, 3, …, one a request."""
        assert self._settled.footprint
        moves = []
        for work, destination in moving:
            assert destination.footprint
            moves.append(Move(kv_home(destination.footprint), work.new_tokens, work.context_tokens))
        setup = self._settled.setup
        merged, own = append_kv_transfer(
            program, self._rows, moves, kv_home(self._settled.footprint),
            self._machines.hardware, setup.scenario.dtype, self._machines.engines(self._index),
        )  # fmt: skip
        return merged, np.where(own == 0, self._stage_groups(merged), own + 1)

    def _run(
        self,
        program: Program,
        group: np.ndarray,
        delay_ps: int,
        free: simpy.Event,
        done: simpy.Event,
        leave: Sequence[simpy.Event],
    ):
        if self._host_ps + delay_ps:
            yield self._env.timeout(self._host_ps + delay_ps)
        events = self._session.submit(program, group)
        stages = events[:2]
        for own, event in zip(leave, events[2:], strict=True):
            event.callbacks.append(partial(_happen, own))
        yield stages[0]
        free.succeed()
        if len(stages) > 1:
            yield stages[1]
        done.succeed()


def _happen(event: simpy.Event, _: simpy.Event) -> None:
    event.succeed()


class LiveMoves:
    """Moves as programs of the machine that both instances lie on; between chips, and where there
    is no such program, they take what `others` says. One that went out layer by layer beside its
    iteration has only to arrive."""

    def __init__(
        self,
        env: simpy.Environment,
        log: MoveLog,
        machines: Machines,
        program: Callable[[Handover], Program | None],
        others: TimedMoves,
        layered: bool,
    ) -> None:
        self.env = env
        self.log = log
        self._machines = machines
        self._program = program
        self._others = others
        self.plans_ahead = layered

    def plan(self, request: Request, source: Instance, destination: Instance) -> None:
        """As `Moves.plan`; the iteration's program has the move where it stays on the chip."""
        if not crosses_links(source.settled, destination.settled):
            self._machines.planned[request.request_id] = destination.settled

    def start(self, handover: Handover) -> simpy.Event:
        """As `Moves.start`."""
        begun = self._machines.moved.pop(handover.request.request_id, None)
        if begun is not None:
            return self.env.process(self._wait(begun, handover, handover.prompt_start_ps))
        program = self._program(handover)
        if program is None:
            return self._others.start(handover)
        source = handover.source
        moved = self._machines.of(source.index, source.settled).submit(program)[0]
        return self.env.process(self._wait(moved, handover, int(self.env.now)))

    def _wait(self, moved: simpy.Event, handover: Handover, begin_ps: int):
        if not moved.processed:
            yield moved
        self.log.add_handover(handover, begin_ps, int(self.env.now))
