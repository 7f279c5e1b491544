import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from npusim.report.lanes import lanes

intervals = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), min_size=1, max_size=30)


@given(intervals)
def test_nothing_overlaps_within_a_lane_and_no_lane_is_wasted(rows):
    rows = sorted((a, a + n) for a, n in rows)
    start, end = (np.array(column) for column in zip(*rows, strict=True))
    found = lanes(start, end).tolist()
    for i, (a, b) in enumerate(rows):
        for j, (c, d) in enumerate(rows[:i]):
            assert found[i] != found[j] or d <= a or (a, b) == (c, d) == (a, a)
    most = max(sum(a <= t < b for a, b in rows) for t in range(40))
    assert max(found) + 1 <= max(most, 1) + sum(a == b for a, b in rows)


def test_the_lowest_free_lane_is_taken():
    start, end = np.array([0, 1, 2, 10, 12]), np.array([5, 3, 9, 12, 13])
    assert lanes(start, end).tolist() == [0, 1, 2, 0, 0]
