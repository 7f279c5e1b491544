"""One published model of every architecture that is read: its keys, and its parameters."""

import pytest

from npusim.graph.batch import decode
from npusim.graph.params import parameter_count
from npusim.graph.transformer import build
from npusim.spec.architectures import ARCHITECTURES
from npusim.spec.model import Model


def llama_keys(hidden, layers, heads, kv_heads, ffn, vocab, **more):
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        **more,
    }


MLA = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}

# Keys as on huggingface.co, and the parameters of the checkpoint's safetensors, in billions
MODELS = {
    # TinyLlama-1.1B
    "LlamaForCausalLM": (llama_keys(2048, 22, 32, 4, 5632, 32000), 1.100),
    # Mistral-Nemo-Base-2407
    "MistralForCausalLM": (llama_keys(5120, 40, 32, 8, 14336, 131072, head_dim=128), 12.248),
    # Phi-3-mini-4k
    "Phi3ForCausalLM": (llama_keys(3072, 32, 32, 32, 8192, 32064, sliding_window=2047), 3.821),
    # Qwen2.5-7B
    "Qwen2ForCausalLM": (llama_keys(3584, 28, 28, 4, 18944, 152064), 7.616),
    # Qwen3-8B
    "Qwen3ForCausalLM": (llama_keys(4096, 36, 32, 8, 12288, 151936, head_dim=128), 8.191),
    # gemma-7b
    "GemmaForCausalLM": (llama_keys(3072, 28, 16, 16, 24576, 256000, head_dim=256), 8.538),
    # gemma-2-2b
    "Gemma2ForCausalLM": (llama_keys(2304, 26, 8, 4, 9216, 256000, head_dim=256), 2.614),
    # gemma-3-1b
    "Gemma3ForCausalLM": (llama_keys(1152, 26, 4, 1, 6912, 262144, head_dim=256), 1.000),
    # gpt2-xl
    "GPT2LMHeadModel": (
        {"n_embd": 1600, "n_layer": 48, "n_head": 25, "vocab_size": 50257, "n_positions": 1024},
        1.558,
    ),
    # opt-6.7b
    "OPTForCausalLM": (
        {
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "ffn_dim": 16384,
            "vocab_size": 50272,
            "max_position_embeddings": 2048,
        },
        6.658,
    ),
    # pythia-6.9b
    "GPTNeoXForCausalLM": (llama_keys(4096, 32, 32, 32, 16384, 50432), 6.857),
    # gpt-j-6b
    "GPTJForCausalLM": (
        {"n_embd": 4096, "n_layer": 28, "n_head": 16, "vocab_size": 50400, "rotary_dim": 64},
        6.053,
    ),
    # falcon-rw-1b has ALiBi; falcon-7b with its tied table once
    "FalconForCausalLM": (
        {
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "vocab_size": 65024,
        },
        6.922,
    ),
    # Mixtral-8x22B
    "MixtralForCausalLM": (
        llama_keys(6144, 56, 48, 8, 16384, 32768, num_local_experts=8, num_experts_per_tok=2),
        140.6,
    ),
    # Qwen1.5-MoE-A2.7B
    "Qwen2MoeForCausalLM": (
        llama_keys(
            2048,
            24,
            16,
            16,
            5632,
            151936,
            num_experts=60,
            num_experts_per_tok=4,
            moe_intermediate_size=1408,
            shared_expert_intermediate_size=5632,
        ),
        14.32,
    ),
    # Qwen3-235B-A22B
    "Qwen3MoeForCausalLM": (
        llama_keys(
            4096,
            94,
            64,
            4,
            12288,
            151936,
            head_dim=128,
            num_experts=128,
            num_experts_per_tok=8,
            moe_intermediate_size=1536,
        ),
        235.1,
    ),
    # DeepSeek-V2-Lite
    "DeepseekV2ForCausalLM": (
        llama_keys(
            2048,
            27,
            16,
            16,
            10944,
            102400,
            n_routed_experts=64,
            n_shared_experts=2,
            num_experts_per_tok=6,
            moe_intermediate_size=1408,
            first_k_dense_replace=1,
            q_lora_rank=None,
            **MLA,
        ),
        15.71,
    ),
    # Kimi-K2 (1.0 T in its model card)
    "DeepseekV3ForCausalLM": (
        llama_keys(
            7168,
            61,
            64,
            64,
            18432,
            163840,
            n_routed_experts=384,
            n_shared_experts=1,
            num_experts_per_tok=8,
            moe_intermediate_size=2048,
            first_k_dense_replace=1,
            q_lora_rank=1536,
            **MLA,
        ),
        1026.0,
    ),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_within_one_per_cent(architecture):
    keys, published = MODELS[architecture]
    model = Model.from_config({"architectures": [architecture], **keys}, architecture)
    assert parameter_count(model) / 1e9 == pytest.approx(published, rel=0.01)
    assert len(build(model, decode(1, 10))) > 10 * model.num_layers
