"""Laws that hold for any run: no faster than the roofline, bytes conserved, stalls sum up, one
faster part never hurts a single task."""

import pytest

from npusim.cost.roofline import peak_gflop_s, roofline_ps
from npusim.report.result import result_dict
from npusim.simulate import simulate
from npusim.spec.load import load_hardware, load_scenario, resolve

SMALL = ["model.num_hidden_layers=2", "model.hidden_size=256", "model.intermediate_size=768",
         "model.num_attention_heads=8", "model.num_key_value_heads=4", "model.head_dim=32",
         "model.vocab_size=2048", "workload.prompt_tokens=96"]  # fmt: skip
CHIPS = ["npu_large_core", "npu_edge_hbm", "npu_group_hbm", "tpuv4_like"]
PARTITIONS = ["megatron", "k", "mn", "mnk", "input_only"]


def simulated(overrides, base="quickstart", hw=None, model="qwen3-1.7b"):
    setup = resolve(load_scenario(base, overrides, hw=hw, model=model))
    run = simulate(setup)
    return run, result_dict(setup, run)


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("hw", CHIPS)
def test_no_run_beats_the_roofline_and_all_checks_hold(hw, partition):
    run, result = simulated([*SMALL, "parallel.tp=4", f"parallel.partition={partition}"], hw=hw)
    totals = result["totals"]
    assert 0 < totals["flops_fraction"] <= 1 and 0 <= totals["memory_fraction"] <= 1
    assert all(check["ok"] for check in result["checks"])
    for core in result["per_core"]:
        parts = [value for key, value in core.items() if key in STALLS]
        assert len(parts) == len(STALLS) and sum(parts) == run.makespan_ps


STALLS = ("compute_ps", "wait_memory_ps", "wait_noc_ps", "wait_dependency_ps", "idle_ps")


@pytest.mark.parametrize("hw", CHIPS)
@pytest.mark.parametrize(("m", "k", "n"), [(1, 2048, 2048), (256, 1000, 3000), (2048, 1024, 512)])
def test_a_gemm_that_streams_its_weights_stays_under_the_roofline(hw, m, k, n):
    sizes = [f"workload.m={m}", f"workload.k={k}", f"workload.n={n}", "parallel.tp=4"]
    run, result = simulated(sizes, "gemm", hw=hw, model=None)
    core = load_hardware(hw).core(0)
    used = [row for row in result["per_channel"] if row["read_bytes"]]
    peak = 4 * peak_gflop_s(core.arrays.rows, core.arrays.columns, core.clock_mhz)
    vectors = 4 * core.vector.lanes * core.vector.alus_per_lane * core.clock_mhz / 1000
    gb_s = sum(row["peak_gb_s"] for row in used)
    bound_ps = roofline_ps(2 * m * k * n, 2 * k * n, peak + vectors, gb_s)
    assert result["totals"]["load_bytes"] >= 2 * k * n
    assert run.makespan_ps >= bound_ps


@pytest.mark.parametrize("hw", CHIPS)
def test_no_task_starts_before_it_is_ready_or_ends_before_it_starts(hw):
    run, _ = simulated([*SMALL, "parallel.tp=4"], hw=hw)
    trace = run.iterations[0].trace
    assert (trace.ready_ps >= 0).all() and (trace.end_ps >= trace.start_ps).all()
    queued = trace.program.unit >= 0
    assert (trace.start_ps[queued] >= trace.ready_ps[queued]).all()
    program = trace.program
    for task in range(len(program)):
        before = program.deps[program.dep_start[task] : program.dep_start[task + 1]]
        assert trace.ready_ps[task] == max(trace.end_ps[before], default=0)


@pytest.mark.parametrize(
    ("base", "faster"),
    [
        ("gemm", "hw.core_groups.0.core.clock_mhz=1000"),
        ("transfer", "hw.noc.link_bytes_per_cycle=640"),
        ("transfer", "hw.noc.router_cycles=1"),
        ("memory", "hw.memories.0.timing.channel_gb_s=30"),
        ("memory", "hw.memories.0.timing.t_rcd_ns=1"),
        ("memory", "hw.memories.0.channels=16"),
    ],
)
def test_one_faster_part_never_hurts_a_single_operation(base, faster):
    slow, _ = simulated([], base, model=None)
    fast, _ = simulated([faster], base, model=None)
    assert fast.makespan_ps <= slow.makespan_ps
