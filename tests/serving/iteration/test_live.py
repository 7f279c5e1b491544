"""Live iterations: both engines give the same run to the ps, instances that share nothing do not
wait for one another, those that share links or memory do; pipeline stages overlap."""

import numpy as np
import pytest
from tiny_chip import SMALL_MODEL, chip_text

from npusim.serve_trace import DONE
from npusim.serving.iteration.live import Machines
from npusim.serving.serve import serve
from npusim.spec.load import load_scenario, resolve

SHARED = "group, cores_per_instance: 8"
SCENARIO = """\
hw: HW
model: qwen3-4b
parallel: {tp: 2, pp: 1, partition: megatron}
traffic: {kind: burst, requests: 4, prompt: {kind: uniform, min: 20, max: 60},
          output: {kind: fixed, tokens: 4}}
serving:
  iteration: live
  limits: {max_requests: 4, max_tokens: 64}
  kv: {sram_fraction: 0.0}
"""
SPLIT = "serving.instances=[{role: prefill}, {role: decode, parallel: {tp: 4}}]"


@pytest.fixture
def run(tmp_path):
    """run(*overrides, attach=…): serves on the tiny chip."""

    def make(*overrides, attach="core"):
        chip, path = tmp_path / "chip.yaml", tmp_path / "scenario.yaml"
        chip.write_text(chip_text(attach, link_bytes=16))
        path.write_text(SCENARIO.replace("HW", str(chip)))
        return serve(resolve(load_scenario(path, [*SMALL_MODEL, *overrides])))

    return make


def times_of(run):
    """Everything that has a time."""
    return [run.token_ps, *run.iterations.values(), *run.transfers.values()]


@pytest.mark.parametrize(
    "overrides",
    [
        ("parallel.pp=2",),
        (SPLIT,),
        (SPLIT, "serving.transfer=layer"),
        ("serving.instances=[{count: 2}]", "hw.noc.protocol=handshake"),
    ],
    ids=["stages", "whole", "layer", "handshake"],
)
def test_both_engines_give_the_same_run(run, overrides):
    small = ("model.num_hidden_layers=2", "model.vocab_size=256", "traffic.requests=2",
             "traffic.output.tokens=2", *overrides)  # fmt: skip
    fast, plain = run(*small), run(*small, "engine=simpy")
    assert (fast.requests["status"] == DONE).all()
    for ours, theirs in zip(times_of(fast), times_of(plain), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_instances_with_cores_and_memories_of_their_own_do_not_wait(run):
    """Two side by side on private memories: each as if the other had nothing to do."""
    both = run("serving.instances=[{count: 2}]", "traffic.requests=2")
    alone = run("serving.instances=[{count: 2}]", "traffic.requests=1")
    own = slice(*both.token_start[:2])
    np.testing.assert_array_equal(both.token_ps[own], alone.token_ps)


def test_instances_that_share_a_memory_slow_each_other(run):
    two = ("serving.instances=[{count: 2}]",)
    alone = run(*two, "traffic.requests=1", attach=SHARED)
    both = run(*two, "traffic.requests=2", attach=SHARED)
    assert both.token_ps[both.token_start[1] - 1] > 1.2 * alone.token_ps[-1]


def test_as_many_batches_as_stages_are_under_way(run):
    """The first stage takes the second request's prompt while the second one has the first's."""
    found = run("parallel.pp=2", "serving.limits.max_tokens=30", "traffic.requests=2",
                "traffic.prompt={kind: fixed, tokens: 30}").iterations  # fmt: skip
    assert found["start_ps"][1] == found["free_ps"][0] < found["end_ps"][0]
    overlap = [np.sum((found["start_ps"] <= t) & (t < found["end_ps"])) for t in found["start_ps"]]
    assert max(overlap) == 2


def test_the_host_delays_an_iteration_by_its_time(run):
    plain, hosted = run(), run("serving.host_us=5")
    first = slice(0, 1)
    assert hosted.iterations["end_ps"][first] == plain.iterations["end_ps"][first] + 5_000_000


def test_a_chip_has_one_machine(run, monkeypatch):
    made = []
    of = Machines.of
    monkeypatch.setattr(Machines, "of", lambda *a: made.append(of(*a)) or made[-1])
    run("serving.instances=[{count: 2}, {chip: 1}]", "traffic.requests=1")
    assert len({id(session) for session in made[:2]}) == 1
    assert len({id(session) for session in made}) == 2


def test_layer_by_layer_to_another_chip_crosses_the_link(run):
    """1 GB/s = 1 byte a ns; the last of four layers leaves when the prompt ends."""
    found = run(
        "serving.instances=[{role: prefill}, {role: decode, chip: 1, parallel: {tp: 4}}]",
        "serving.transfer=layer", "serving.kv_link={gb_s: 1.0, latency_us: 10}",
    )  # fmt: skip
    took_ps = 10_000_000 + 1000 * int(found.transfers["bytes"][0])
    prompt_end_ps = int(found.requests["first_token_ps"][0])
    assert found.transfers["end_ps"][0] == prompt_end_ps + took_ps // 4
