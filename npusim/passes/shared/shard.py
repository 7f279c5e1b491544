"""Ops of a model and a group of chips → the ops of one chip, and the collectives behind them.

Megatron-LM's cut (arXiv 1909.08053): column halves by n, row halves by k with an all-reduce behind
them, attention by heads, embedding and LM head by vocabulary. Experts go to `ep` groups of chips,
each cut inside its group.

Assumes that every chip of a group does the same at the same time, that all chips have all tokens
(so that experts need no all-to-all, only the sum behind them), and that heads and tokens
that divide unevenly wait for the chip with most.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil

import networkx as nx

from npusim.errors import SpecError
from npusim.graph.ir import ROLES, Op
from npusim.passes.kv_cache import LATENT_ROLES
from npusim.units import ceil_div

# op → elements of the vector that is summed or gathered
Collectives = dict[str, tuple[str, int]]


def shard(ops: Sequence[Op], graph: nx.DiGraph, tp: int, ep: int) -> tuple[list[Op], Collectives]:
    """The ops of one of `tp` chips, and (collective, elements) by the op that it follows.

    Raises SpecError when there are fewer heads than chips or ep does not divide tp.
    """
    if tp % ep:
        raise SpecError(f"ep {ep} must divide tp {tp}", "parallel.ep")
    if tp == 1:
        return list(ops), {}
    heads = min((op.heads for op in ops if op.kind == "qk"), default=tp)
    if heads < tp:
        raise SpecError(f"tp must be at most the {heads} attention heads, not {tp}", "parallel.tp")
    kv_heads = {op.layer: op.kv_heads for op in ops if op.kind == "qk"}
    split: set[str] = set()
    found: list[Op] = []
    sums: Collectives = {}
    for op in ops:
        is_split = any(name in split for name in graph.predecessors(op.name))
        kv = Fraction(ceil_div(kv_heads.get(op.layer, tp), tp), kv_heads.get(op.layer, tp))
        cut = _cut(op, tp, ep, is_split, kv)
        found.append(cut)
        if ROLES.get(op.role) == "column" or (is_split and op.kind not in ("matmul", "experts")):
            split.add(op.name)
        if op.kind == "moe_combine":
            split.discard(op.name)
    for op in ops:
        _collective(op, graph, sums)
    return found, sums


def _cut(op: Op, tp: int, ep: int, is_split: bool, kv: Fraction) -> Op:
    one = Fraction(1, tp)
    if op.kind == "experts":
        return _experts(op, tp, ep)
    if op.kind == "embedding":
        return replace(op, weight_elements=ceil_div(op.weight_elements, tp))
    if op.kind == "matmul":
        return _matmul(op, tp, kv)
    if op.kind in ("qk", "av", "softmax"):
        own = Fraction(ceil_div(op.heads, tp), op.heads)
        cut = _scaled(op, own, "elements", "flops", "input_elements", "output_elements",
                      "vector_ops", "sfu_ops", "heads")  # fmt: skip
        kv_share = Fraction(1) if op.kv_heads == 1 else kv
        return replace(
            cut,
            kv_heads=ceil(op.kv_heads * kv_share),
            kv_read_elements=ceil(op.kv_read_elements * kv_share),
        )
    if is_split and op.kind != "moe_combine":
        rows = ("m",) if op.kind == "norm" else ("n",)
        return _scaled(op, one, *rows, "elements", "input_elements", "output_elements",
                       "vector_ops", "sfu_ops")  # fmt: skip
    return op


def _matmul(op: Op, tp: int, kv: Fraction) -> Op:
    half = ROLES[op.role]
    if half == "replicated":
        return op
    if half == "row":
        return _product(op, op.m, ceil_div(op.k, tp), op.n)
    n = ceil_div(op.n, tp)
    if op.kv_heads and op.heads:
        kv_columns = 2 * op.kv_heads * op.head_dim if op.role == "qkv" else 0
        n = ceil_div(op.n - kv_columns, tp) + ceil(kv_columns * kv)
    share = Fraction(1) if op.role in LATENT_ROLES else kv
    cut = _product(op, op.m, op.k, n)
    return replace(cut, kv_write_elements=ceil(op.kv_write_elements * share))


def _product(op: Op, m: int, k: int, n: int) -> Op:
    return replace(
        op, k=k, n=n, flops=2 * m * k * n, weight_elements=k * n + (n if op.bias else 0),
        input_elements=0 if op.kv_read_elements else m * k, output_elements=m * n,
    )  # fmt: skip


def _experts(op: Op, tp: int, ep: int) -> Op:
    """The first group's experts, which have most tokens. Assumes that experts are dealt to groups
    in turn: what few tokens choose spreads over all chips, as a router's choice does on average."""
    tokens = op.expert_tokens[::ep]
    inner = tp // ep
    column = ROLES[op.role] == "column"
    k, n = (op.k, ceil_div(op.n, inner)) if column else (ceil_div(op.k, inner), op.n)
    m = sum(tokens)
    return replace(
        op, m=m, k=k, n=n, expert_tokens=tokens, flops=2 * m * k * n,
        weight_elements=len(tokens) * k * n, input_elements=m * k, output_elements=m * n,
    )  # fmt: skip


def _scaled(op: Op, share: Fraction, *names: str) -> Op:
    return replace(op, **{name: ceil(getattr(op, name) * share) for name in names})


def _collective(op: Op, graph: nx.DiGraph, sums: Collectives) -> None:
    """All-reduce behind row halves, behind the sum of experts, and of embeddings; the logits of
    all chips are gathered."""
    if op.role in ("output", "down") or op.kind == "embedding":
        sums[op.name] = ("all_reduce", op.m * op.n)
    elif op.role == "lm_head":
        sums[op.name] = ("all_gather", op.m * op.n)
    elif op.kind == "moe_combine":
        follower = next(iter(graph.successors(op.name)), "")
        shared = follower.endswith("shared_add")
        sums[follower if shared else op.name] = ("all_reduce", op.m * op.n)
