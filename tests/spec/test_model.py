import json
from pathlib import Path

import pytest

from npusim.errors import SpecError
from npusim.spec.architectures import ARCHITECTURES, MODEL_TYPES
from npusim.spec.model import Model

MODELS = Path(__file__).parents[2] / "workloads" / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.json"))

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
    "rms_norm_eps": 1e-5,
    "a_key_of_tomorrow": {"x": [1]},
}


def model(**changes):
    return Model.from_config(LLAMA | changes, "tiny")


def config(name):
    return json.loads((MODELS / f"{name}.json").read_text())


def refused(match, config=None, overrides=None, **changes):
    with pytest.raises(SpecError, match=match) as caught:
        Model.from_config(LLAMA | changes if config is None else config, "tiny", overrides)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("tiny: ")


@pytest.mark.parametrize("name", NAMES)
def test_bundled_models_are_read_and_hashable(name):
    read = Model.from_config(config(name), name)
    assert read.name == name and hash(read) == hash(Model.from_config(config(name), name))


def test_there_are_twenty_three_bundled_models():
    assert len(NAMES) == 23


def test_llama_fields():
    read = model()
    assert (read.hidden_size, read.num_layers, read.head_dim, read.rotary_dim) == (64, 4, 8, 8)
    assert not read.tied_embeddings and not read.qkv_bias and read.gated
    assert read.window(3) == 0 and not read.is_moe(3)


def test_missing_or_null_kv_heads_are_all_heads():
    assert model(num_key_value_heads=None).num_kv_heads == 8


def test_head_dim_of_its_own():
    assert model(head_dim=24).head_dim == 24


def test_gpt2_keys():
    read = Model.from_config(config("gpt-3-175b"))
    assert (read.hidden_size, read.num_heads, read.num_layers) == (12288, 96, 96)
    assert read.intermediate_size == 4 * 12288 and read.position_rows == 2048
    assert read.tied_embeddings and read.norm == "layernorm" and not read.gated


@pytest.mark.parametrize("layer, window", [(0, 4096), (1, 0), (40, 4096), (41, 0)])
def test_gemma2_slides_in_even_layers(layer, window):
    read = Model.from_config(config("gemma-2-9b"))
    assert read.window(layer) == window and read.post_norms and read.score_softcap


def test_mistral_slides_in_every_layer():
    assert set(Model.from_config(config("mistral-7b")).windows) == {4096}


def test_qwen_slides_only_when_told_to():
    keys = config("qwen3-1.7b") | {"sliding_window": 512, "max_window_layers": 27}
    assert Model.from_config(keys).windows == ()
    assert Model.from_config(keys | {"use_sliding_window": True}).windows == (0,) * 27 + (512,)


def test_layer_types_win_and_may_list_spare_layers():
    types = ["full_attention", "sliding_attention"] * 4
    keys = LLAMA | {"architectures": ["MistralForCausalLM"], "sliding_window": 128}
    assert Model.from_config(keys | {"layer_types": types}).windows == (0, 128, 0, 128)


@pytest.mark.parametrize("layer, moe", [(0, False), (2, False), (3, True), (60, True)])
def test_deepseek_starts_dense(layer, moe):
    read = Model.from_config(config("deepseek-v3"))
    assert read.is_moe(layer) is moe
    assert read.mla.kv_lora_rank == 512 and read.head_dim == 192
    assert read.moe.shared_size == 2048 and read.moe.router_bias


def test_qwen_moe_steps_and_dense_layers():
    keys = config("qwen3-30b-a3b") | {"decoder_sparse_step": 2, "mlp_only_layers": [3]}
    assert [Model.from_config(keys).is_moe(layer) for layer in range(6)] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]


def test_text_config_is_the_language_model():
    text = {k: v for k, v in LLAMA.items() if k != "architectures"} | {"model_type": "llama"}
    outer = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "vision_config": {"hidden_size": 1024},
        "text_config": text,
    }
    assert Model.from_config(outer, "tiny") == model()


def test_gemma3_text_config_leaves_out_what_transformers_assumes():
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "sliding_window": 1024,
    }
    outer = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    read = Model.from_config(outer)
    assert (read.num_heads, read.num_kv_heads, read.head_dim) == (8, 4, 256)
    assert read.windows[:6] == (1024,) * 5 + (0,) and read.qk_norm


