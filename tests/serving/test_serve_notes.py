"""What a user is told of instances that share a memory."""

import pytest

from npusim.serving.notes import notes
from npusim.serving.settle import settle
from npusim.spec.load import load_scenario, resolve

SMALL = ["model=qwen3-1.7b", "parallel.tp=8", "serving.limits.max_tokens=64"]


def shared_notes(hw, kind):
    setup = resolve(load_scenario("serve", [f"hw={hw}", "serving.instances=[{count: 2}]", *SMALL]))
    return [text for text in notes(settle(setup), kind, {}) if "share a memory" in text]


@pytest.mark.parametrize("kind", ["memo", "analytic"])
def test_a_memory_of_both_is_told(kind):
    (text,) = shared_notes("npu_edge_hbm", kind)
    assert text == (
        f"both 0, both 1 share a memory: {kind} gives each an even part of its bandwidth while the "
        "others are busy; iteration live lets them contend"
    )


@pytest.mark.parametrize(("hw", "kind"), [("npu_edge_hbm", "live"), ("npu_large_core", "memo"),
                                          ("npu_group_hbm", "memo")])  # fmt: skip
def test_live_contends_and_own_memories_are_not_shared(hw, kind):
    assert shared_notes(hw, kind) == []
