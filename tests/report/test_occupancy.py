import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from report_cases import make_trace, small_trace

from npusim.program import ProgramBuilder
from npusim.report.occupancy import occupancy

loads = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(1, 99)), min_size=1, max_size=9
)


def held_at(rows, t):
    return sum(size for start, length, size in rows if start <= t < start + length)


@given(loads)
def test_the_level_is_what_is_held_at_each_time(rows):
    b = ProgramBuilder()
    b.op("x", "matmul")
    for _, _, size in rows:
        b.load(0, 0, 0, 0, size)
    trace = make_trace(b.build(), [r[0] for r in rows], [r[0] + r[1] for r in rows])
    (times, levels), (no_times, _) = occupancy(trace)
    for t in range(trace.makespan_ps + 1):
        assert levels[np.searchsorted(times, t, side="right") - 1] == held_at(rows, t)
    assert len(no_times) == 0


def test_what_is_loaded_stays_until_its_last_user_ends():
    (times, levels), (received, received_levels) = occupancy(small_trace())
    assert list(zip(times.tolist(), levels.tolist(), strict=True)) == [(0, 1600), (441 * 681, 0)]
    assert received_levels.tolist() == [0, 800, 0]
    assert received.tolist() == [0, 441 * 702, 441 * 930]