def test_model_type_stands_in_for_the_architecture():
    keys = {k: v for k, v in LLAMA.items() if k != "architectures"}
    assert Model.from_config(keys | {"model_type": "llama"}, "tiny") == model()


def test_every_model_type_has_an_architecture():
    assert set(MODEL_TYPES.values()) == set(ARCHITECTURES)


def test_overrides_replace_keys():
    assert Model.from_config(LLAMA, "tiny", {"num_hidden_layers": 2}) == model(num_hidden_layers=2)


def test_overrides_reach_into_text_config():
    outer = {"text_config": LLAMA | {"model_type": "llama"}}
    read = Model.from_config(outer, "tiny", {"num_hidden_layers": 2})
    assert read == model(num_hidden_layers=2)


def test_unknown_override_is_refused():
    refused(
        "'num_hidden_layer' is not known; did you mean 'num_hidden_layers'",
        overrides={"num_hidden_layer": 2},
    )


def test_unknown_architecture_lists_what_is_known():
    refused("'LLamaForCausalLM' is not known; did you mean 'LlamaForCausalLM'.*Qwen3MoeForCausalLM",
            architectures=["LLamaForCausalLM"])  # fmt: skip
    refused("'mamba' is not known.*known are DeepseekV2ForCausalLM",
            architectures=None, model_type="mamba")  # fmt: skip
    refused("needs the key 'architectures'", config={"hidden_size": 8})
    refused("needs the key 'architectures'", config={"architectures": []})


def test_config_must_be_an_object():
    refused("must be a JSON object, not list", config=[1, 2])


def test_missing_key_is_named_with_the_nearest():
    broken = {("hidden_sizes" if k == "hidden_size" else k): v for k, v in LLAMA.items()}
    refused("needs the key 'hidden_size'; did you mean 'hidden_sizes'", config=broken)


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"hidden_size": "64"}, "hidden_size must be an integer, not '64'"),
        ({"hidden_size": 64.5}, "hidden_size must be an integer"),
        ({"hidden_size": True}, "hidden_size must be an integer, not True"),
        ({"vocab_size": -1}, "vocab_size must be from 1 to"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be from 1 to 4096, not 0"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers must be from 1 to 4096"),
        ({"num_key_value_heads": 3}, "num_attention_heads 8 must be a multiple of .*heads 3"),
        ({"num_attention_heads": 7}, "hidden_size 64 must be a multiple of the 7"),
        ({"attention_bias": "no"}, "attention_bias must be true or false"),
        ({"hidden_act": "sillu"}, "hidden_act must be one of .*did you mean 'silu'"),
        ({"hidden_act": 3}, "hidden_act must be a string"),
        ({"partial_rotary_factor": 2}, "partial_rotary_factor must be above 0 and at most 1"),
    ],
)
def test_bad_values_name_the_key(changes, match):
    refused(match, **changes)


def test_bad_layer_types():
    mistral = LLAMA | {"architectures": ["MistralForCausalLM"]}
    refused("layer_types must list", config=mistral | {"layer_types": ["full_attention"]})
    refused("layer_types must list", config=mistral | {"layer_types": ["mamba"] * 4})


def test_more_chosen_than_there_are_experts():
    refused("num_experts_per_tok 9 must not exceed the 8 experts",
            config=config("mixtral-8x7b") | {"num_experts_per_tok": 9})  # fmt: skip


def test_opt_variants_that_are_not_modelled():
    keys = {
        "architectures": ["OPTForCausalLM"],
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 256,
        "vocab_size": 1000,
        "max_position_embeddings": 128,
    }
    assert Model.from_config(keys).position_rows == 130
    refused("word_embed_proj_dim", config=keys | {"word_embed_proj_dim": 32})
    refused("do_layer_norm_before", config=keys | {"do_layer_norm_before": False})


@pytest.mark.parametrize("listed", [[{}], {"a": 1}, [7]])
def test_architectures_that_are_no_names_are_refused(listed):
    with pytest.raises(SpecError, match="architectures must list names, not"):
        Model.from_config({"architectures": listed}, "m")
