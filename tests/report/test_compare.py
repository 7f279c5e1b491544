import orjson
import pytest
from report_cases import setup, small_run

from npusim.errors import SpecError
from npusim.report.compare import compare, read_result
from npusim.report.result import result_dict, write_result
from npusim.trace import Run


def test_half_the_run_has_half_the_makespan():
    run = small_run()
    both, half = result_dict(setup(), run), result_dict(setup(), Run(run.iterations[:1]))
    totals, stall_rows, operators = compare(both, half)
    assert totals.rows[0] == ["makespan_ps", "880.000 ns", "440.000 ns", "0.500"]
    assert stall_rows.rows[0] == ["compute", "250.000 ns", "125.000 ns", "-125.000 ns"]
    assert operators.rows == [["up prefill", "1.580 us", "790.000 ns", "-790.000 ns", "0.500"]]


def test_a_result_is_read_by_file_or_directory(tmp_path):
    path = write_result(result_dict(setup(), small_run()), tmp_path)
    assert read_result(path) == read_result(tmp_path) == result_dict(setup(), small_run())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read a result: No such file"),
        (b"{", "is not JSON"),
        (b"[]", "schema_version must be 1, not None"),
        (orjson.dumps({"schema_version": 1, "totals": {}}), "not a whole result: totals, stalls"),
        (orjson.dumps({"schema_version": 9}), "schema_version must be 1, not 9"),
    ],
)
def test_what_is_not_a_result_is_refused(tmp_path, text, message):
    file = tmp_path / "result.json"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(SpecError, match=message):
        read_result(file)
