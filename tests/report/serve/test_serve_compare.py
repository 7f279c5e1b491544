import copy

import pytest
from report_cases import setup as run_setup
from report_cases import small_run as small_simulation
from serve_cases import setup, small_run

from npusim.errors import SpecError
from npusim.report.compare import compare, read_result
from npusim.report.result import result_dict, write_result
from npusim.report.serve.metrics import serve_metrics
from npusim.report.serve.result import serve_result


@pytest.fixture
def served():
    run = small_run()
    return serve_result(setup(), run, serve_metrics(run))


def rows_of(tables, title):
    return {row[0]: row[1:] for row in next(t for t in tables if t.title == title).rows}


def test_a_result_and_itself_differ_in_nothing(served):
    for table in compare(served, served):
        assert all(row[1] == row[2] for row in table.rows), table.title
        assert all(row[-1] in ("1.000", "-") for row in table.rows if len(row) > 3), table.title


def test_twice_the_latency_is_twice_the_latency(served):
    slower = copy.deepcopy(served)
    slower["metrics"]["ttft"]["mean_ps"] = 2 * served["metrics"]["ttft"]["mean_ps"]
    assert rows_of(compare(served, slower), "Latencies")["ttft mean"][-1] == "2.000"
    assert rows_of(compare(slower, served), "Latencies")["ttft mean"][-1] == "0.500"


def test_a_figure_that_one_lacks_is_a_dash(served):
    nothing = copy.deepcopy(served)
    nothing["metrics"]["makespan_ps"] = None
    row = rows_of(compare(served, nothing), "Totals")["makespan"]
    assert row[0] != "-" and row[1:] == ["-", "-"]


def test_a_result_of_serving_is_read_from_its_folder(served, tmp_path):
    write_result(served, tmp_path)
    assert rows_of(compare(read_result(tmp_path), served), "Totals")


def test_results_of_two_commands_are_not_compared(served):
    other = result_dict(run_setup(), small_simulation())
    with pytest.raises(SpecError, match="A is a result of npusim serve, B of npusim run"):
        compare(served, other)
