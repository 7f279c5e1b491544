"""The suite of levels: its cases are what they are called, and the study's targets hold."""

import pytest

from npusim.report.result import result_dict
from npusim.simulate import simulate
from npusim.spec.load import load_scenario, resolve
from npusim.spec.scenario import Fidelity
from npusim.validate.levels import cases, suite
from npusim.validate.levels.congestion import BACKGROUNDS, slow_down
from npusim.validate.levels.measure import BOTH, MEMORY, NOC, Times, measure


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_other_traffic_costs_nothing_at_the_analytic_level_and_a_lot_really(name):
    assert slow_down(name, NOC) == 1
    assert slow_down(name, Fidelity()) >= 1.3


def stalls(case):
    setup = resolve(load_scenario(case.scenario, [*case.overrides], hw=case.hw, model=case.model))
    return result_dict(setup, simulate(setup))["stalls"]


@pytest.mark.parametrize("case", [cases.COMPUTE_BOUND[1], cases.COMPUTE_BOUND[4]])
def test_compute_bound_cases_compute_most_of_the_time(case):
    found = stalls(case)
    assert found["compute_ps"] > 2 * found["wait_memory_ps"]


@pytest.mark.parametrize("case", [cases.MEMORY_BOUND[0], cases.MEMORY_BOUND[4]])
def test_memory_bound_cases_wait_for_memory_most_of_the_time(case):
    found = stalls(case)
    assert found["wait_memory_ps"] > found["compute_ps"]


def test_all_levels_run_the_program_of_the_transactions():
    case = cases.MEMORY_BOUND[1]
    times = measure(case, (MEMORY, NOC, BOTH))
    assert set(times.makespan_ps) == set(times.cpu_s) == {Fidelity(), MEMORY, NOC, BOTH}
    levels = [*case.overrides, "fidelity.memory=analytic", "fidelity.noc=analytic"]
    alone = simulate(resolve(load_scenario(case.scenario, levels, hw=case.hw, model=case.model)))
    assert times.makespan_ps[BOTH] == alone.makespan_ps


def test_a_sequential_stream_is_close_and_a_bad_stride_optimistic():
    close, stride = (measure(cases.ACCESSES[index], (MEMORY,)).makespan_ps for index in (0, 2))
    assert close[MEMORY] == pytest.approx(close[Fidelity()], rel=0.01)
    assert stride[MEMORY] < 0.5 * stride[Fidelity()]


TIMES = Times({Fidelity(): 2_000_000, MEMORY: 1_000_000}, {Fidelity(): 3.0, MEMORY: 1.0})


def test_a_family_has_errors_of_the_analytic_level():
    family = suite._family("f", {"a": TIMES}, MEMORY, note="why")
    (row,) = family.comparisons
    assert (row.ours, row.reference, row.unit) == (1, 2, "us")
    assert row.error_fraction == -0.5 and family.note == "why"


def test_the_speed_up_is_told_on_the_way():
    told: list[str] = []
    suite._tell_speed_up("streams", [TIMES], told.append)
    speed_up = "simulated 3.0x faster here (3.0x to 3.0x)"
    assert told == [f"streams, memory analytic, NoC transaction: {speed_up}\n"]


def test_cases_have_different_names():
    groups = [
        cases.COMPUTE_BOUND + cases.COMPUTE_BOUND_FULL, cases.ACCESSES,
        cases.MEMORY_BOUND + cases.MEMORY_BOUND_FULL, cases.COLLECTIVES + cases.COLLECTIVES_FULL,
    ]  # fmt: skip
    for group in groups:
        assert len({case.name for case in group}) == len(group)
