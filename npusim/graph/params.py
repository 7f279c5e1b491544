"""A Model → its parameter counts and KV bytes a token, counted from the ops of its graph."""

from npusim.graph.batch import prefill
from npusim.graph.ir import Op
from npusim.graph.transformer import build
from npusim.spec.model import Model
from npusim.spec.scenario import dtype_bytes


def _ops(model: Model) -> list[Op]:
    graph = build(model, prefill(1, 1))
    return [op for _, op in graph.nodes(data="op")]


def parameter_count(model: Model) -> int:
    """Weight elements of all ops; weights shared by two ops (a tied LM head) count once."""
    return sum(op.weight_elements for op in _ops(model) if not op.tied_to)


def active_parameter_count(model: Model) -> int:
    """Weight elements that one token meets: its row of an embedding table, its experts."""
    return sum(_active(op) for op in _ops(model))


def _active(op: Op) -> int:
    if op.kind == "embedding":
        return op.n
    if op.kind == "experts":
        return op.m * op.k * op.n
    return op.weight_elements


def kv_bytes_per_token(model: Model, dtype: str = "bf16") -> int:
    """Bytes that one token adds to the KV cache over all layers, in the cache's data type."""
    return dtype_bytes(dtype, sum(op.kv_write_elements for op in _ops(model)))
