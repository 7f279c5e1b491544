"""Programs that come while others run on a chip: timelines by hand."""

import random
from unittest import mock

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from noc_chips import ENGINES, TIMING, assemble, small_core
from session_cases import by_task, random_program, submit_at

from npusim.engine import space
from npusim.errors import DeadlockError, SpecError
from npusim.machine.session import Session, first_tick, last_tick
from npusim.machine.system import run
from npusim.program import Program, ProgramBuilder, array_unit
from npusim.spec.hardware import Hardware, Memory
from npusim.spec.scenario import Fidelity
from npusim.units import cycles_to_ps

both_engines = pytest.mark.parametrize("engine", ENGINES)


def chip(attach="core", noc_mhz=1000.0, columns=3, **noc) -> Hardware:
    """A row of cores of 1 GHz with a channel each, or (`group`) one of all."""
    memory = Memory(attach=attach, capacity_gib=1, channels=1, timing=TIMING)
    return assemble(1, columns, small_core(), memory, clock_mhz=noc_mhz, **noc)


def computes(*cycles: int, core=0, unit=0) -> Program:
    """Tasks of one unit, one after the other."""
    b = ProgramBuilder()
    op = b.op("test", "test")
    for c in cycles:
        b.compute(core, array_unit(unit), op, c)
    return b.build()


def load(core: int, num_bytes=1024, memory=0) -> Program:
    b = ProgramBuilder()
    b.load(core, b.op("test", "test"), memory=memory, address=0, num_bytes=num_bytes)
    return b.build()


def message(src: int, dst: int, num_bytes: int) -> Program:
    b = ProgramBuilder()
    b.message(src, dst, b.op("test", "test"), num_bytes)
    return b.build()


@both_engines
def test_a_program_that_follows_another_one_begins_a_tick_after_its_end(engine):
    env = simpy.Environment()
    session = Session(env, chip(), engine=engine)
    log = []

    def client():
        for _ in range(3):
            (end,) = session.submit(computes(100))
            log.append(((yield end), env.now))

    env.process(client())
    env.run()
    assert log == [(t, t) for t in (100_000, 201_000, 302_000)]


@both_engines
@pytest.mark.parametrize(
    ("at_ps", "begin_tick"),
    [(0, 0), (1, 1), (666, 1), (667, 1), (668, 2), (1333, 2), (1334, 2), (1335, 3), (2000, 3)],
)
def test_a_program_begins_at_the_first_tick_that_is_not_before_it(engine, at_ps, begin_tick):
    """Ticks of 1.5 GHz, in ps rounded up: 0, 667, 1334, 2000."""
    hw = chip(noc_mhz=1500)
    assert submit_at(hw, [(at_ps, computes(2))], engine=engine) == [
        [cycles_to_ps(begin_tick + 3, hw.noc.khz)]
    ]


@given(st.integers(0, 1 << 60), st.sampled_from([937_500, 1_000_000, 1_500_000, 2_619_000]))
def test_a_tick_is_found_again_from_its_time(tick, khz):
    ps = cycles_to_ps(tick, khz)
    assert first_tick(ps, khz) == tick == last_tick(ps, khz)
    assert first_tick(ps + 1, khz) == tick + 1
    assert last_tick(ps - 1, khz) == tick - 1


@both_engines
def test_a_queue_takes_tasks_in_the_order_of_submission(engine):
    """The second program's tasks on unit 0 wait behind the first's, one of which is not ready yet;
    on unit 1 it need not wait."""
    b = ProgramBuilder()
    op = b.op("test", "test")
    slow = b.compute(0, array_unit(2), op, 500)
    b.compute(0, array_unit(0), op, 10, [slow])
    second = computes(5)
    other = computes(5, unit=1)
    ends = submit_at(chip(), [(0, b.build()), (20_000, second), (20_000, other)], engine=engine)
    assert ends == [[500_000, 510_000], [515_000], [25_000]]


@both_engines
def test_a_submission_at_the_instant_of_a_tick_is_part_of_it(engine):
    """Both tasks want the same unit at tick 50: the earlier submission gets it, though both are
    there before anything else happens in the tick."""
    ends = submit_at(
        chip(), [(0, computes(50)), (50_000, computes(7)), (50_000, computes(9))], engine=engine
    )
    assert ends == [[50_000], [57_000], [66_000]]


@both_engines
def test_programs_on_other_cores_with_other_memory_run_as_alone(engine):
    hw = chip()
    alone = run(load(0), hw, engine=engine).makespan_ps
    ends = submit_at(hw, [(0, load(0)), (7_000, load(1, memory=1))], engine=engine)
    assert ends == [[alone], [7_000 + alone]]


@both_engines
def test_programs_share_a_memory_channel(engine):
    """The second load of 1 KiB at 32 B/ns, of the row that the first has opened, has its data right
    behind the first's on the bus."""
    hw = chip(attach="group")
    first_data, length, answer = 20 + 14 + 16, 32, 20 + 1024 // 64
    ends = submit_at(hw, [(0, load(0)), (10_000, load(1))], engine=engine)
    assert ends[0] == [(first_data + length + answer) * 1000]
    assert ends[1] == [(first_data + 2 * length + answer) * 1000]


