"""Memo against live: what the cases are, and that means of runs stay within the goal."""

from dataclasses import replace

import pytest

from npusim.serving.settle import settle
from npusim.spec.load import load_scenario, resolve
from npusim.validate.compare import errors_of
from npusim.validate.serving.against_live import (
    GOAL,
    PRIVATE_FULL,
    PRIVATE_QUICK,
    SHARED_FULL,
    SHARED_QUICK,
    STAGES,
    compare,
)

CASES = {case.name: case for case in PRIVATE_QUICK + PRIVATE_FULL + SHARED_QUICK + SHARED_FULL}
SCRATCHPADS = next(case for name, case in CASES.items() if "scratchpads" in name)


def settled(case):
    setup = resolve(load_scenario("serve", case.overrides, hw=case.hw, model="qwen3-1.7b"))
    return settle(setup)


def memories(case):
    """Of each instance, the memories that its weights lie in."""
    found = settled(case)
    return [{memory.memory_id for memory in one.footprint.memories} for one in found]


def test_names_tell_cases_apart():
    assert len(CASES) == len(PRIVATE_QUICK + PRIVATE_FULL + SHARED_QUICK + SHARED_FULL)


@pytest.mark.parametrize("case", PRIVATE_QUICK + PRIVATE_FULL, ids=lambda case: case.name)
def test_private_cases_share_no_memory(case):
    own = memories(case)
    assert sum(map(len, own)) == len(set().union(*own))


@pytest.mark.parametrize("case", SHARED_QUICK + SHARED_FULL, ids=lambda case: case.name)
def test_instances_of_shared_cases_share_a_memory(case):
    own = memories(case)
    assert len(own) == 2 and own[0] & own[1]


def test_the_case_with_kv_in_scratchpads_has_some_there():
    assert all(one.size.sram_blocks for one in settled(SCRATCHPADS))


def test_means_with_pipeline_stages_and_reused_layers_are_within_the_goal():
    small = replace(STAGES, requests=3, output_tokens=3)
    assert errors_of(compare(small)).within(GOAL)
