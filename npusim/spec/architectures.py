"""Which reader understands the keys of which HF architecture, and the model types that mean one.

A reader takes a `Keys` and returns the fields of `Model`; keys it does not ask for are ignored,
as configs carry many. A new architecture is a reader and a row here.
"""

from collections.abc import Callable

from npusim.spec.config_keys import Keys
from npusim.spec.dense_configs import (
    gemma,
    gemma2,
    gemma3,
    gpt2,
    llama,
    mistral,
    opt,
    qwen2,
    qwen3,
)
from npusim.spec.moe_configs import deepseek_v2, deepseek_v3, mixtral, qwen2_moe, qwen3_moe
from npusim.spec.parallel_configs import falcon, gpt_neox, gptj

ARCHITECTURES: dict[str, Callable[[Keys], dict]] = {
    "LlamaForCausalLM": llama,
    "MistralForCausalLM": mistral,
    "Phi3ForCausalLM": mistral,
    "Qwen2ForCausalLM": qwen2,
    "Qwen3ForCausalLM": qwen3,
    "GemmaForCausalLM": gemma,
    "Gemma2ForCausalLM": gemma2,
    "Gemma3ForCausalLM": gemma3,
    "GPT2LMHeadModel": gpt2,
    "OPTForCausalLM": opt,
    "GPTNeoXForCausalLM": gpt_neox,
    "GPTJForCausalLM": gptj,
    "FalconForCausalLM": falcon,
    "MixtralForCausalLM": mixtral,
    "Qwen2MoeForCausalLM": qwen2_moe,
    "Qwen3MoeForCausalLM": qwen3_moe,
    "DeepseekV2ForCausalLM": deepseek_v2,
    "DeepseekV3ForCausalLM": deepseek_v3,
}

# model_type of configs that name no architecture, or nest the language model in text_config.
MODEL_TYPES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "opt": "OPTForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM",
    "gptj": "GPTJForCausalLM",
    "falcon": "FalconForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
}
