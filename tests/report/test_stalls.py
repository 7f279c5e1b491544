import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from report_cases import make_trace, small_program, small_run, small_trace

from npusim.program import COMPUTE, LOAD, NO_UNIT, RECV, SEND, STORE, SYNC, ProgramBuilder
from npusim.report.stalls import CAUSES, run_stalls, stalls, stalls_by_trace, stretch
from npusim.trace import Iteration

PRIORITY = {COMPUTE: 0, LOAD: 1, STORE: 1, SEND: 2, RECV: 2}


def brute_force(program, start, end, makespan, core):
    """Every picosecond looked at by itself."""
    result = [0] * len(CAUSES)
    mine = [i for i in range(len(program)) if program.core[i] == core and end[i] >= 0]
    for t in range(makespan):
        active = [
            PRIORITY[int(program.kind[i])]
            for i in mine
            if program.kind[i] != SYNC and start[i] <= t < end[i]
        ]
        left = any(end[i] > t for i in mine)
        result[min(active) if active else 3 if left else 4] += 1
    return result


tasks = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 2), st.integers(0, 30), st.integers(0, 9), st.booleans()
    ),
    max_size=12,
)


@given(tasks, st.integers(0, 5))
def test_every_picosecond_has_one_cause(rows, extra):
    b = ProgramBuilder()
    b.op("x", "matmul")
    start, end = [], []
    for kind, core, begin, length, ran in rows:
        b.task(kind, core, NO_UNIT, 0)
        start.append(begin if ran else -1)
        end.append(begin + (0 if kind == SYNC else length) if ran else -1)
    program = b.build()
    makespan = max(end, default=0) + extra if end else extra
    makespan = max(makespan, 0)
    trace = make_trace(program, start or [], end or [], makespan, num_cores=3)
    found = stalls(trace)
    for core in range(3):
        assert found.cores_ps[core].tolist() == brute_force(program, start, end, makespan, core)
    assert found.ops_ps[0].tolist() == found.cores_ps[:, :4].sum(axis=0).tolist()


def test_the_chain_of_two_cores():
    found = stalls(small_trace())
    assert found.cores_ps.tolist() == [
        [200_000, 100_000, 50_000, 0, 90_000],
        [50_000, 30_000, 50_000, 310_000, 0],
    ]
    assert found.ops_ps.tolist() == [[200_000, 100_000, 0, 0], [50_000, 30_000, 100_000, 310_000]]


def test_a_wait_is_charged_to_the_operator_that_follows():
    b = ProgramBuilder()
    first, second = b.op("a", "matmul"), b.op("b", "matmul")
    b.compute(0, 1, first, 10)
    b.compute(0, 1, second, 10)
    found = stalls(make_trace(b.build(), [0, 25], [10, 40]))
    assert found.ops_ps.tolist() == [[10, 0, 0, 0], [15, 0, 0, 15]]


def test_iterations_add_up_to_the_makespan_of_the_run():
    run = small_run()
    assert (run_stalls(run, stalls_by_trace(run)).sum(axis=1) == run.makespan_ps).all()
    assert run_stalls(run, stalls_by_trace(run))[0].tolist() == [
        400_000,
        200_000,
        100_000,
        0,
        180_000,
    ]


def test_a_gap_between_iterations_is_idle():
    run = small_run()
    run.iterations[1].start_ps += 7
    assert run_stalls(run, stalls_by_trace(run))[0].tolist() == [
        400_000,
        200_000,
        100_000,
        0,
        180_007,
    ]


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**14), min_size=5, max_size=5))
def test_stretched_rows_still_sum_exactly(makespan, row):
    trace = make_trace(small_program(), [0] * 6, [0] * 6, makespan=sum(row))
    stretched = stretch(np.array([row]), Iteration("x", 0, makespan, trace))
    assert stretched.sum() == (makespan if sum(row) else 0)
    assert (stretched >= 0).all()
