"""Memos of instances on a literal chip: corners are simulations, stages add up, all of KV fits."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_chip import SMALL_MODEL, chip_text

from npusim.graph.batch import Slice, decode
from npusim.serving.iteration.simulated import LEVELS, memo_of, shape_of, stage_times
from npusim.serving.iteration.times import Timings
from npusim.serving.request import Request, Work
from npusim.serving.settle import settle
from npusim.simulate import simulate_batch
from npusim.spec.load import load_scenario, resolve

SCENARIO = """\
hw: chip.yaml
model: qwen3-4b
parallel: {tp: 2, pp: 1, partition: megatron}
traffic: {kind: burst, requests: 1, prompt: &few {kind: fixed, tokens: 9}, output: *few}
serving:
  buckets: {reuse: false}
  limits: {max_requests: 4, max_tokens: 64}
"""
SHARED = "edge, ports: [{at: [0, 0]}, {at: [1, 3]}]"


@pytest.fixture
def settled(tmp_path):
    def make(*overrides, attach="core"):
        text = chip_text(attach, capacity_gib=1 / 64, scratchpad_mib=4)
        (tmp_path / "chip.yaml").write_text(text)
        (tmp_path / "scenario.yaml").write_text(SCENARIO)
        return settle(
            resolve(load_scenario(tmp_path / "scenario.yaml", [*SMALL_MODEL, *overrides]))
        )

    return make


def works_of(batch):
    return [
        Work(Request(0, 0, 1, 9), piece.new_tokens, piece.context_tokens, piece.samples)
        for piece in batch
    ]


@pytest.mark.parametrize(
    "batch", [decode(1, 64), decode(4, 256), (Slice(64, 32),), (Slice(16, 56),)]
)
def test_a_corner_is_a_simulation_alone_on_the_chip(settled, batch):
    (one,) = settled()
    iteration = simulate_batch(one.setup, batch, one.share)
    found = memo_of(one).stage_ps(works_of(batch), LEVELS)
    assert found == (iteration.makespan_ps,)


@pytest.mark.parametrize("level", range(LEVELS + 1))
def test_all_that_the_memory_holds_can_be_simulated(settled, level):
    """Scratchpads hold an eighth of the KV, the memory no more than the rest."""
    (one,) = settled("serving.kv.sram_fraction=0.5", "serving.kv.memory_fraction=1.0")
    assert one.size.sram_blocks > 0.1 * one.size.num_blocks
    memo = memo_of(one)
    one_long = memo.stage_ps(works_of(decode(1, one.kv_tokens - 1)), level)
    four = memo.stage_ps(works_of(decode(4, one.kv_tokens // 4 - 1)), level)
    assert min(one_long + four) > 0


def test_kv_in_scratchpads_is_no_slower(settled):
    (one,) = settled("serving.kv.sram_fraction=0.5")
    memo = memo_of(one)
    times = [memo.stage_ps(works_of(decode(2, 1000)), level)[0] for level in range(LEVELS + 1)]
    assert times[-1] < times[0]
    assert all(b <= 1.02 * a for a, b in pairwise(times))


@pytest.mark.parametrize("pp", [1, 2, 4])
def test_stages_add_up_to_an_iteration(settled, pp):
    (one,) = settled(f"parallel={{tp: 1, pp: {pp}, partition: megatron}}")
    iteration = simulate_batch(one.setup, decode(2, 64), one.share)
    times = stage_times(iteration, one)
    assert len(times) == pp and min(times) > 0
    assert sum(times) == pytest.approx(iteration.makespan_ps)


def by_hand(reuse, makespan_ps):
    """Three stages, of layers 0 to 2, 3 to 7 and none; their last tasks end at 40, 60 and 100."""
    ops = [SimpleNamespace(layer=layer) for layer in (-1, 0, 3, 4)]
    program = SimpleNamespace(
        core=np.array([0, 1, 2, 0, 3, 1]), op=np.array([1, 2, 0, 0, 0, 3]), ops=ops
    )
    trace = SimpleNamespace(program=program, end_ps=np.array([30, 60, 100, 40, 90, 50]))
    settled = SimpleNamespace(
        row=SimpleNamespace(pp=3),
        footprint=SimpleNamespace(groups=((0,), (1,), (2, 3))),
        setup=SimpleNamespace(model=SimpleNamespace(num_layers=8)),
    )
    iteration = SimpleNamespace(makespan_ps=makespan_ps, trace=trace, reuse=reuse)
    return stage_times(iteration, settled)


def test_stages_by_hand():
    assert by_hand(None, 100) == (40, 20, 40)


def test_reused_layers_are_added_to_their_own_stages():
    """Two of the first stage's three and three of the second's five are not in the trace; they
    take 250 ps together."""
    assert by_hand({"reused_layers": 5}, 350) == (40 + 2 * 50, 20 + 3 * 50, 40)


def test_stages_are_the_same_with_and_without_reuse(settled):
    """Also the last one, which has the head beside its layers: it is no share of what is reused."""
    (one,) = settled("parallel={tp: 1, pp: 2, partition: megatron}", "model.num_hidden_layers=24",
                     "model.vocab_size=8192")  # fmt: skip
    scenario = one.setup.scenario.model_copy(update={"reuse": True})
    for batch in ((Slice(64),), (Slice(64, 0, False),)):
        shortened = simulate_batch(replace(one.setup, scenario=scenario), batch, one.share, 0.1)
        whole = simulate_batch(one.setup, batch, one.share)
        assert shortened.reuse and not whole.reuse
        assert stage_times(shortened, one) == pytest.approx(stage_times(whole, one), rel=0.02)


def test_equal_instances_share_what_is_simulated(settled):
    """Also where a shared memory gives one a block more than another."""
    alike = settled("serving.instances=[{count: 4}]", attach=SHARED)
    size = replace(alike[0].size, num_blocks=alike[0].size.num_blocks + 1)
    assert len({shape_of(one) for one in (*alike, replace(alike[0], size=size))}) == 1
    apart = settled("serving.instances=[{}, {limits: {max_tokens: 32}}, {parallel: {tp: 1}}]")
    assert len({shape_of(one) for one in apart}) == 3


def no_scratchpads(settled):
    found = settled("serving.kv.sram_fraction=0.0", "serving.instances=[{count: 2}]")
    return found, Timings(found[0].setup)


def test_equal_instances_are_simulated_once_for_both(settled):
    found, timings = no_scratchpads(settled)
    first, second = (timings.of(one, None) for one in found)
    batch = works_of(decode(2, 64))
    assert first(batch) == second(batch)
    assert timings.facts()["simulated_iterations"] == 1


def test_analytic_is_the_same_at_the_coarse_level(settled):
    """Of one chip and batch: the roofline's time is near the simulated one, and not it."""
    batch, times = works_of((Slice(64, 32),)), {}
    for kind in ("memo", "analytic"):
        found = settled(f"serving.iteration={kind}", "serving.kv.sram_fraction=0.0")
        timings = Timings(found[0].setup)
        assert timings.kind == kind
        (times[kind],) = timings.of(found[0], None)(batch)
    assert times["memo"] != times["analytic"] == pytest.approx(times["memo"], rel=0.3)


def test_the_level_is_the_share_of_kv_in_scratchpads(settled):
    (one,) = settled("serving.kv.sram_fraction=0.5")
    timings = Timings(one.setup)
    resident = SimpleNamespace(resident_fraction=lambda requests: 1.0)
    away = SimpleNamespace(resident_fraction=lambda requests: 0.0)
    batch = works_of(decode(2, 1024))
    memo = memo_of(one)
    assert timings.of(one, resident)(batch) == memo.stage_ps(batch, LEVELS)
    assert timings.of(one, away)(batch) == memo.stage_ps(batch, 0)
