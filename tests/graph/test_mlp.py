import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.graph.batch import decode, prefill
from npusim.graph.ir import ops_in_order
from npusim.graph.mlp import spread_tokens
from npusim.graph.transformer import build
from npusim.spec.model import Model

MODELS = Path(__file__).parents[2] / "workloads" / "models"


def layer(name, batch, index, **overrides):
    config = json.loads((MODELS / f"{name}.json").read_text())
    graph = build(Model.from_config(config, name, overrides), batch)
    found = [op for op in ops_in_order(graph) if op.layer == index]
    return {op.name.rpartition(".")[2]: op for op in found}


@given(st.integers(1, 3000), st.integers(1, 16), st.integers(16, 256))
def test_routing_is_balanced(rows, top_k, num_experts):
    tokens = spread_tokens(rows, top_k, num_experts)
    assert len(tokens) == num_experts and sum(tokens) == rows * top_k
    assert max(tokens) - min(tokens) <= 1
    assert sum(t > 0 for t in tokens) == min(rows * top_k, num_experts)


def test_one_token_wakes_only_its_experts():
    ops = layer("qwen3-30b-a3b", decode(1, 9), 0, num_hidden_layers=1)
    assert ops["expert_gate_up"].expert_tokens == (1,) * 8 + (0,) * 120
    assert ops["expert_gate_up"].weight_elements == 128 * 2048 * 2 * 768
    assert ops["expert_gate_up"].flops == 2 * 8 * 2048 * 2 * 768


def test_mixtral_moe_by_hand():
    ops = layer("mixtral-8x7b", prefill(1, 10), 3, num_hidden_layers=4)
    assert (ops["router"].m, ops["router"].k, ops["router"].n) == (10, 4096, 8)
    assert ops["topk"].k == 2 and ops["topk"].vector_ops == 10 * 8 * 2
    assert ops["expert_down"].expert_tokens == (3,) * 4 + (2,) * 4
    assert ops["expert_down"].flops == 2 * 20 * 14336 * 4096
    assert ops["expert_activation"].elements == 20 * 14336
    assert ops["moe_combine"].input_elements == 2 * 10 * 4096
    assert ops["moe_combine"].vector_ops == 2 * 2 * 10 * 4096


def test_deepseek_shared_expert_runs_beside_the_routed_ones():
    ops = layer("deepseek-v3", prefill(1, 10), 3, num_hidden_layers=4)
    assert (ops["shared_gate_up"].n, ops["shared_down"].k) == (4096, 2048)
    assert "shared_add" in ops and ops["router"].bias
    dense = layer("deepseek-v3", prefill(1, 10), 2, num_hidden_layers=4)
    assert dense["gate_up"].n == 2 * 18432 and "router" not in dense


@pytest.mark.parametrize(
    "hidden_act, vector, sfu", [("silu", 2, 1), ("gelu", 9, 1), ("relu", 2, 0)]
)
def test_gated_activations(hidden_act, vector, sfu):
    op = layer("llama-2-7b", prefill(1, 3), 0, hidden_act=hidden_act)["activation"]
    assert (op.vector_ops, op.sfu_ops) == (vector * 3 * 11008, sfu * 3 * 11008)
    assert (op.input_elements, op.output_elements) == (6 * 11008, 3 * 11008)


def test_qwen2_moe_gates_its_shared_expert():
    config = {
        "architectures": ["Qwen2MoeForCausalLM"],
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 256,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 128,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "vocab_size": 100,
    }
    graph = build(Model.from_config(config), prefill(1, 5))
    assert graph.nodes["layer0.shared_gate"]["op"].weight_elements == 64
    assert set(graph.predecessors("layer0.shared_scale")) == {
        "layer0.shared_down",
        "layer0.shared_gate",
    }
    assert graph.nodes["layer0.qkv"]["op"].bias
