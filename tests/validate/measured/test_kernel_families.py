"""Kernel times: shapes by hand, never below the roofline, extrapolated where it is linear."""

import pytest

from npusim.validate.measured import kernels
from npusim.validate.measured.tables import TOOLS, AttentionTime, LinearTime, tool_latencies
from npusim.validate.measured.tools import _comparison

PEAK_FLOPS_PER_US, BYTES_PER_US = 312e6, 2039e3


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        ("attn_pre_proj", (64, 8192 // 8 + 2 * 128, 8192)),  # 8 heads, one each of K and V
        ("attn_post_proj", (64, 8192, 8192 // 8)),
        ("mlp_up_proj", (64, 2 * 28672 // 8, 8192)),
        ("mlp_down_proj", (64, 8192, 28672 // 8)),
    ],
)
def test_shapes_of_a_layer_of_70b_on_eight_chips(op, shape):
    assert kernels.product_shape(LinearTime("llama-2-70b", 8, 64, op, 1.0)) == shape


@pytest.mark.parametrize(("m", "n", "k"), [(1, 4096, 4096), (512, 4096, 4096)])
def test_a_gemm_is_slower_than_the_roofline(m, n, k):
    bound_us = max(2 * m * n * k / PEAK_FLOPS_PER_US, 2 * n * k / BYTES_PER_US)
    assert bound_us < kernels.gemm_us(m, n, k) < 2 * bound_us


def test_attention_of_a_long_context_reads_its_kv():
    row = AttentionTime("decode", 8, 1, 8191, 8, 1.0)
    bound_us = 8 * 8192 * 2 * 8 * 128 * 2 / BYTES_PER_US
    assert bound_us < kernels.attention_us(row) < 1.6 * bound_us


def test_large_prefills_grow_as_smaller_ones(monkeypatch):
    monkeypatch.setattr(kernels, "_simulated_us", lambda batch, *shape: 5.0 + 2.0 * batch)
    row = AttentionTime("prefill", 100, 4096, 0, 8, 1.0)
    assert kernels._pairs(row) > kernels.MAX_PAIRS
    assert kernels.attention_us(row) == pytest.approx(205.0)


def test_tools_that_take_ideal_rates_are_met_in_decode():
    rows = [row for row in tool_latencies() if row.phase == "decode" and row.batch == 1]
    ideal = [row for row in rows if TOOLS[row.tool] == "roofline"]
    assert len(ideal) == 6
    for row in ideal:
        assert abs(_comparison(row, ideal=True).error_fraction) < 0.04
