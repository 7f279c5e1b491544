"""Moves of KV: no faster than links and memories, in proportion to bytes, on one chip and between
chips; and a whole run live beside the same one with moves and iterations timed alone."""

import numpy as np
import pytest
from tiny_chip import SMALL_MODEL, chip_text

from npusim.errors import SpecError
from npusim.serving.iteration.transfer import TransferTimes, crosses_links
from npusim.serving.serve import serve
from npusim.serving.settle import settle
from npusim.spec.load import load_scenario, resolve

SCENARIO = """\
hw: HW
model: qwen3-4b
parallel: {tp: 2, pp: 1, partition: megatron}
traffic: {kind: constant, rate_per_s: 2000, requests: 3, prompt: {kind: fixed, tokens: 100},
          output: {kind: fixed, tokens: 6}}
serving:
  limits: {max_requests: 4, max_tokens: 128}
  kv: {sram_fraction: 0.0}
  instances: [{role: prefill}, {role: decode}]
"""
TOKEN_BYTES = 4 * 2 * 2 * 32 * 2  # layers, K and V, KV heads, head size, bf16


@pytest.fixture
def setup_of(tmp_path):
    """setup_of(*overrides, link=…): a small model on the tiny chip, or on chip `hw`."""

    def make(*overrides, link=32, hw=None):
        chip = tmp_path / "chip.yaml"
        chip.write_text(chip_text(capacity_gib=1 / 8, link_bytes=link))
        path = tmp_path / "scenario.yaml"
        path.write_text(SCENARIO.replace("HW", hw or str(chip)))
        return resolve(load_scenario(path, [*SMALL_MODEL, *overrides]))

    return make


def ps_of(setup, *tokens):
    source, destination = settle(setup)
    times = TransferTimes(setup)
    return [times.ps(source, destination, n) for n in tokens]


@pytest.mark.parametrize(("link", "bound_gb_s"), [(8, 8), (16, 16), (64, 32)])
def test_no_faster_than_the_links_or_the_memory_of_a_rank(setup_of, link, bound_gb_s):
    """Each of two ranks sends its half; memory at 2 x 16 GB/s, links at `link` GB/s."""
    for tokens, took_ps in zip((64, 256, 1000), ps_of(setup_of(link=link), 64, 256, 1000),
                               strict=True):  # fmt: skip
        least_ps = tokens * TOKEN_BYTES / 2 / bound_gb_s * 1000
        assert least_ps <= took_ps < 3 * least_ps + 3_000_000


def test_instances_of_another_chip_have_times_of_their_own(setup_of):
    """Both pairs begin at core 0 and core 4 of their chips; four ranks each move a part."""
    pairs = [
        f"{{role: {role}, chip: {chip}, parallel: {{tp: {tp}}}, cores: [{first}-{first + tp - 1}]}}"
        for chip, tp in ((0, 1), (1, 4))
        for role, first in (("prefill", 0), ("decode", 4))
    ]
    setup = setup_of(f"serving.instances=[{', '.join(pairs)}]")
    settled, times = settle(setup), TransferTimes(setup)
    one, four = times.ps(*settled[:2], 1000), times.ps(*settled[2:], 1000)
    assert four == TransferTimes(setup).ps(*settled[2:], 1000) != one


@pytest.mark.parametrize("mapping", ["tp: 2, pp: 1", "tp: 1, pp: 2", "tp: 4, pp: 1"])
def test_long_ones_are_in_proportion(setup_of, mapping):
    setup = setup_of(f"parallel={{{mapping}, partition: megatron}}")
    short, long, between = ps_of(setup, 1024, 4096, 2048)
    assert long == pytest.approx(4 * short, rel=0.1)
    assert between == round(short + (long - short) / 3)  # of 1024 … 4096 it is a third of the way
    assert between == pytest.approx(2 * short, rel=0.1)


def test_longer_is_never_faster(setup_of):
    found = ps_of(setup_of(), 1, 10, 64, 65, 100, 256, 300, 2000)
    assert found == sorted(found) and found[0] > 0


def test_what_kv_has_fewer_bits_for_moves_faster(setup_of):
    (whole,), (half,) = ps_of(setup_of(), 4096), ps_of(setup_of("dtype.kv=fp8"), 4096)
    assert half == pytest.approx(whole / 2, rel=0.1)


APART = "serving.instances=[{role: prefill, chip: 0}, {role: decode, chip: 1}]"


def test_between_chips_by_hand(setup_of):
    """10 us, and all bytes at 5 GB/s: the ranks of one chip share its links."""
    setup = setup_of(APART, "serving.kv_link={gb_s: 5.0, latency_us: 10.0}")
    assert crosses_links(*settle(setup))
    assert ps_of(setup, 500) == [10_000_000 + 500 * TOKEN_BYTES * 1000 // 5]


def test_a_rank_is_a_chip_where_chips_run_kernels(setup_of):
    setup = setup_of(
        APART,
        "serving.kv_link={gb_s: 5.0}",
        "serving.kv.sram_fraction=null",
        "parallel.partition=auto",
        hw="h100_sxm",
    )
    assert ps_of(setup, 500) == [500 * TOKEN_BYTES * 1000 // 5 // 2]


def test_chips_without_links(setup_of):
    with pytest.raises(SpecError, match=r"serving.kv_link: is missing; KV goes from chip 0 to 1"):
        ps_of(setup_of(APART), 500)


def tokens_of(setup):
    run = serve(setup)
    assert (run.requests["generated_tokens"] == run.requests["output_tokens"]).all()
    return run


@pytest.mark.parametrize("transfer", ["whole", "layer"])
def test_live_and_memo_agree_where_nothing_contends(setup_of, transfer):
    """Three requests far apart: iterations and moves alone on the chip, in both."""
    texts = [
        "serving.buckets.reuse=false",
        f"serving.transfer={transfer}",
        "serving.kv.block_tokens=1",
    ]
    memo = tokens_of(setup_of(*texts, "serving.iteration=memo"))
    live = tokens_of(setup_of(*texts, "serving.iteration=live"))
    late = memo.token_ps - np.repeat(memo.requests["arrival_ps"], 6)
    found = live.token_ps - np.repeat(live.requests["arrival_ps"], 6)
    assert np.abs(found / late - 1).max() < 0.1
    assert (live.transfers["bytes"] == memo.transfers["bytes"]).all()


def test_live_requests_at_once_are_no_faster_than_alone(setup_of):
    """Moves and iterations contend for memories and links."""
    live = ["serving.iteration=live"]
    alone = tokens_of(setup_of(*live, "traffic.requests=1"))
    both = tokens_of(setup_of(*live, "traffic.rate_per_s=1.0e+7", "traffic.requests=4"))
    assert both.token_ps[5] >= alone.token_ps[5]
    assert both.token_ps.max() > alone.token_ps.max()
