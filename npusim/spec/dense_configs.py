"""The keys of dense models' configs → fields of `Model`; a reader takes Keys, returns a dict."""

from collections.abc import Callable

from npusim.errors import SpecError, pick
from npusim.spec.config_keys import ACTIVATIONS, MOST, Keys


def activation(keys: Keys, key: str = "hidden_act", default: str = "silu") -> str:
    return pick(ACTIVATIONS, keys.text(key, default), key)


def head_dim(keys: Keys, hidden_size: int, num_heads: int) -> int:
    if keys.raw("head_dim") is not None:
        return keys.count("head_dim")
    if hidden_size % num_heads:
        raise SpecError(
            f"hidden_size {hidden_size} must be a multiple of the {num_heads} attention heads "
            "when head_dim is not given"
        )
    return hidden_size // num_heads


def _listed_windows(keys: Keys, num_layers: int) -> tuple[int, ...] | None:
    """Windows from `layer_types`, the key of newer configs; it may list spare layers."""
    types = keys.raw("layer_types")
    if types is None:
        return None
    known = {"full_attention", "sliding_attention"}
    if not isinstance(types, list) or len(types) < num_layers or not set(types) <= known:
        raise SpecError(
            f"layer_types must list full_attention or sliding_attention for all {num_layers} layers"
        )
    size = keys.count("sliding_window") if "sliding_attention" in types else 0
    return tuple(size if kind == "sliding_attention" else 0 for kind in types[:num_layers])


def _windows(keys: Keys, num_layers: int, slides: Callable[[int], bool]) -> tuple[int, ...]:
    """Sliding window by layer, 0 = none; `slides(layer)` where the config does not list layers."""
    listed = _listed_windows(keys, num_layers)
    if listed is not None:
        return listed
    size = keys.count("sliding_window", default=0, least=0)
    return tuple(size if slides(layer) else 0 for layer in range(num_layers))


def llama(keys: Keys) -> dict:
    """Llama and all that share its keys: RMSNorm, RoPE, gated MLP."""
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    bias = keys.flag("attention_bias", False)
    return {
        "hidden_size": hidden,
        "num_layers": keys.layers("num_hidden_layers"),
        "num_heads": heads,
        "num_kv_heads": keys.count("num_key_value_heads", default=heads),
        "head_dim": head_dim(keys, hidden, heads),
        "intermediate_size": keys.count("intermediate_size"),
        "vocab_size": keys.count("vocab_size"),
        "max_positions": keys.count("max_position_embeddings", default=MOST),
        "tied_embeddings": keys.flag("tie_word_embeddings", False),
        "qkv_bias": bias,
        "output_bias": bias,
        "mlp_bias": keys.flag("mlp_bias", False),
        "activation": activation(keys),
        "rotary_fraction": keys.fraction("partial_rotary_factor", 1.0),
    }


def mistral(keys: Keys) -> dict:
    fields = llama(keys)
    return fields | {"windows": _windows(keys, fields["num_layers"], lambda _: True)}


def _qwen_windows(keys: Keys, num_layers: int) -> tuple[int, ...]:
    """Qwen slides only with use_sliding_window, from layer max_window_layers on."""
    if not keys.flag("use_sliding_window", False):
        return ()
    first = keys.count("max_window_layers", default=0, least=0)
    return _windows(keys, num_layers, lambda layer: layer >= first)


def qwen2(keys: Keys) -> dict:
    """Qwen2/2.5: bias on q, k and v, none on the output."""
    fields = llama(keys)
    windows = _qwen_windows(keys, fields["num_layers"])
    return fields | {"qkv_bias": True, "output_bias": False, "windows": windows}


def qwen3(keys: Keys) -> dict:
    """Qwen3: RMSNorm on the heads of q and k."""
    fields = llama(keys)
    return fields | {"qk_norm": True, "windows": _qwen_windows(keys, fields["num_layers"])}


def gemma(keys: Keys) -> dict:
    fields = llama(keys)
    return fields | {
        "tied_embeddings": keys.flag("tie_word_embeddings", True),
        "activation": activation(keys, "hidden_activation", "gelu"),
        "scaled_embedding": True,
    }


def gemma2(keys: Keys) -> dict:
    """Gemma-2: four norms a layer, soft-capped scores and logits, a window in every other layer."""
    fields = gemma(keys)
    return fields | {
        "post_norms": True,
        "score_softcap": keys.raw("attn_logit_softcapping") is not None,
        "logit_softcap": keys.raw("final_logit_softcapping") is not None,
        "windows": _windows(keys, fields["num_layers"], lambda layer: layer % 2 == 0),
    }


# What transformers' Gemma3TextConfig assumes for keys that the published configs leave out.
GEMMA3_DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262208,
    "sliding_window": 4096,
}


def gemma3(keys: Keys) -> dict:
    """Gemma-3: as Gemma-2 with head norms; every sixth layer looks at everything."""
    keys = keys.with_defaults(GEMMA3_DEFAULTS)
    fields = gemma2(keys)
    period = keys.count("sliding_window_pattern", default=6)
    windows = _windows(keys, fields["num_layers"], lambda layer: (layer + 1) % period != 0)
    return fields | {"qk_norm": True, "windows": windows}


LAYER_NORM_BIASED = {
    "qkv_bias": True,
    "output_bias": True,
    "mlp_bias": True,
    "norm": "layernorm",
    "gated": False,
}


def gpt2(keys: Keys) -> dict:
    """GPT-2/GPT-3: LayerNorm, learned positions, biases everywhere; n_inner is 4 n_embd."""
    hidden, heads = keys.count("n_embd"), keys.count("n_head")
    return {
        "hidden_size": hidden,
        "num_layers": keys.layers("n_layer"),
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": head_dim(keys, hidden, heads),
        "intermediate_size": keys.count("n_inner", default=4 * hidden),
        "vocab_size": keys.count("vocab_size"),
        "max_positions": keys.count("n_positions"),
        "tied_embeddings": keys.flag("tie_word_embeddings", True),
        "activation": activation(keys, "activation_function", "gelu_new"),
        "position": "learned",
        "position_rows": keys.count("n_positions"),
        **LAYER_NORM_BIASED,
    }


def opt(keys: Keys) -> dict:
    """OPT: as GPT-2 with two spare rows in the position table.

    Raises SpecError for the variants with post-norm or a projected embedding (OPT-350M).
    """
    hidden, heads = keys.count("hidden_size"), keys.count("num_attention_heads")
    if keys.count("word_embed_proj_dim", default=hidden) != hidden:
        raise SpecError("word_embed_proj_dim must equal hidden_size; others are not modelled")
    if not keys.flag("do_layer_norm_before", True):
        raise SpecError("do_layer_norm_before must be true; post-norm layers are not modelled")
    positions = keys.count("max_position_embeddings")
    return {
        "hidden_size": hidden,
        "num_layers": keys.layers("num_hidden_layers"),
        "num_heads": heads,
        "num_kv_heads": heads,
        "head_dim": head_dim(keys, hidden, heads),
        "intermediate_size": keys.count("ffn_dim"),
        "vocab_size": keys.count("vocab_size"),
        "max_positions": positions,
        "tied_embeddings": keys.flag("tie_word_embeddings", True),
        "activation": activation(keys, "activation_function", "relu"),
        "position": "learned",
        "position_rows": positions + 2,
        **LAYER_NORM_BIASED,
    }
