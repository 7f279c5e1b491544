"""simulate(): the iterations of a workload, their order in time, reuse against exact runs."""

from dataclasses import replace

import pytest

from npusim.errors import CapacityError
from npusim.graph.batch import Slice
from npusim.program import COMPUTE
from npusim.simulate import simulate, simulate_both
from npusim.spec.load import Setup, load_hardware
from npusim.spec.model import Model
from npusim.spec.scenario import LlmWorkload, Scenario
from npusim.steps import steps_of

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 1024,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
}
GEMMA = LLAMA | {
    "architectures": ["Gemma2ForCausalLM"],
    "head_dim": 32,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "sliding_window": 64,
}
SMALL = {
    "mesh": {"rows": 2, "columns": 2},
    "core_groups.0.core.scratchpad.capacity_mib": 0.25,
    "core_groups.0.core.arrays": {"rows": 32, "columns": 32},
}
PREFILL = {"phase": "prefill", "prompt_tokens": 128}
MIXED = {"phase": "prefill", "requests": [[3, 0], [1, 9]]}
DECODE = {"phase": "decode", "batch": 2, "context_tokens": 256}
# Layers of some 20 us: a refresh more or less, every 3.9 us, makes those of 5 us unequal.
LONG_PREFILL = {"phase": "prefill", "prompt_tokens": 512}
LONG_DECODE = {"phase": "decode", "batch": 4, "context_tokens": 2048}
GENERATE = {"phase": "generate", "prompt_tokens": 64, "output_tokens": 18}


def setup(workload, config=LLAMA, **scenario):
    fields = {"model": "test", "parallel": {"tp": 4}, "workload": {"kind": "llm", **workload}}
    hardware = load_hardware("npu_large_core", SMALL)
    return Setup(Scenario(**fields | scenario), hardware, Model.from_config(config, "test"))


def with_reuse(one: Setup) -> Setup:
    return replace(one, scenario=one.scenario.model_copy(update={"reuse": True}))


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (PREFILL, [("prefill", (Slice(128),))]),
        (PREFILL | {"context_tokens": 5}, [("prefill", (Slice(128, 5),))]),
        (DECODE, [("decode", (Slice(1, 256), Slice(1, 256)))]),
        (MIXED, [("prefill", (Slice(3), Slice(1, 9)))]),
        (
            {"phase": "generate", "batch": 1, "prompt_tokens": 7, "output_tokens": 3},
            [("prefill", (Slice(7),)), ("decode 1", (Slice(1, 7),)), ("decode 2", (Slice(1, 8),))],
        ),
        ({"phase": "generate", "prompt_tokens": 7, "output_tokens": 1}, [("prefill", (Slice(7),))]),
    ],
)  # fmt: skip
def test_the_iterations_of_a_workload(workload, expected):
    steps = steps_of(LlmWorkload(**workload))
    assert [(step.label, step.batch) for step in steps] == expected


def test_iterations_follow_one_another_and_every_task_ends():
    run = simulate(setup(GENERATE | {"output_tokens": 3}))
    start_ps = 0
    for iteration in run.iterations:
        assert iteration.start_ps == start_ps
        assert iteration.makespan_ps == iteration.trace.makespan_ps == iteration.trace.end_ps.max()
        assert (iteration.trace.end_ps >= iteration.trace.start_ps).all()
        start_ps += iteration.makespan_ps
    assert run.makespan_ps == start_ps
    assert sum(i.output_tokens for i in run.iterations) == 3
    chosen = [note.split(",")[0] for note in run.notes if note.startswith("partition")]
    assert len(chosen) == len(set(chosen)) <= 2  # a choice is said once, not once a step
    assert {"graph", "lowering", "simulation"} <= set(run.cpu_s)


