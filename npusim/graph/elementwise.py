"""A non-matmul kind of work → how many vector and special-function operations it takes an element.

Vector operations are add, multiply, compare and copy; special functions exp, tanh, sigmoid, rsqrt
and reciprocal. Assumes that a multiply-add counts as two, and that masks and index sums are free.
"""

from typing import NamedTuple


class Work(NamedTuple):
    """Operations by element, and special functions by row."""

    vector: int
    sfu: int = 0
    row_sfu: int = 0


WORK = {
    # x * x, sum; x * rsqrt(mean), * weight
    "rmsnorm": Work(4, row_sfu=1),
    # sum, x - mean, square, sum; * rsqrt(var), * weight, + bias
    "layernorm": Work(7, row_sfu=1),
    # scale, running max, x - max, sum, * 1/sum; exp; one reciprocal a row
    "softmax": Work(5, 1, 1),
    # / cap, tanh, * cap
    "softcap": Work(2, 1),
    # x * cos + rotated x * sin, from tables
    "rope": Work(3),
    # x * sigmoid(x)
    "silu": Work(1, 1),
    # tanh form: x^3 (2), * 0.0447, + x, * sqrt(2/pi), 1 + tanh, * x, * 0.5
    "gelu": Work(8, 1),
    "relu": Work(1),
    "gate": Work(1),  # * the other half of a gated MLP
    "scale": Work(1),
    "add": Work(1),
    "combine": Work(2),  # an expert: * its score, + the sum
    "argmax": Work(1),
}


def vector_ops(kind: str, elements: int) -> int:
    """Vector operations on `elements`; `kind` is a row of WORK."""
    return WORK[kind].vector * elements


def sfu_ops(kind: str, elements: int, rows: int = 0) -> int:
    """Special-function operations on `elements` that form `rows`."""
    work = WORK[kind]
    return work.sfu * elements + work.row_sfu * rows
