"""A model's MLP, dense or mixture of experts → its ops from the normed input to the last sum."""

from npusim.graph import ops
from npusim.graph.sketch import Sketch
from npusim.spec.model import Model, Moe


def dense_mlp(sketch: Sketch, source: str, model: Model, rows: int) -> str:
    """Up (and gate), activation, down; returns the name of the last op."""
    hidden, width, bias = model.hidden_size, model.intermediate_size, model.mlp_bias
    name, parts = ("gate_up", 2) if model.gated else ("up", 1)
    up = sketch.add(ops.matmul(name, name, rows, hidden, parts * width, bias), source)
    acted = ops.activation("activation", model.activation, rows, width, model.gated)
    middle = sketch.add(acted, up)
    return sketch.add(ops.matmul("down", "down", rows, width, hidden, bias), middle)


def spread_tokens(rows: int, top_k: int, num_experts: int) -> tuple[int, ...]:
    """Tokens of every expert; with fewer choices than experts only the first ones have any.

    Assumes balanced routing: the rows * top_k choices are dealt out evenly.
    """
    each, more = divmod(rows * top_k, num_experts)
    return (each + 1,) * more + (each,) * (num_experts - more)


def moe_mlp(sketch: Sketch, source: str, model: Model, moe: Moe, rows: int) -> str:
    """Router, routed experts and their weighted sum, plus the shared expert where there is one;
    returns the name of the last op."""
    hidden, width = model.hidden_size, moe.expert_size
    tokens = spread_tokens(rows, moe.top_k, moe.num_experts)
    router = ops.matmul("router", "router", rows, hidden, moe.num_experts, moe.router_bias)
    chosen = sketch.add(ops.topk(rows, moe.num_experts, moe.top_k), sketch.add(router, source))
    up = ops.experts("expert_gate_up", "expert_gate_up", tokens, hidden, 2 * width)
    acted = ops.activation("expert_activation", model.activation, sum(tokens), width, True)
    middle = sketch.add(acted, sketch.add(up, source, chosen))
    down = sketch.add(ops.experts("expert_down", "expert_down", tokens, width, hidden), middle)
    routed = sketch.add(ops.moe_combine(rows, hidden, moe.top_k), down, chosen)
    if not moe.shared_size:
        return routed
    shared = _shared_expert(sketch, source, model, moe, rows)
    return sketch.add(ops.add("shared_add", rows, hidden), routed, shared)


def _shared_expert(sketch: Sketch, source: str, model: Model, moe: Moe, rows: int) -> str:
    """The expert that every token visits, scaled by a sigmoid gate in Qwen2-MoE.

    Assumes that the sigmoid, of one number a token, is free.
    """
    hidden, width = model.hidden_size, moe.shared_size
    op = ops.matmul("shared_gate_up", "shared_gate_up", rows, hidden, 2 * width)
    acted = ops.activation("shared_activation", model.activation, rows, width, True)
    middle = sketch.add(acted, sketch.add(op, source))
    down = sketch.add(ops.matmul("shared_down", "shared_down", rows, width, hidden), middle)
    if not moe.shared_gate:
        return down
    gate = sketch.add(ops.matmul("shared_gate", "router", rows, hidden, 1), source)
    return sketch.add(ops.activation("shared_scale", "gate", rows, hidden, False), down, gate)
