import numpy as np
import orjson
import pytest
from report_cases import HARDWARE, keys, setup, small_run, small_trace

from npusim.report.result import result_dict, write_result
from npusim.report.schema import OPEN_KEYS, RESULT_KEYS
from npusim.trace import Iteration, Run


@pytest.fixture
def result():
    return result_dict(setup(), small_run())


def test_every_key_is_documented_and_every_documented_key_is_there(result):
    assert set(keys(result, OPEN_KEYS)) == set(RESULT_KEYS)


def test_totals_of_two_equal_iterations(result):
    totals = result["totals"]
    assert totals["makespan_ps"] == 880_000
    assert totals["flops"] == 2 * 3210
    assert (totals["load_bytes"], totals["store_bytes"], totals["message_bytes"]) == (
        3200,
        800,
        1600,
    )
    assert totals["new_tokens"] == 5 and totals["output_tokens"] == 2
    assert totals["peak_flops_s"] == 2 * 2 * 16 * 1e9
    assert totals["flops_fraction"] == pytest.approx(6420 / 880e-9 / 64e9)
    assert totals["memory_fraction"] == pytest.approx(4000 / 880 / 32)


def test_memories_of_one_name_are_taken_together(result):
    assert result["per_memory"] == [
        {"name": "hbm", "gb_s": 4000 / 880, "used_peak_gb_s": 32, "fraction": 4000 / 880 / 32}
    ]


def test_each_memory_is_held_against_its_own_peak():
    memory = HARDWARE.memories[0]
    pair = [memory.model_copy(update={"name": name}) for name in ("hbm", "l2")]
    both = HARDWARE.model_copy(update={"memories": tuple(pair)})  # two instances of each
    run = small_run()
    for iteration in run.iterations:
        iteration.trace.channels["memory"] = np.array([0, 2])
        iteration.trace.channels["read_bytes"] = np.array([1500, 100])
        iteration.trace.channels["write_bytes"] = np.array([400, 0])
    hbm, l2 = result_dict(setup(both), run)["per_memory"]
    assert (hbm["name"], l2["name"]) == ("hbm", "l2")
    assert hbm["gb_s"] == pytest.approx(3800 / 880)
    assert l2["fraction"] == pytest.approx(200 / 880 / 16)


def test_operators_are_summed_over_layers(result):
    (up,) = result["per_operator"]
    assert (up["operator"], up["num_tasks"], up["flops"]) == ("up", 12, 6420)
    assert up["span_ps"] == 2 * (300_000 + 140_000)


def test_all_conservation_checks_hold(result):
    assert [c["name"] for c in result["checks"] if not c["ok"]] == []
    assert len(result["checks"]) == 5


def test_a_lost_byte_fails_its_check():
    run = small_run()
    run.iterations[0].trace.channels["read_bytes"][0] -= 1
    failed = [c for c in result_dict(setup(), run)["checks"] if not c["ok"]]
    assert [c["name"] for c in failed] == ["load bytes = bytes read from memory"]


def test_reused_layers_count_in_the_totals():
    trace = small_trace()
    reuse = {"simulated_layers": 2, "reused_layers": 4, "spread_fraction": 0.0}
    run = Run([Iteration("prefill", 0, 1_320_000, trace, 4, 1, reuse)])
    result = result_dict(setup(), run)
    assert result["totals"]["flops"] == 3 * 3210
    assert sum(result["stalls"].values()) == 2 * 1_320_000
    assert all(c["ok"] for c in result["checks"])


def test_the_file_is_the_dict_and_the_same_each_time(tmp_path, result):
    path = write_result(result, tmp_path / "new")
    first = path.read_bytes()
    assert orjson.loads(first) == result
    write_result(result_dict(setup(), small_run()), tmp_path / "new")
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path, result):
    path = write_result(result, tmp_path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_result({"bad": object()}, tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
