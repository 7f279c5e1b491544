"""Kernel tables: complete, in the units they say, and physically possible."""

from npusim.spec.load import load_model
from npusim.validate.measured import tables

FLOPS_PER_US = 312e6  # A100, bf16 dense: no kernel may be faster
BYTES_PER_US = 2039e3
L2_BYTES = 40 * 2**20  # what fits there may come faster than from HBM


def test_gemms_are_a_full_grid_below_the_peak_rate():
    rows = tables.gemm_times()
    assert len({(r.m, r.n, r.k) for r in rows}) == len(rows) == 14 * 8 * 7
    for row in rows:
        assert 2 * row.m * row.n * row.k / row.time_us < FLOPS_PER_US
        weights = 2 * row.n * row.k
        if weights > 2 * L2_BYTES:
            assert weights / row.time_us < BYTES_PER_US


def test_attention_rows_are_possible_in_time():
    rows = tables.attention_times()
    assert sum(r.phase == "prefill" for r in rows) == 221
    assert sum(r.phase == "decode" for r in rows) == 140
    for row in rows:
        tokens = row.context_tokens + row.new_tokens
        kv_bytes = 2 * 2 * row.batch * tokens * row.kv_heads * tables.ATTENTION_HEAD_DIM
        assert row.phase == "decode" or row.context_tokens == 0
        if kv_bytes > 2 * L2_BYTES:
            assert kv_bytes / row.time_us < BYTES_PER_US
        pairs = row.new_tokens * (row.new_tokens + 1) / 2 + row.new_tokens * row.context_tokens
        flops = 4 * row.batch * pairs * tables.ATTENTION_HEADS * tables.ATTENTION_HEAD_DIM
        assert flops / row.time_us < FLOPS_PER_US


def test_linear_rows_name_bundled_models_and_scale_with_tp():
    rows = tables.linear_times()
    assert len(rows) == 3 * 4 * 11 * 10
    assert {r.op for r in rows} == set(tables.LINEAR_OPS)
    times = {(r.model, r.tp, r.tokens, r.op): r.time_us for r in rows}
    for name in {r.model for r in rows}:
        model = load_model(name)
        assert model.hidden_size % 8 == 0
        assert times[name, 8, 4096, "mlp_up_proj"] < times[name, 1, 4096, "mlp_up_proj"] / 5


def test_tools_agree_on_the_roofline_of_decode():
    rows = tables.tool_latencies()
    assert {r.tool for r in rows} == set(tables.TOOLS)
    for model in ("llama-2-7b", "llama-3.1-8b"):
        for batch in (1, 32):
            ideal = [
                r.time_ms
                for r in rows
                if (r.model, r.phase, r.batch) == (model, "decode", batch)
                and tables.TOOLS[r.tool] == "roofline"
            ]
            assert len(ideal) == 3 and max(ideal) < 1.04 * min(ideal)
