"""A Model and a Batch → the graph of one iteration: every operator from embedding to sampling."""

from collections.abc import Hashable

import networkx as nx

from npusim.errors import SpecError, pick
from npusim.graph import ops
from npusim.graph.attention import attend, prefers_absorbed
from npusim.graph.batch import Batch, num_samples, num_tokens
from npusim.graph.ir import Op
from npusim.graph.mask import masked_slices
from npusim.graph.mlp import dense_mlp, moe_mlp
from npusim.graph.sketch import INPUT, Sketch
from npusim.spec.model import Model


def build(model: Model, batch: Batch, mla: str = "auto") -> nx.DiGraph:
    """The graph of one iteration of `batch`.

    `graph.graph["layers"]` maps a layer to the names of its ops, in order. `mla`: a row of
    MLA_FORMS. Equal layers get ops that are equal but for name and layer.

    Raises SpecError for an empty batch, an unknown `mla`, or positions beyond a learned table.
    """
    _check(model, batch)
    absorbed = pick(MLA_FORMS, mla, "mla")(model, batch)
    graph = nx.DiGraph(model=model.name, layers={})
    last = _embed(model, batch).stamp(graph, "")
    sketches: dict[Hashable, Sketch] = {}
    for layer in range(model.num_layers):
        key = (model.window(layer), model.is_moe(layer))
        if key not in sketches:
            sketches[key] = _layer(model, batch, layer, absorbed)
        last = sketches[key].stamp(graph, last, layer)
    if num_samples(batch):
        _head(model, num_samples(batch)).stamp(graph, last)
    return graph


def layer_signature(graph: nx.DiGraph, layer: int) -> Hashable:
    """Equal for two layers exactly when their ops and inner edges are, but for name and layer."""
    prefix = f"layer{layer}."
    rows = []
    for name in graph.graph["layers"][layer]:
        op: Op = graph.nodes[name]["op"]
        values = tuple(v for f, v in vars(op).items() if f not in ("name", "layer"))
        inner = (p.removeprefix(prefix) for p in graph.predecessors(name) if p.startswith(prefix))
        rows.append((name.removeprefix(prefix), values, tuple(sorted(inner))))
    return tuple(rows)


def _check(model: Model, batch: Batch) -> None:
    if not batch:
        raise SpecError("a batch needs at least one request")
    for piece in batch:
        if piece.new_tokens < 1 or piece.context_tokens < 0:
            raise SpecError(
                "a request needs new_tokens of at least 1 on context_tokens of at least 0, "
                f"not {piece.new_tokens} on {piece.context_tokens}"
            )
    longest = max(piece.new_tokens + piece.context_tokens for piece in batch)
    if model.position == "learned" and longest > model.max_positions:
        raise SpecError(
            f"{model.name} has learned positions for {model.max_positions} tokens, "
            f"the batch needs {longest}; shorten prompt and context"
        )


def _embed(model: Model, batch: Batch) -> Sketch:
    sketch, rows, hidden = Sketch(), num_tokens(batch), model.hidden_size
    tokens = sketch.add(
        ops.embedding("embedding", rows, model.vocab_size, hidden, model.scaled_embedding)
    )
    if model.position == "learned":
        table = ops.embedding("position_embedding", rows, model.position_rows, hidden)
        sketch.add(ops.add("position_add", rows, hidden), tokens, sketch.add(table))
    return sketch


def _layer(model: Model, batch: Batch, layer: int, absorbed: bool) -> Sketch:
    """Pre-norm layer; with `post_norms` each half's result is normed before it is added."""
    sketch, rows = Sketch(), num_tokens(batch)
    slices = masked_slices(batch, model.window(layer))
    normed = _norm(sketch, INPUT, model, rows, "attention_norm")
    attended = attend(sketch, normed, model, slices, absorbed)
    if model.post_norms:
        attended = _norm(sketch, attended, model, rows, "attention_post_norm")
    residual = sketch.add(ops.add("attention_add", rows, model.hidden_size), INPUT, attended)
    if not model.shared_norm:
        source = INPUT if model.parallel_residual else residual
        normed = _norm(sketch, source, model, rows, "mlp_norm")
    if model.moe is not None and model.is_moe(layer):
        made = moe_mlp(sketch, normed, model, model.moe, rows)
    else:
        made = dense_mlp(sketch, normed, model, rows)
    if model.post_norms:
        made = _norm(sketch, made, model, rows, "mlp_post_norm")
    sketch.add(ops.add("mlp_add", rows, model.hidden_size), residual, made)
    return sketch


def _norm(sketch: Sketch, source: str, model: Model, rows: int, name: str) -> str:
    return sketch.add(ops.norm(name, model.norm, rows, model.hidden_size), source)


def _head(model: Model, rows: int) -> Sketch:
    """Final norm, LM head and sampling of the `rows` last positions, gathered before the norm."""
    sketch, hidden, vocab = Sketch(), model.hidden_size, model.vocab_size
    normed = _norm(sketch, INPUT, model, rows, "final_norm")
    tied_to = "embedding" if model.tied_embeddings else ""
    logits = sketch.add(
        ops.matmul("lm_head", "lm_head", rows, hidden, vocab, tied_to=tied_to), normed
    )
    sketch.add(ops.sample(rows, vocab, model.logit_softcap), logits)
    return sketch


MLA_FORMS = {
    "auto": lambda model, batch: prefers_absorbed(model, masked_slices(batch)),
    "absorbed": lambda model, batch: True,
    "expanded": lambda model, batch: False,
}
