"""Nothing is faster than the roofline: not the whole run, no channel, link, port or array."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from law_cases import CHIPS, DECODE, PREFILL, simulated

from npusim.cost.roofline import peak_gflop_s, roofline_ps
from npusim.program import COMPUTE, FIRST_ARRAY_UNIT
from npusim.spec.load import load_hardware

PARTITIONS = ["megatron", "k", "mn", "mnk", "input_only"]
ENGINES = ["fast", "simpy"]
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DIM = st.integers(1, 1500)
# of a vector of 1 byte a core, at least so much enters each core (all but broadcast's root)
RECEIVED = {
    "all_reduce": lambda n: 1.0,
    "all_gather": lambda n: (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
    "broadcast": lambda n: 1.0,
}


def core_gflop_s(core) -> tuple[float, float]:
    """Peak rate of a core's arrays and of its vector unit."""
    rates = [1.0, *core.arrays.rate.values()]
    arrays = core.arrays
    peak = peak_gflop_s(arrays.rows, arrays.columns, core.clock_mhz, arrays.count, max(rates))
    return peak, core.vector.lanes * core.vector.alus_per_lane * core.clock_mhz / 1000


def assert_no_part_is_too_fast(run, hw) -> None:
    """Each part's own work takes at least as long as its peak rate allows."""
    for iteration in run.iterations:
        trace = iteration.trace
        span_ns = trace.makespan_ps / 1000
        channels, links = trace.channels, trace.links
        read_and_written = channels["read_bytes"] + channels["write_bytes"]
        assert (read_and_written <= channels["peak_gb_s"] * span_ns).all()
        assert (channels["busy_ps"] <= trace.makespan_ps).all()
        assert (links["bytes"] <= links["gb_s"] * span_ns).all()
        assert (links["busy_ps"] <= trace.makespan_ps).all()
        assert_no_core_is_too_fast(trace, hw.cores())


def assert_no_core_is_too_fast(trace, cores) -> None:
    program, span_ns = trace.program, trace.makespan_ps / 1000
    compute = program.kind == COMPUTE
    for index, core in enumerate(cores):
        own = compute & (program.core == index)
        on_arrays = own & (program.unit >= FIRST_ARRAY_UNIT)
        arrays, vectors = core_gflop_s(core)
        assert program.flops[on_arrays].sum() <= arrays * span_ns
        assert program.flops[own & ~on_arrays].sum() <= vectors * span_ns
        port = core.scratchpad.bytes_per_cycle * core.clock_mhz / 1000
        assert trace.cores["port_bytes"][index] <= port * span_ns
        busy_ps = (trace.end_ps - trace.start_ps)[own]
        assert np.bincount(program.unit[own], busy_ps).max(initial=0) <= trace.makespan_ps


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("hw", CHIPS)
def test_no_prefill_beats_the_roofline(hw, partition):
    overrides = [*PREFILL, "parallel.tp=4", f"parallel.partition={partition}"]
    run, result = simulated(overrides, hw=hw)
    totals = result["totals"]
    assert 0 < totals["flops_fraction"] <= 1 and 0 <= totals["memory_fraction"] <= 1
    assert totals["flops"] >= 2 * 96 * LAYER_WEIGHTS * 2
    assert_no_part_is_too_fast(run, load_hardware(hw))


# q, k, v, output of 8 and 4 heads of 32; gate, up, down
LAYER_WEIGHTS = 256 * 32 * (8 + 4 + 4 + 8) + 3 * 256 * 768


@pytest.mark.parametrize("partition", ["megatron", "k"])
@pytest.mark.parametrize("hw", CHIPS)
def test_no_decode_step_beats_the_roofline(hw, partition):
    overrides = [*DECODE, "parallel.tp=4", f"parallel.partition={partition}"]
    run, result = simulated(overrides, "decode", hw=hw)
    assert 0 < result["totals"]["flops_fraction"] <= 1
    assert result["totals"]["flops"] >= 2 * 2 * LAYER_WEIGHTS * 2
    assert_no_part_is_too_fast(run, load_hardware(hw))


@pytest.mark.parametrize("hw", CHIPS)
def test_no_gemm_beats_the_roofline(hw):
    hardware = load_hardware(hw)
    gflop_s = 4 * sum(core_gflop_s(hardware.core(0)))

    @FEW
    @given(DIM, DIM, DIM)
    @example(1, 2048, 2048)
    @example(2048, 1024, 512)
    def check(m, k, n):
        sizes = [f"workload.m={m}", f"workload.k={k}", f"workload.n={n}", "parallel.tp=4"]
        run, result = simulated(sizes, "gemm", hw=hw, model=None)
        gb_s = sum(row["peak_gb_s"] for row in result["per_channel"] if row["read_bytes"])
        assert result["totals"]["flops"] >= 2 * m * k * n
        assert result["totals"]["load_bytes"] >= 2 * k * n  # its weights come from memory
        assert run.makespan_ps >= roofline_ps(2 * m * k * n, 2 * k * n, gflop_s, gb_s)
        assert_no_part_is_too_fast(run, hardware)

    check()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("hw", CHIPS)
def test_no_transfer_is_faster_than_a_link(hw, engine):
    hardware = load_hardware(hw)
    most = hardware.mesh.num_cores - 1

    @FEW
    @given(st.integers(0, most), st.integers(0, most), st.integers(1, 100_000))
    def check(src, dst, num_bytes):
        if src == dst:
            return
        sizes = [f"workload.src={src}", f"workload.dst={dst}", f"workload.bytes={num_bytes}"]
        run, _ = simulated([*sizes, f"engine={engine}"], "transfer", hw=hw, model=None)
        assert run.makespan_ps >= num_bytes / hardware.noc.link_gb_s * 1000
        assert_no_part_is_too_fast(run, hardware)

    check()


@pytest.mark.parametrize("op", RECEIVED)
@pytest.mark.parametrize("hw", ["npu_large_core", "tpuv4_like"])
def test_no_collective_is_faster_than_what_enters_a_core(hw, op):
    hardware = load_hardware(hw)

    @FEW
    @given(st.integers(64, 300_000), st.sampled_from([2, 3, 4]))
    def check(num_bytes, count):
        cores = f"workload.cores={list(range(count))}"
        sizes = [f"workload.op={op}", f"workload.bytes={num_bytes}", "workload.algorithm=auto"]
        run, _ = simulated([*sizes, cores], "collective", hw=hw, model=None)
        # an element is the smallest part that moves
        received = RECEIVED[op](count) * num_bytes - 2 * count
        assert run.makespan_ps >= received / hardware.noc.link_gb_s * 1000
        assert_no_part_is_too_fast(run, hardware)

    check()


@pytest.mark.parametrize("pattern", ["sequential", "random", "strided"])
@pytest.mark.parametrize("hw", CHIPS)
def test_no_memory_traffic_is_faster_than_the_memory(hw, pattern):
    hardware = load_hardware(hw)

    @FEW
    @given(
        st.integers(4096, 1 << 20), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([256, 4096])
    )
    def check(num_bytes, read_fraction, request_bytes):
        run, _ = simulated(
            [
                f"workload.pattern={pattern}",
                f"workload.bytes={num_bytes}",
                f"workload.read_fraction={read_fraction}",
                f"workload.request_bytes={request_bytes}",
            ],
            "memory",
            hw=hw,
            model=None,
        )
        moved = num_bytes // request_bytes * request_bytes
        assert run.makespan_ps >= moved / hardware.memories[0].gb_s * 1000
        assert_no_part_is_too_fast(run, hardware)

    check()
