"""Instances at one memory: who they are, and how much longer they take while others are busy."""

from dataclasses import replace

import pytest
import simpy

from npusim.serving.iteration.execution import TimedExecution
from npusim.serving.iteration.simulated import with_parts
from npusim.serving.neighbours import ALONE, Neighbours, neighbours_of
from npusim.serving.settle import settle
from npusim.spec.load import load_hardware, load_scenario, resolve

SMALL = ["model=qwen3-1.7b", "parallel.tp=8", "serving.limits.max_tokens=64"]


def settled(hw, *instances):
    listed = f"serving.instances=[{', '.join(instances)}]"
    return settle(resolve(load_scenario("serve", [f"hw={hw}", listed, *SMALL])))


def test_all_instances_at_an_edge_memory_are_neighbours():
    found = neighbours_of(settled("npu_edge_hbm", "{count: 3}"))
    assert [one.others for one in found] == [(1, 2), (0, 2), (0, 1)]
    assert {one.memory_ids for one in found} == {(0,)}


def test_those_of_other_chips_or_with_memories_of_their_own_are_not():
    assert neighbours_of(settled("npu_large_core", "{count: 2}")) == [ALONE, ALONE]
    assert neighbours_of(settled("npu_edge_hbm", "{chip: 0}", "{chip: 1}")) == [ALONE, ALONE]


def test_a_shared_memory_has_an_even_part_of_its_rate():
    chip = load_hardware("npu_edge_hbm")
    (memory,) = with_parts(chip, Neighbours((1, 2, 3), (0,))).memories
    assert memory.timing.channel_gb_s == chip.memories[0].timing.channel_gb_s / 4
    other = replace(Neighbours((1,), ()), memory_ids=(7,))
    assert with_parts(chip, other) == chip == with_parts(chip, ALONE)


@pytest.mark.parametrize(("num_busy", "took_ps"), [(0, 10), (1, 20), (2, 30)])
def test_an_iteration_takes_longer_for_each_neighbour_that_is_busy(num_busy, took_ps):
    """10 ps alone, 30 ps with both others busy: halfway with one."""
    env = simpy.Environment()
    made = [TimedExecution(env, lambda w: (10,), 0, lambda w: (30,)) for _ in range(3)]
    for one in made:
        one.neighbours = [other for other in made if other is not one]
    for other in made[1 : 1 + num_busy]:
        other.neighbours = []
        other.launch([])
    _, done = made[0].launch([])
    env.run(until=done)
    assert env.now == took_ps


def test_a_neighbour_that_has_ended_is_not_busy():
    env = simpy.Environment()
    one, other = (TimedExecution(env, lambda w: (10,), 0, lambda w: (30,)) for _ in range(2))
    one.neighbours = [other]
    env.run(until=other.launch([])[1])
    assert not other.busy
    env.run(until=one.launch([])[1])
    assert env.now == 20
