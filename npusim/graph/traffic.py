"""An Op and the data types → the bytes it moves at least once: weights, activations, KV cache."""

from typing import NamedTuple

from npusim.graph.ir import Op
from npusim.spec.scenario import Dtypes, dtype_bytes


class OpBytes(NamedTuple):
    """Bytes by class: weights that are read, activations in and out, KV rows read and written."""

    weights: int
    inputs: int
    outputs: int
    kv_read: int
    kv_write: int

    @property
    def memory(self) -> int:
        """Bytes that come from or go to the memory when activations stay on chip."""
        return self.weights + self.kv_read + self.kv_write


def weights_read(op: Op) -> int:
    """Weight elements that the op reads: of a table the gathered rows, of experts those that have
    tokens, else all it holds."""
    if op.kind == "embedding":
        return op.m * op.n
    if op.kind == "experts":
        return sum(tokens > 0 for tokens in op.expert_tokens) * op.k * op.n
    return op.weight_elements


def op_bytes(op: Op, dtypes: Dtypes) -> OpBytes:
    """Bytes of one op, each class in its data type and rounded up to whole bytes."""
    return OpBytes(
        dtype_bytes(dtypes.weights, weights_read(op)),
        dtype_bytes(dtypes.activations, op.input_elements),
        dtype_bytes(dtypes.activations, op.output_elements),
        dtype_bytes(dtypes.kv, op.kv_read_elements),
        dtype_bytes(dtypes.kv, op.kv_write_elements),
    )