@pytest.mark.parametrize("config", [LLAMA, GEMMA], ids=["llama", "gemma2"])
@pytest.mark.parametrize("workload", [LONG_PREFILL, LONG_DECODE], ids=["prefill", "decode"])
def test_reused_layers_are_within_one_percent_of_all_layers(workload, config):
    exact = simulate(setup(workload, config))
    reused = simulate(with_reuse(setup(workload, config)))
    assert reused.makespan_ps == pytest.approx(exact.makespan_ps, rel=0.01)
    report = reused.iterations[0].reuse
    assert report["simulated_layers"] + report["reused_layers"] == 12
    assert report["reused_layers"] > 0 and report["spread_fraction"] <= 0.01
    assert any("reused" in note for note in reused.notes)
    tasks = [len(run.iterations[0].trace.program) for run in (reused, exact)]
    assert tasks[0] < tasks[1]


def test_interpolated_decode_steps_are_within_one_percent_of_all_steps():
    # a layer of 3 us is longer or shorter by when the refreshes fall; one of 4 us evens that out
    longer = GENERATE | {"prompt_tokens": 256}
    exact = simulate(setup(longer))
    reused = simulate(with_reuse(setup(longer)))
    assert len(reused.iterations) == len(exact.iterations) == 18
    for few, whole in zip(reused.iterations, exact.iterations, strict=True):
        assert few.makespan_ps == pytest.approx(whole.makespan_ps, rel=0.02)
    assert reused.makespan_ps == pytest.approx(exact.makespan_ps, rel=0.01)
    shared = [i for i in reused.iterations if i.reused_from is not None]
    assert shared and all(i.trace is reused.iterations[i.reused_from].trace for i in shared)


def test_flops_do_not_depend_on_the_engine():
    runs = [simulate(setup(DECODE, engine=engine)) for engine in ("fast", "simpy")]
    traces = [run.iterations[0].trace for run in runs]
    computes = [t.program.flops[t.program.kind == COMPUTE].sum() for t in traces]
    assert computes[0] == computes[1] and traces[0].makespan_ps == traces[1].makespan_ps


def test_both_levels_run_the_same_programs_and_lower_them_once():
    detailed, coarse = simulate_both(setup(GENERATE | {"output_tokens": 3}), record_spans=True)
    for one, other in zip(detailed.iterations, coarse.iterations, strict=True):
        assert one.label == other.label and one.trace.program is other.trace.program
        assert one.trace.spans is not None and other.trace.spans is None
    assert "lowering" in detailed.cpu_s and set(coarse.cpu_s) == {"simulation"}
    assert "fidelity: memory analytic, noc analytic" in coarse.notes
    assert detailed.makespan_ps == simulate(setup(GENERATE | {"output_tokens": 3})).makespan_ps


def test_both_levels_compare_with_what_the_scenario_makes_analytic():
    one = setup(PREFILL, fidelity={"noc": "analytic"})
    detailed, coarse = simulate_both(one)
    assert coarse.makespan_ps == simulate(one).makespan_ps
    assert detailed.makespan_ps == simulate(setup(PREFILL)).makespan_ps
    assert "fidelity: memory transaction, noc analytic" in coarse.notes


def test_reuse_holds_at_the_analytic_level_too():
    one = setup(LONG_PREFILL, fidelity={"memory": "analytic", "noc": "analytic"})
    reused, exact = simulate(with_reuse(one)), simulate(one)
    assert reused.iterations[0].reuse and reused.makespan_ps == pytest.approx(
        exact.makespan_ps, rel=0.01
    )


def test_a_generation_whose_traces_do_not_fit_this_machine_is_refused_early(monkeypatch):
    monkeypatch.setattr("npusim.simulate.memory_bytes", lambda: 1 << 20)
    work = {"phase": "generate", "prompt_tokens": 16, "output_tokens": 400}
    begun = []
    with pytest.raises(CapacityError, match=r"traces of 400 iterations need .* GiB.*use --reuse"):
        simulate(setup(work), progress=lambda label, done, total: begun.append(label))
    assert begun == ["prefill"]