@both_engines
def test_programs_share_a_link(engine):
    """Two messages leave core 0 by the same link, which their flits keep busy without a gap: the
    second's are all behind the first's, injected earlier."""
    hw = chip(min_packet_bytes=1024, max_packet_bytes=1024)
    flits, port, hops = 1024 // 32, 1024 // 64, 1 + 3 * 2
    ends = submit_at(hw, [(0, message(0, 1, 1024)), (3_000, message(0, 1, 1024))], engine=engine)
    arrival = port + hops + flits
    assert ends[0] == [(port + flits) * 1000, (arrival + port) * 1000]
    assert ends[1] == [(port + 2 * flits) * 1000, (arrival + flits + port) * 1000]


@both_engines
def test_each_group_tells_its_own_end(engine):
    """Two layers: each sends a message beside its computation; nothing waits for the messages."""
    b = ProgramBuilder()
    op = b.op("test", "test")
    group = []
    last = ()
    for layer in range(2):
        last = (b.compute(0, array_unit(0), op, 1000, last),)
        b.message(0, 1, op, 64, last)
        group += [2 * layer, 2 * layer + 1, 2 * layer + 1]
    program = b.build()
    env = simpy.Environment()
    session = Session(env, chip(), engine=engine)
    events = session.submit(program, np.array(group))
    env.run()
    way = 1 + 2 + (1 + 3 * 2) + 1  # port, flits, hops, port … of 64 bytes
    assert [event.value for event in events] == [
        1_000_000, (1000 + way) * 1000, 2_000_000, (2000 + way) * 1000,
    ]  # fmt: skip


@both_engines
def test_groups_without_tasks_end_at_once(engine):
    env = simpy.Environment(initial_time=5)
    session = Session(env, chip(), engine=engine)
    (of_nothing,) = session.submit(ProgramBuilder().build())
    none, some = session.submit(computes(10), np.array([1]))
    env.run()
    assert (of_nothing.value, none.value, some.value) == (5, 5, 11_000)


@both_engines
def test_a_chip_may_idle_for_a_second(engine):
    second_ps = 1_000_000_000_000
    ends = submit_at(chip(), [(0, computes(5)), (second_ps, computes(5))], engine=engine)
    assert ends == [[5_000], [second_ps + 5_000]]


@both_engines
def test_two_chips_in_one_environment_run_as_alone(engine):
    env, hw = simpy.Environment(), chip()
    programs = [random_program(random.Random(seed), hw) for seed in range(2)]
    events = [Session(env, hw, engine=engine).submit(p, by_task(p)) for p in programs]
    env.run()
    for program, ends in zip(programs, events, strict=True):
        assert [e.value for e in ends] == run(program, hw, engine=engine).end_ps.tolist()


@both_engines
def test_totals_add_up(engine):
    env = simpy.Environment()
    session = Session(env, chip(), engine=engine)
    session.submit(load(0))
    env.run()
    session.submit(message(0, 2, 640))
    env.run()
    totals = session.totals()
    assert totals.channels["read_bytes"].tolist() == [1024, 0, 0]
    assert totals.cores["port_bytes"].tolist() == [1024 + 640, 0, 640]
    assert len(totals.links["bytes"]) == len(totals.link_names)
    assert totals.channel_names == [f"hbm core {core} ch0" for core in range(3)]
    assert totals.core_names == ["0,0", "0,1", "0,2"]


def _crossed_receives() -> Program:
    """Each core receives only after its own send has ended: no handshake can come about."""
    b = ProgramBuilder()
    op = b.op("test", "test")
    send0 = b.task(3, 0, 32, op, num_bytes=64, peer=1, match=3)
    send1 = b.task(3, 1, 32, op, num_bytes=64, peer=0, match=2)
    b.task(4, 0, -1, op, [send0], num_bytes=64, peer=1, match=send1)
    b.task(4, 1, -1, op, [send1], num_bytes=64, peer=0, match=send0)
    return b.build()


@both_engines
def test_a_deadlock_is_told_once_everything_else_has_ended(engine):
    env = simpy.Environment()
    session = Session(env, chip(protocol="handshake"), engine=engine)
    (other,) = session.submit(computes(100_000))
    session.submit(_crossed_receives())
    with pytest.raises(DeadlockError, match=r"cannot proceed.*core 0.*core 1"):
        env.run()
    assert other.value == 100_000_000 and other.processed


def test_an_analytic_noc_is_refused():
    with pytest.raises(SpecError, match=r"fidelity.noc must be transaction"):
        Session(simpy.Environment(), chip(), fidelity=Fidelity(noc="analytic"))


def test_an_unknown_engine_is_refused():
    with pytest.raises(SpecError, match="engine must be one of fast, simpy"):
        Session(simpy.Environment(), chip(), engine="slow")


@both_engines
def test_analytic_memory_is_that_of_a_run(engine):
    hw, levels = chip(), Fidelity(memory="analytic")
    program = random_program(random.Random(3), hw)
    (ends,) = submit_at(hw, [(0, program)], engine=engine, fidelity=levels)
    assert ends == run(program, hw, engine=engine, fidelity=levels).end_ps.tolist()


def test_memory_of_programs_that_have_ended_is_used_again():
    """Two at a time, of many sizes: after the first few the state no longer grows."""
    with mock.patch.object(space, "SPARE_WORDS", 0):
        session = Session(simpy.Environment(), chip())
    env, sizes = session._env, []

    def client(rng):
        for _ in range(100):
            (ended,) = session.submit(computes(*([3] * rng.choice([10, 400, 1000]))))
            yield ended
            sizes.append(len(session._machine.arena.words))

    for seed in range(2):
        env.process(client(random.Random(seed)))
    env.run()
    assert len(sizes) == 200 and sizes[0] < sizes[40] == sizes[-1]
