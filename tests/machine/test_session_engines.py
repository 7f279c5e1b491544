"""Random programs that come at random times: both engines to the ps, and either against a run."""

import random
from unittest import mock

import numpy as np
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from noc_chips import random_chip
from session_cases import random_clock, random_program, submit_at

from npusim.engine import space
from npusim.machine.session import Session
from npusim.machine.system import run
from npusim.program import Program
from npusim.spec.hardware import Hardware


def random_arrivals(rng: random.Random, hw: Hardware) -> list[tuple[int, Program]]:
    """Programs in order of time; several may come at one instant."""
    times = sorted(rng.choice([0, 1000, 3_333, rng.randint(0, 9_000_000)]) for _ in range(4))
    return [(at_ps, random_program(rng, hw)) for at_ps in times]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_both_engines_agree_on_programs_that_come_at_any_time(rng):
    hw = random_clock(rng, random_chip(rng))
    arrivals = random_arrivals(rng, hw)
    assert submit_at(hw, arrivals, engine="fast") == submit_at(hw, arrivals, engine="simpy")


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_both_engines_agree_on_programs_that_follow_one_another(rng):
    """Three clients, each of which submits its next program when one has ended, or a while later,
    and counts what the chip has done by then."""
    hw = random_clock(rng, random_chip(rng))
    plans = [[(random_program(rng, hw, 12), rng.choice([0, 0, 1, 777])) for _ in range(3)]
             for _ in range(3)]  # fmt: skip
    assert _follow(hw, plans, "fast") == _follow(hw, plans, "simpy")


def _follow(hw: Hardware, plans, engine: str) -> tuple:
    env, log = simpy.Environment(), []
    with mock.patch.object(space, "SPARE_WORDS", 0):  # the fast engine's state has to grow
        session = Session(env, hw, engine=engine)

    def client(number, plan):
        for program, pause_ps in plan:
            (ended,) = session.submit(program)
            log.append((number, (yield ended)))
            assert log[-1][1] == env.now
            if pause_ps:
                yield env.timeout(pause_ps)

    for number, plan in enumerate(plans):
        env.process(client(number, plan))
    env.run()
    totals = session.totals()
    columns = (totals.channels, totals.links, totals.cores)
    return log, [{name: column.tolist() for name, column in table.items()} for table in columns]


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_programs_submitted_at_one_instant_are_as_one_program(rng):
    hw = random_clock(rng, random_chip(rng))
    first, second = (random_program(rng, hw) for _ in range(2))
    ends = submit_at(hw, [(0, first), (0, second)])
    assert ends[0] + ends[1] == run(joined(first, second), hw).end_ps.tolist()


def joined(first: Program, second: Program) -> Program:
    """The tasks of both, one after the other."""
    n = len(first)
    columns = {
        name: np.concatenate([column, second.columns[name]])
        for name, column in first.columns.items()
    }
    partner = columns["match"][n:]
    columns["match"][n:] = np.where(partner >= 0, partner + n, partner)
    starts = np.concatenate([first.dep_start, second.dep_start[1:] + len(first.deps)])
    return Program(columns, starts, np.concatenate([first.deps, second.deps + n]), first.ops)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_program_alone_is_as_a_run_and_the_same_each_time(rng):
    hw = random_clock(rng, random_chip(rng))
    program = random_program(rng, hw)
    once = submit_at(hw, [(0, program)])
    assert once == [run(program, hw).end_ps.tolist()]
    assert once == submit_at(hw, [(0, program)])
