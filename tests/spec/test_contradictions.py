"""Keys of a scenario that are right by themselves and contradict one another, chip or model."""

import pytest

from npusim.errors import SpecError
from npusim.spec.load import load_scenario, resolve


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["workload.phase=decode"], "context_tokens is missing; phase decode needs it"),
        (
            ["workload.phase=decode", "workload.prompt_tokens=3"],
            "prompt_tokens does not go with phase decode",
        ),
        (["workload.phase=generate"], "output_tokens is missing; phase generate needs it"),
        (["workload.prompt_tokens="], "prompt_tokens is missing; phase prefill needs it"),
        (["workload.requests=[[1, 2]]"], "prompt_tokens does not go with requests"),
        (
            ["workload.prompt_tokens=", "workload.requests=[[1, 2]]", "workload.batch=2"],
            "batch does not go with requests",
        ),
        (
            [
                "workload.prompt_tokens=",
                "workload.requests=[[1, 2], [2, 2]]",
                "workload.phase=decode",
            ],
            "requests.1 must add 1 token in decode, not 2",
        ),
        (
            [
                "workload.prompt_tokens=",
                "workload.requests=[[1, 2]]",
                "workload.phase=generate",
            ],
            "lists one iteration",
        ),
        (
            ["hw.memories=[]", "workload={kind: memory, bytes: 9}"],
            "kind memory needs a memory; npu_large_core has none",
        ),
    ],
)
def test_keys_that_contradict_one_another(folder, overrides, text):
    with pytest.raises(SpecError, match=text):
        resolve(load_scenario(None, overrides))


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("ep=8", "parallel.ep: must be 1, as llama-3.1-8b has no experts, not 8"),
        ("mla=absorbed", "parallel.mla: must be auto, as llama-3.1-8b has no latent attention, "
         "not 'absorbed'"),
        ("{grid: [8, 8], partition: k}", "parallel.grid: is for partition mnk (or auto), not 'k'"),
    ],
)  # fmt: skip
def test_keys_without_effect_are_refused(override, error):
    text = f"parallel={override}" if override[0] == "{" else f"parallel.{override}"
    with pytest.raises(SpecError) as caught:
        resolve(load_scenario(None, [text]))
    assert str(caught.value) == error


@pytest.mark.parametrize("key", ["ep=8", "mla=absorbed"])
def test_keys_of_models_that_have_them_are_taken(key):
    assert resolve(load_scenario(None, ["model=deepseek-v3", f"parallel.{key}"]))


def test_memory_must_serve_the_core():
    overrides = ["hw=npu_hetero_pd", "workload={kind: memory, bytes: 64, core: [7, 7]}"]
    with pytest.raises(SpecError, match=r"memory must serve core 63; hbm_prefill does not"):
        resolve(load_scenario(None, overrides))
    assert resolve(load_scenario(None, [*overrides, "workload.memory=hbm_decode"]))
