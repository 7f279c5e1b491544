"""The constants of stacks.csv are what their fit rows give."""

import numpy as np
import pytest

from npusim.validate.measured import suite
from npusim.validate.measured.figures import FIGURES, UNIT_S
from npusim.validate.measured.rows import Row
from npusim.validate.measured.stacks import Stack, is_fit, stacks
from npusim.validate.measured.steps import StepTimes


def fit_rows(stack: str) -> list[Row]:
    rows = suite.simulated_rows(True)
    return [row for row in rows if suite.source_of(row) == stack and is_fit(stack, row)]


def missing_s(row: Row) -> float:
    """What a measured time has beyond that of the kernels."""
    ours = FIGURES[row.metric](row, StepTimes(row.served), Stack())
    return (row.value - ours) * UNIT_S[row.unit]


def test_a_call_of_a_static_batch():
    rows = fit_rows("trtllm-static")
    assert len(rows) == 5
    assert np.mean([missing_s(row) for row in rows]) == pytest.approx(
        stacks()["trtllm-static"].call_s, rel=0.1
    )


def test_a_request_through_nemo():
    """A line through the mean of each batch size."""
    rows = fit_rows("nemo")
    means = [np.mean([missing_s(r) for r in rows if r.batch == batch]) for batch in ("1", "8")]
    slope_s = (means[1] - means[0]) / 7
    assert len(rows) == 4
    assert stacks()["nemo"].request_s == pytest.approx(slope_s, rel=0.1)
    assert stacks()["nemo"].call_s == pytest.approx(means[0] - slope_s, rel=0.1)


@pytest.mark.slow
def test_a_decode_step_on_tenstorrent():
    (row,) = fit_rows("tt-metal")
    step_s = 1 / row.value - 1 / FIGURES[row.metric](row, StepTimes(row.served), Stack())
    assert stacks()["tt-metal"].step_s == pytest.approx(step_s, rel=0.1)


def test_times_add_up():
    assert Stack(call_s=1.0, request_s=0.5).added_s(4) == 3.0
