"""Ops in order, with who feeds whom → groups of ops, each of which is one kernel.

As the usual serving stacks do: attention is one kernel (FlashAttention); what works by rows between
two products (residual add and norm, norm of heads and RoPE) is one; a product is one of its own.
A collective between chips ends a group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from npusim.graph.ir import Op

PRODUCTS = ("matmul", "experts")
ATTENTION = ("qk", "softmax", "av")
ALONE = (*PRODUCTS, "embedding", "topk", "sample")


@dataclass(frozen=True)
class Group:
    """Ops of one kernel. `reads`, `writes`: elements of activations from and to other kernels, a
    tensor each. `kv_write`: elements that this kernel adds to the cache."""

    ops: tuple[Op, ...]
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    kv_write: int = 0

    @property
    def first(self) -> Op:
        return self.ops[0]

    @property
    def kind(self) -> str:
        return self.first.kind


def fuse(ops: Sequence[Op], graph: nx.DiGraph, ends: Mapping[str, object]) -> list[Group]:
    """Groups in order. `ends`: names of ops after which a collective stands."""
    runs: list[list[Op]] = []
    for op in ops:
        if runs and _joins(runs[-1], op, ends):
            runs[-1].append(op)
        else:
            runs.append([op])
    by_name = {op.name: op for op in ops}
    return _with_kv_writes([_group(tuple(run), graph, by_name) for run in runs])


def _joins(run: list[Op], op: Op, ends: Mapping[str, object]) -> bool:
    last = run[-1]
    if op.kind in ATTENTION or last.kind in ATTENTION:
        return op.kind in ATTENTION[1:] and last.kind in ATTENTION
    return op.kind not in ALONE and last.kind not in ALONE and last.name not in ends


def _group(run: tuple[Op, ...], graph: nx.DiGraph, by_name: Mapping[str, Op]) -> Group:
    own = {op.name for op in run}
    feeders = dict.fromkeys(p for op in run for p in graph.predecessors(op.name) if p not in own)
    used = [
        op
        for op in run
        if any(s not in own for s in graph.successors(op.name)) or not graph.out_degree(op.name)
    ]
    reads = tuple(by_name[p].output_elements for p in feeders if p in by_name)
    return Group(run, reads, tuple(op.output_elements for op in used))


def _with_kv_writes(groups: list[Group]) -> list[Group]:
    """New K and V are written by the kernel behind their projection when that works by rows (RoPE),
    else by one of their own."""
    found: list[Group] = []
    waiting = 0
    for group in groups:
        if waiting and group.kind not in ALONE and group.kind not in ATTENTION:
            group = Group(group.ops, group.reads, group.writes, waiting)
            waiting = 0
        elif waiting and group.kind in ATTENTION:
            found.append(Group((_copy_of(group),), (), (), waiting))
            waiting = 0
        found.append(group)
        waiting += sum(op.kv_write_elements for op in group.ops if op.kind in PRODUCTS)
    return found


def _copy_of(group: Group) -> Op:
    first = group.first
    prefix = first.name.removesuffix("qk")
    return Op(name=f"{prefix}kv_write", kind="rope", layer=first.layer, m=first.m)
