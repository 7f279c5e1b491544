"""Two runs of one program → the comparison of result.json and its tables."""

from dataclasses import replace

import pytest
from report_cases import keys, small_run

from npusim.report.fidelity import compare_levels, fidelity_tables
from npusim.report.schema import FIDELITY_KEYS
from npusim.spec.scenario import Fidelity
from npusim.trace import Run

LEVELS = Fidelity(memory="analytic")


def comparison():
    detailed = small_run()
    first, second = detailed.iterations
    shorter = replace(first, makespan_ps=first.makespan_ps - 44_000)
    coarse = Run([shorter, second], [], {"simulation": 0.5})
    second.start_ps -= 44_000
    timed = Run(small_run().iterations, [], {"graph": 0.5, "lowering": 1.0, "simulation": 4.5})
    return compare_levels(timed, coarse, LEVELS)


def test_every_key_is_documented_and_every_documented_key_is_there():
    assert set(keys(comparison())) == set(FIDELITY_KEYS)


def test_errors_are_of_the_analytic_level_against_every_transaction():
    found = comparison()
    assert (found["memory"], found["noc"]) == ("analytic", "transaction")
    assert (found["transaction_ps"], found["analytic_ps"]) == (880_000, 836_000)
    assert found["error_fraction"] == pytest.approx(-0.05)
    assert [row["error_fraction"] for row in found["iterations"]] == [pytest.approx(-0.1), 0]


def test_speed_ups_with_and_without_what_both_runs_share():
    found = comparison()
    assert found["simulation_speed_up"] == 9
    assert found["speed_up"] == pytest.approx(6.0 / 2.0)


def test_core_time_of_kinds_sums_to_that_of_all_operators():
    detailed = small_run()
    found = compare_levels(detailed, detailed, LEVELS)
    assert all(row["error_fraction"] == 0 and row["cause_ps"] == 0 for row in found["per_kind"])
    assert {row["kind"] for row in found["per_kind"]} == {
        op.kind for op in detailed.iterations[0].trace.program.ops
    }


def test_tables_name_what_is_analytic_and_rank_by_difference():
    whole, iterations, kinds = fidelity_tables(comparison())
    assert whole.title == "Fidelity: every transaction against analytic memory"
    assert whole.rows[0] == ["makespan", "880.000 ns", "836.000 ns", "-5.00 %"]
    assert whole.rows[1:] == [
        ["CPU s, simulation", "4.500", "0.500", "9.0x"],
        ["CPU s, with lowering", "6.000", "2.000", "3.0x"],
    ]
    assert iterations.rows[0][-1] == "-10.00 %"
    assert all(len(row) == len(kinds.columns) for row in kinds.rows)
