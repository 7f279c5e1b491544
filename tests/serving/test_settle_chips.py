"""Instances on bundled chips: as many as there are, mapped for what they do."""

import pytest

from npusim.errors import SpecError
from npusim.serving.settle import settle
from npusim.spec.load import load_scenario, resolve


@pytest.mark.parametrize(
    ("instances", "text"),
    [
        ("{count: 9}", "need 9 chips .tp x pp each., h100_sxm has 8; lower"),
        ("{parallel: {tp: 8}}, {}", "need 9 chips"),
    ],
)
def test_no_more_chips_than_there_are(instances, text):
    overrides = ["hw=h100_sxm", f"serving.instances=[{instances}]", "parallel={tp: 1, pp: 1}"]
    with pytest.raises(SpecError, match=text):
        settle(resolve(load_scenario("serve", overrides)))


def test_a_prefill_instance_is_mapped_for_short_prompts_as_well():
    """For 2,048 tokens alone mn is 2 % ahead of megatron on such cores, for 88 it takes 4 times."""
    instances = "serving.instances=[{role: prefill, parallel: {tp: 8}}, {role: decode}]"
    overrides = ["hw=npu_hetero_pd", "model=qwen3-1.7b", instances, "parallel.tp=8"]
    prefill, _ = settle(resolve(load_scenario("serve", overrides)))
    assert prefill.footprint.parallel.partition == "megatron"
