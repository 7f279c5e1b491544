"""The collectives suite: references worked out anew, and the fits fitted again."""

import numpy as np
import pytest

from npusim.cost.interconnect import FABRICS, link_load, link_protocol
from npusim.validate.collectives import astra, measured, onchip, suite
from npusim.validate.collectives.engine_ring import Wires, run_ps
from npusim.validate.compare import errors_of, split_by_use
from npusim.validate.data import read_rows


def test_quick_suite_reaches_its_goals():
    told = []
    families = suite.run(False, told.append)
    assert len(told) == 3
    for family in families:
        report = split_by_use(family)["report"]
        assert report.within(family.goal), family.name


def test_wires_run_through_neighbours_once_round():
    for wires in onchip.RINGS:
        places = wires.cycle()
        assert len(set(places)) == wires.num_cores
        for (r0, c0), (r1, c1) in zip(places, places[1:] + places[:1], strict=True):
            assert abs(r0 - r1) + abs(c0 - c1) == 1


def test_one_step_of_a_ring_by_hand():
    # 4096 B: 3 links and 2 routers of 2 cycles, 64 cycles of data, 3 cycles at each scratchpad
    step_ns = 3 + 4 + 64 + 6
    assert run_ps(Wires(2, 2), "all_gather", "ring", 4 * 4096) == 3 * step_ns * 1000


def walked_ns(row):
    """ASTRA-sim's own arithmetic, in whole ns a step: exact on every figure it gives."""
    part = row.num_bytes // row.splits
    piece = part if row.op == "all_gather" else part // row.num_chips
    step = int(row.latency_ns + piece / (row.gib_s * 2**30) * 1e9) + 10
    reducing = step + 3 * (piece // 1600)
    n = row.num_chips
    steps = {
        "all_gather": [step] * (n - 1),
        "reduce_scatter": [reducing] * (n - 1),
        "all_reduce": [reducing, step] * (n - 1),
        "all_to_all": [step * distance for distance in range(1, n)],
    }
    return row.splits * (sum(steps[row.op]) + 10)


@pytest.mark.parametrize("row", astra.rows(), ids=lambda row: f"{row.op} {row.name}")
def test_its_model_is_what_the_docstring_says(row):
    # a split's last nanoseconds differ by the order in which its chunks enter
    assert walked_ns(row) == pytest.approx(row.time_ns, rel=1e-3)


def test_most_of_its_figures_are_met_exactly():
    assert sum(walked_ns(row) == row.time_ns for row in astra.rows()) >= 80


def fit_loads(name, op):
    """Loads and times of the fit rows that NCCL gives to protocol `name`."""
    chips = measured.chips("nccl")
    loads, times = [], []
    for row in read_rows("collectives_a100.csv"):
        gpus, size = int(row["gpus"]), int(row["bytes"])
        case = (row["library"], row["op"], row["dtype"], gpus, size)
        if row["library"] != "nccl" or row["op"] not in op or not measured.is_fit(*case):
            continue
        if link_protocol(row["op"], size, gpus, chips) != name:
            continue
        loads.append(link_load(row["op"], "ring", size, FABRICS["switch"](gpus)))
        times.append(float(row["time_us"]))
    return np.array(loads, float), np.array(times)


def test_simple_protocol_is_the_least_squares_fit_of_its_rows():
    loads, times = fit_loads("simple", ("all_gather", "all_reduce"))
    columns = np.column_stack([np.ones(len(loads)), loads[:, 0], loads[:, 1:3] / 1000])
    scaled = columns / times[:, None]
    alpha, step, per_link, per_own = np.linalg.lstsq(scaled, np.ones(len(times)), rcond=None)[0]
    row = measured.chips("nccl").protocols["simple"]
    assert row.alpha_us == pytest.approx(alpha, rel=2e-3)
    assert row.step_us == pytest.approx(step, rel=2e-3)
    assert row.efficiency_fraction * 300 == pytest.approx(1 / per_link, rel=2e-3)
    assert row.own_gb_s == pytest.approx(1 / per_own, rel=2e-3)


def test_the_hosts_time_of_a_call_is_the_median_of_its_fit_rows():
    times = [
        float(row["time_us"])
        for row in read_rows("collectives_a100.csv")
        if row["library"] == "vllm_eager"
        and measured.is_fit("vllm_eager", row["op"], "bf16", int(row["gpus"]), int(row["bytes"]))
    ]
    assert len(times) == 10
    assert round(float(np.median(times)), 1) == measured.EAGER_HOST_US


def test_protocols_change_where_the_measured_times_jump():
    """NCCL's published constants put the change between the two sizes around each jump."""
    times = {
        (row["op"], int(row["gpus"]), int(row["bytes"])): float(row["time_us"])
        for row in read_rows("collectives_a100.csv")
        if row["library"] == "nccl" and row["dtype"] == "fp16"
    }
    chips = measured.chips("nccl")
    for op, gpus, size in (
        ("all_gather", 2, 2**20),
        ("all_gather", 4, 2**20),
        ("reduce_scatter", 4, 2**20),
        ("all_reduce", 2, 2**19),
    ):
        assert times[op, gpus, 2 * size] > 1.7 * times[op, gpus, size]
        assert link_protocol(op, size, gpus, chips) == "ll"
        assert link_protocol(op, 2 * size, gpus, chips) == "simple"


def test_few_rows_are_fitted_none_of_them_or_of_their_repeats_reports_all_are_kept():
    comparisons = [c for family in measured.families() for c in family.comparisons]
    rows = read_rows("collectives_a100.csv")
    assert len(comparisons) == len(rows) == 642
    names = ("library", "op", "dtype", "gpus", "bytes")
    cases = [[row[n] if i < 3 else int(row[n]) for i, n in enumerate(names)] for row in rows]
    assert sum(measured.is_fit(*case) for case in cases) == 87
    assert sum(c.use == "fit" for c in comparisons) == 87 + 60  # int8 with a fit row's bytes
    assert errors_of([c for c in comparisons if c.use == "report"]).mape < 0.05
