import json
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npusim.errors import SpecError
from npusim.graph.batch import Slice, decode, num_tokens, prefill
from npusim.graph.ir import OP_KINDS, ROLES, ops_in_order
from npusim.graph.transformer import build, layer_signature
from npusim.spec.model import Model

MODELS = Path(__file__).parents[2] / "workloads" / "models"
NAMES = sorted(path.stem for path in MODELS.glob("*.json"))
BATCHES = {
    "prefill": prefill(2, 17),
    "chunk": (Slice(8, 24, samples=False),),
    "decode": decode(3, 40),
    "mixed": (Slice(16, 32), Slice(1, 7), Slice(1, 99)),
}
ATTENTION = ("qk", "softmax", "av")


def config(name):
    return json.loads((MODELS / f"{name}.json").read_text())


def model(name, **overrides):
    return Model.from_config(config(name), name, overrides)


def ops(graph, layer=None):
    """Ops by their name without the layer."""
    found = [op for op in ops_in_order(graph) if layer is None or op.layer == layer]
    return {op.name.rpartition(".")[2]: op for op in found}


def total(graph, field, kinds=None):
    return sum(getattr(op, field) for op in ops_in_order(graph) if not kinds or op.kind in kinds)


@pytest.mark.parametrize("phase", BATCHES)
@pytest.mark.parametrize("name", NAMES)
def test_every_graph_keeps_the_contract(name, phase):
    graph = build(model(name), BATCHES[phase])
    assert nx.is_directed_acyclic_graph(graph)
    order = ops_in_order(graph)
    assert [op.name for op in order] == list(graph.nodes)
    for op in order:
        assert op.kind in OP_KINDS
        assert (op.role in ROLES) == (op.kind in ("matmul", "experts"))
        assert (op.flops > 0) == (op.kind in ("matmul", "experts", "qk", "av"))
        assert op.output_elements > 0
        assert graph.in_degree(op.name) > 0 or op.kind == "embedding"
        if op.kind == "matmul":
            assert op.flops == 2 * op.m * op.k * op.n
            assert op.weight_elements == op.k * op.n + op.n * op.bias
    ends = [name for name in graph if graph.out_degree(name) == 0]
    last_layer = model(name).num_layers - 1
    assert ends == (["sample"] if phase != "chunk" else [f"layer{last_layer}.mlp_add"])


def test_llama_layer_by_hand():
    """Llama-3.1-8B, two prompts of 100: sizes written out from the paper's table 3."""
    graph = build(model("llama-3.1-8b"), prefill(2, 100))
    layer = ops(graph, 5)
    assert list(layer) == [
        "attention_norm",
        "qkv",
        "rope",
        "qk",
        "softmax",
        "av",
        "output",
        "attention_add",
        "mlp_norm",
        "gate_up",
        "activation",
        "down",
        "mlp_add",
    ]
    pairs = 2 * 100 * 101 // 2
    assert (layer["qkv"].m, layer["qkv"].k, layer["qkv"].n) == (200, 4096, 6144)
    assert layer["qkv"].kv_write_elements == 200 * 2 * 8 * 128
    assert layer["qk"].slices == ((100, 100, 5050),) * 2
    assert layer["qk"].flops == layer["av"].flops == 2 * 32 * 128 * pairs
    assert layer["qk"].kv_read_elements == layer["av"].kv_read_elements == 200 * 8 * 128
    assert layer["qk"].input_elements == 200 * 4096
    assert layer["softmax"].elements == layer["qk"].output_elements == 32 * pairs
    assert layer["softmax"].vector_ops == 5 * 32 * pairs
    assert layer["softmax"].sfu_ops == 32 * pairs + 32 * 200
    assert layer["rope"].elements == 200 * 40 * 128
    assert layer["gate_up"].n == 2 * 14336 and layer["down"].k == 14336
    assert layer["activation"].sfu_ops == 200 * 14336
    assert layer["attention_norm"].vector_ops == 4 * 200 * 4096
    head = ops(graph, -1)
    assert (head["lm_head"].m, head["final_norm"].m, head["sample"].m) == (2, 2, 2)
    assert (head["embedding"].m, head["embedding"].k, head["embedding"].n) == (200, 128256, 4096)


@pytest.mark.parametrize("name", ["llama-2-7b", "qwen3-8b", "gemma-2-9b"])
def test_matmul_flops_are_two_a_weight_and_token(name):
    graph = build(model(name), prefill(1, 64))
    inside = [op for op in ops_in_order(graph) if op.kind == "matmul" and op.layer >= 0]
    assert sum(op.flops for op in inside) == 2 * 64 * sum(op.weight_elements for op in inside)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
    st.sampled_from(["qwen3-1.7b", "mistral-7b", "gemma-2-9b"]),
    st.integers(1, 80),
)
def test_chunked_prefill_does_what_a_whole_one_does(chunks, name, window):
    small = model(name, num_hidden_layers=2, sliding_window=window)
    whole = build(small, prefill(1, sum(chunks)))
    done, parts = 0, []
    for i, chunk in enumerate(chunks):
        parts.append(build(small, (Slice(chunk, done, samples=i + 1 == len(chunks)),)))
        done += chunk
    for field in ("flops", "vector_ops", "sfu_ops", "kv_write_elements", "output_elements"):
        assert sum(total(part, field) for part in parts) == total(whole, field)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "mistral-7b", "gpt-3-175b"])
