"""The keys of mixture-of-experts models' configs → fields of `Model`, MLA included."""

from npusim.errors import SpecError
from npusim.spec.config_keys import Keys
from npusim.spec.dense_configs import llama, mistral, qwen2, qwen3


def _expert_layers(keys: Keys, num_layers: int) -> dict:
    """Which layers are dense in the Qwen MoE configs."""
    dense = keys.raw("mlp_only_layers") or []
    if not isinstance(dense, list) or not all(isinstance(layer, int) for layer in dense):
        raise SpecError(f"mlp_only_layers must be a list of layers, not {dense!r}")
    return {
        "frequency": keys.count("decoder_sparse_step", default=1),
        "offset": keys.count("decoder_sparse_step", default=1) - 1,
        "dense_layers": tuple(sorted(layer for layer in dense if layer < num_layers)),
    }


def mixtral(keys: Keys) -> dict:
    """Mixtral: every layer's MLP is `num_local_experts` experts of intermediate_size."""
    fields = mistral(keys)
    moe = {
        "num_experts": keys.count("num_local_experts"),
        "top_k": keys.count("num_experts_per_tok"),
        "expert_size": fields["intermediate_size"],
    }
    return fields | {"moe": moe}


def qwen3_moe(keys: Keys) -> dict:
    fields = qwen3(keys)
    moe = {
        "num_experts": keys.count("num_experts"),
        "top_k": keys.count("num_experts_per_tok"),
        "expert_size": keys.count("moe_intermediate_size"),
        **_expert_layers(keys, fields["num_layers"]),
    }
    return fields | {"moe": moe}


def qwen2_moe(keys: Keys) -> dict:
    """Qwen1.5/2 MoE: as Qwen3 MoE with a shared expert behind a sigmoid gate."""
    moe = qwen3_moe(keys)["moe"]
    shared = keys.count("shared_expert_intermediate_size")
    return qwen2(keys) | {"moe": moe | {"shared_size": shared, "shared_gate": True}}


def _mla(keys: Keys) -> dict:
    return {
        "q_lora_rank": keys.count("q_lora_rank", default=0, least=0),
        "kv_lora_rank": keys.count("kv_lora_rank"),
        "qk_nope_head_dim": keys.count("qk_nope_head_dim"),
        "qk_rope_head_dim": keys.count("qk_rope_head_dim"),
        "v_head_dim": keys.count("v_head_dim"),
    }


def deepseek_v2(keys: Keys) -> dict:
    """DeepSeek-V2: MLA; routed and shared experts after the first dense layers."""
    config = llama(keys)
    size = keys.count("moe_intermediate_size")
    moe = {
        "num_experts": keys.count("n_routed_experts"),
        "top_k": keys.count("num_experts_per_tok"),
        "expert_size": size,
        "shared_size": keys.count("n_shared_experts", default=0, least=0) * size,
        "first_layer": keys.count("first_k_dense_replace", default=0, least=0),
        "frequency": keys.count("moe_layer_freq", default=1),
    }
    mla = _mla(keys)
    head_dim = mla["qk_nope_head_dim"] + mla["qk_rope_head_dim"]
    return config | {"head_dim": head_dim, "mla": mla, "moe": moe}


def deepseek_v3(keys: Keys) -> dict:
    """DeepSeek-V3/R1: as V2, and a bias a routed expert that balances the load.

    Assumes that the multi-token-prediction module is not run (it is not part of the 671 B).
    """
    fields = deepseek_v2(keys)
    return fields | {"moe": fields["moe"] | {"router_bias": True}}
