import orjson
from report_cases import keys
from serve_cases import make_run, setup, small_run

from npusim.report.result import write_result
from npusim.report.serve.metrics import serve_metrics
from npusim.report.serve.result import serve_result
from npusim.report.serve.schema import OPEN_KEYS, SERVE_KEYS
from npusim.spec.serving import Slo


def result_of(run, slo=None):
    return serve_result(setup(), run, serve_metrics(run, slo))


def test_every_key_is_documented_and_every_documented_key_is_there():
    result = result_of(small_run(), Slo(ttft_ms=1))
    assert set(keys(result, OPEN_KEYS)) == set(SERVE_KEYS)


def test_an_empty_run_has_no_other_keys():
    assert set(keys(result_of(make_run()), OPEN_KEYS)) <= set(SERVE_KEYS)


def test_the_result_says_what_iterations_are_from_and_why_it_ended(tmp_path):
    run = small_run(partial="interrupted", notes=["a", "b", "a"], iteration_facts={"rows": 3})
    path = write_result(result_of(run), tmp_path)
    found = orjson.loads(path.read_bytes())
    assert found["iteration"] == {"kind": "table", "facts": {"rows": 3}}
    assert (found["partial"], found["notes"]) == ("interrupted", ["a", "b"])
    assert found["instances"][1]["cores"] == [1]
    assert found["scenario"]["serving"]["table"] == "somewhere"


def test_the_same_run_gives_the_same_bytes(tmp_path):
    first = write_result(result_of(small_run()), tmp_path / "a").read_bytes()
    assert write_result(result_of(small_run()), tmp_path / "b").read_bytes() == first
