"""The keys of models whose attention stands beside the MLP → fields of `Model`."""

from npusim.errors import SpecError
from npusim.spec.config_keys import MOST, Keys
from npusim.spec.dense_configs import LAYER_NORM_BIASED, activation, head_dim, llama


def gpt_neox(keys: Keys) -> dict:
    """GPT-NeoX and Pythia: RoPE on a part of the head, attention beside the MLP."""
    fields = llama(keys)
    return fields | {
        **LAYER_NORM_BIASED,
        "activation": activation(keys, "hidden_act", "gelu"),
        "rotary_fraction": keys.fraction("rotary_pct", 0.25),
        "parallel_residual": keys.flag("use_parallel_residual", True),
    }


def gptj(keys: Keys) -> dict:
    """GPT-J: one LayerNorm for both halves, biases in the MLP only, RoPE on `rotary_dim`."""
    hidden, heads = keys.count("n_embd"), keys.count("n_head")
    width = head_dim(keys, hidden, heads)
    return {
        "hidden_size": hidden,
        "num_layers": keys.layers("n_layer"),
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": width,
        "intermediate_size": keys.count("n_inner", default=4 * hidden),
        "vocab_size": keys.count("vocab_size"),
        "max_positions": keys.count("n_positions", default=MOST),
        "tied_embeddings": keys.flag("tie_word_embeddings", False),
        "mlp_bias": True,
        "norm": "layernorm",
        "gated": False,
        "activation": activation(keys, "activation_function", "gelu_new"),
        "rotary_fraction": keys.count("rotary_dim", default=width, most=width) / width,
        "parallel_residual": True,
        "shared_norm": True,
    }


def falcon(keys: Keys) -> dict:
    """Falcon-7B's kind: multi-query or multi-head attention, one LayerNorm for both halves.

    Raises SpecError for the variants with ALiBi, serial halves or grouped heads (Falcon-40B).
    """
    for key, expected in {
        "alibi": False,
        "parallel_attn": True,
        "new_decoder_architecture": False,
    }.items():
        if keys.flag(key, expected) is not expected:
            raise SpecError(f"{key} must be {str(expected).lower()}; others are not modelled")
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    bias = keys.flag("bias", False)
    return {
        "hidden_size": hidden,
        "num_layers": keys.layers("num_hidden_layers"),
        "num_heads": heads,
        "num_kv_heads": 1 if keys.flag("multi_query", True) else heads,
        "head_dim": head_dim(keys, hidden, heads),
        "intermediate_size": keys.count("ffn_hidden_size", default=4 * hidden),
        "vocab_size": keys.count("vocab_size"),
        "max_positions": keys.count("max_position_embeddings", default=2048),
        "tied_embeddings": keys.flag("tie_word_embeddings", True),
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": bias,
        "norm": "layernorm",
        "gated": False,
        "activation": activation(keys, "activation", "gelu"),
        "parallel_residual": True,
        "shared_norm": True,
    }
