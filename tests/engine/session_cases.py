"""Submitting programs to a chip that lives on, and programs of any kind, for tests of sessions."""

import random

import numpy as np
import simpy

from npusim.machine.session import Session
from npusim.program import Program, ProgramBuilder, array_unit
from npusim.spec.hardware import Hardware


def by_task(program: Program) -> np.ndarray:
    return np.arange(len(program))


def submit_at(hw: Hardware, arrivals: list[tuple[int, Program]], **options) -> list[list[int]]:
    """Submits programs at given times (ps), in order; returns when each of their tasks ended."""
    env = simpy.Environment()
    session = Session(env, hw, **options)
    ends: list[list[int]] = [[] for _ in arrivals]

    def client(index, at_ps, program):
        yield env.timeout(at_ps)
        for event in session.submit(program, by_task(program)):
            ends[index].append((yield event))

    for index, (at_ps, program) in enumerate(arrivals):
        env.process(client(index, at_ps, program))
    env.run()
    return ends


def random_clock(rng: random.Random, hw: Hardware) -> Hardware:
    """The chip with a NoC whose ticks are no whole number of ps, or are."""
    noc = hw.noc.model_copy(update={"clock_mhz": rng.choice([1000.0, 937.5, 1500.0, 2619.0])})
    return hw.model_copy(update={"noc": noc})


def random_program(rng: random.Random, hw: Hardware, most=30) -> Program:
    """Tasks of all kinds that wait for some of those before them."""
    b = ProgramBuilder()
    op, cores = b.op("test", "test"), hw.mesh.num_cores
    for _ in range(rng.randint(1, most)):
        core, size = rng.randrange(cores), rng.choice([1, 64, 700, 5000])
        after = rng.sample(range(len(b)), min(len(b), rng.choice([0, 0, 1, 2])))
        kind = rng.choice(["compute", "load", "store", "message", "message", "sync"])
        if kind == "compute":
            unit = array_unit(rng.randrange(2))
            b.compute(core, unit, op, rng.randint(0, 2000), after, sram_bytes=size)
        elif kind == "message" and cores > 1:
            peer, received = (core + rng.randrange(1, cores)) % cores, after[: rng.randrange(2)]
            b.message(core, peer, op, size, after, received)
        elif kind == "sync":
            b.sync(core, op, after)
        else:
            add = b.store if kind == "store" else b.load
            add(core, op, _memory(hw, core), rng.randrange(1 << 14) * 64, size, after)
    return b.build()


def _memory(hw: Hardware, core: int) -> int:
    """A memory instance that the core reaches."""
    return next(i.memory_id for i in hw.memory_instances() if not i.cores or core in i.cores)