def test_decode_after_prefill_is_a_longer_prefill(name):
    read = model(name)
    longer = total(build(read, prefill(1, 33)), "flops", ATTENTION)
    shorter = total(build(read, prefill(1, 32)), "flops", ATTENTION)
    step = total(build(read, decode(1, 32)), "flops", ATTENTION)
    assert shorter + step == longer


def test_a_batch_is_the_sum_of_its_requests():
    read = model("qwen3-4b")
    batch = BATCHES["mixed"]
    together = build(read, batch)
    for field in ("flops", "vector_ops", "sfu_ops", "kv_read_elements", "kv_write_elements"):
        alone = sum(total(build(read, (piece,)), field) for piece in batch)
        assert total(together, field) == alone


def test_window_limits_scores_and_kv_reads():
    graph = build(model("gemma-2-9b"), decode(1, 5000))
    sliding, full = ops(graph, 0)["qk"], ops(graph, 1)["qk"]
    assert sliding.slices == ((1, 4096, 4096),) and full.slices == ((1, 5001, 5001),)
    assert layer_signature(graph, 0) == layer_signature(graph, 2) != layer_signature(graph, 1)


def test_gemma2_has_four_norms_and_soft_caps():
    graph = build(model("gemma-2-9b"), prefill(1, 8))
    layer, head = ops(graph, 0), ops(graph, -1)
    norms = [name for name, op in layer.items() if op.kind == "norm"]
    assert norms == ["attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm"]
    scores = 16 * 36
    assert layer["softmax"].sfu_ops == 2 * scores + 16 * 8
    assert head["sample"].sfu_ops == 256000
    assert head["lm_head"].tied_to == "embedding" and head["embedding"].vector_ops == 8 * 3584


def test_qwen3_norms_the_heads():
    layer = ops(build(model("qwen3-8b"), prefill(1, 10)), 0)
    assert (layer["q_norm"].m, layer["k_norm"].m, layer["q_norm"].n) == (320, 80, 128)
    assert layer["q_norm"].weight_elements == 128


def test_gpt_has_learned_positions_and_biases():
    graph = build(model("gpt-3-175b"), prefill(1, 10))
    head, layer = ops(graph, -1), ops(graph, 0)
    assert head["position_embedding"].k == 2048 and "position_add" in head
    assert "rope" not in layer and "up" in layer and "gate_up" not in layer
    biased = [name for name, op in layer.items() if op.kind == "matmul" and op.bias]
    assert biased == ["qkv", "output", "up", "down"]
    assert layer["attention_norm"].weight_elements == 2 * 12288


def test_learned_positions_end():
    read = model("gpt-3-175b")
    build(read, prefill(1, 2048))
    with pytest.raises(SpecError, match="learned positions for 2048 tokens, the batch needs 2049"):
        build(read, decode(1, 2048))


def test_parallel_residual_feeds_both_halves_from_the_layer_input():
    pythia = {
        "architectures": ["GPTNeoXForCausalLM"],
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "vocab_size": 100,
        "max_position_embeddings": 128,
        "rotary_pct": 0.25,
    }
    graph = build(Model.from_config(pythia), prefill(1, 3))
    for norm in ("attention_norm", "mlp_norm"):
        assert list(graph.predecessors(f"layer1.{norm}")) == ["layer0.mlp_add"]
    assert ops(graph, 0)["rope"].elements == 3 * 8 * 4
    one_by_one = Model.from_config(pythia | {"use_parallel_residual": False})
    assert list(build(one_by_one, prefill(1, 3)).predecessors("layer1.mlp_norm")) == [
        "layer1.attention_add"
    ]


def test_a_shared_norm_feeds_attention_and_mlp():
    keys = {"architectures": ["GPTJForCausalLM"], "n_embd": 64, "n_layer": 2, "n_head": 4}
    graph = build(Model.from_config(keys | {"vocab_size": 100, "rotary_dim": 8}), prefill(1, 3))
    assert set(graph.successors("layer1.attention_norm")) == {"layer1.qkv", "layer1.up"}
    assert "layer1.mlp_norm" not in graph
    assert list(graph.predecessors("layer1.attention_norm")) == ["layer0.mlp_add"]
    assert ops(graph, 0)["rope"].elements == 3 * 8 * 2 * 4


def test_residual_edges_cross_the_halves():
    graph = build(model("llama-3.1-8b"), prefill(1, 4))
    assert set(graph.predecessors("layer3.attention_add")) == {"layer2.mlp_add", "layer3.output"}
    assert set(graph.predecessors("layer3.mlp_add")) == {"layer3.attention_add", "layer3.down"}
    assert set(graph.predecessors("layer3.av")) == {"layer3.softmax", "layer3.qkv"}


@pytest.mark.parametrize("name, kinds", [("llama-3.1-405b", 1), ("deepseek-v3", 2)])
def test_equal_layers_have_equal_signatures(name, kinds):
    read = model(name)
    graph = build(read, prefill(1, 16))
    assert len({layer_signature(graph, layer) for layer in range(read.num_layers)}) == kinds
    assert sorted(graph.graph["layers"]) == list(range(read.num_layers))


def test_empty_batch_and_bad_slices_are_refused():
    read = model("qwen3-1.7b")
    with pytest.raises(SpecError, match="at least one request"):
        build(read, ())
    with pytest.raises(SpecError, match="not 0 on 4"):
        build(read, (Slice(0, 4),))
    with pytest.raises(SpecError, match="not 1 on -4"):
        build(read, (Slice(1, -4),))


def test_tokens_of_a_batch():
    assert num_tokens(BATCHES["mixed"]) == 18
