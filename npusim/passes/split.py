"""A graph of a batch → graphs of parts of that batch: data-parallel replicas, micro-batches.

A part is a list of spans: for every request the range of its new tokens that the part computes.
Assumes that routing stays balanced in every part, and that the requests which sample come first.
"""

from dataclasses import replace
from itertools import accumulate

import networkx as nx

from npusim.errors import SpecError
from npusim.graph.ir import Op, ops_in_order
from npusim.passes.partition import shards

Slices = tuple[tuple[int, int, int], ...]
Spans = tuple[tuple[int, int], ...]  # for every request: first and last new token, last excluded


def replicas(graph: nx.DiGraph, dp: int) -> list[nx.DiGraph]:
    """The graph of each data-parallel replica: whole requests, dealt in runs.

    Raises SpecError when there are fewer requests than replicas.
    """
    if dp == 1:
        return [graph]
    slices = _slices(graph)
    if len(slices) < dp:
        raise SpecError(
            f"dp must be at most the {len(slices)} requests of the batch, not {dp}", "parallel.dp"
        )
    parts, first = [], 0
    for count in shards(len(slices), dp):
        chosen = range(first, first + count)
        parts.append(tuple((0, s[0] if i in chosen else 0) for i, s in enumerate(slices)))
        first += count
    taken = [_take(graph, slices, spans) for spans in parts]
    for replica in taken:
        del replica.graph["kv_starts"]  # a replica's cache is its own
    return taken


def micro_batches(graph: nx.DiGraph, count: int) -> list[nx.DiGraph]:
    """The graph in `count` pieces of about as many new tokens, in token order: a long request
    becomes chunks, each after the ones before it. Fewer pieces when there are fewer tokens."""
    slices = _slices(graph)
    tokens = sum(new for new, _, _ in slices)
    count = min(count, tokens) if slices else 1
    if count == 1:
        return [graph]
    graphs, first = [], 0
    for size in shards(tokens, count):
        graphs.append(_take(graph, slices, _spans(slices, first, first + size)))
        first += size
    return graphs


def _slices(graph: nx.DiGraph) -> Slices:
    ops = (graph.nodes[name]["op"] for name in graph.nodes)
    return next((op.slices for op in ops if op.kind == "qk"), ())


def _spans(slices: Slices, first: int, last: int) -> Spans:
    """Tokens first … last - 1 of all requests laid end to end."""
    spans, start = [], 0
    for new, _, _ in slices:
        spans.append(tuple(min(max(edge - start, 0), new) for edge in (first, last)))
        start += new
    return tuple((a, b) for a, b in spans)


def cut_slice(piece: tuple[int, int, int], first: int, last: int) -> tuple[int, int, int]:
    """(new, attended, pairs) of tokens first … last - 1 of a request's slice, by the window that
    its pairs imply: query i sees min(context + i + 1, window) keys."""
    new, attended, pairs = piece
    context = attended - new
    window = _window(new, context, pairs)
    start = max(0, context + first + 1 - window)
    return last - first, context + last - start, _pairs(context, first, last, window)


def _pairs(context: int, first: int, last: int, window: int) -> int:
    growing = min(max(window - context, first), last)  # queries before it see all keys
    seen = (growing - first) * (2 * context + first + growing + 1) // 2
    return seen + (last - growing) * window


def _window(new: int, context: int, pairs: int) -> int:
    """The smallest window that scores `pairs`; no window is one as long as everything."""
    low, high = 1, context + new
    while low < high:
        middle = (low + high) // 2
        if _pairs(context, 0, new, middle) >= pairs:
            high = middle
        else:
            low = middle + 1
    return low


def _take(graph: nx.DiGraph, slices: Slices, spans: Spans) -> nx.DiGraph:
    """The same graph with every op cut down to the tokens in `spans`. Its `kv_starts` maps a layer
    to the rows of the whole batch's cache that stand before each of its own requests."""
    taken = graph.copy()
    taken.graph["kv_starts"] = _kv_starts(graph, spans)
    tokens = sum(new for new, _, _ in slices)
    own = sum(last - first for first, last in spans)
    ends = [b == new and b > a for (new, _, _), (a, b) in zip(slices, spans, strict=True)]
    ops = ops_in_order(graph)
    sampled = next((op.m for op in ops if op.kind == "sample"), 0)
    samples = sum(ends[:sampled])
    tail = _tail(graph)
    for op in ops:
        if op.name in tail and not samples:
            taken.remove_node(op.name)
            continue
        share = (samples, sampled) if op.name in tail else (own, tokens)
        taken.nodes[op.name]["op"] = _cut_op(op, share, spans)
    return taken


def _kv_starts(graph: nx.DiGraph, spans: Spans) -> dict[int, tuple[int, ...]]:
    starts = {}
    for op in (graph.nodes[name]["op"] for name in graph.nodes):
        if op.kind == "qk":
            before = accumulate((attended for _, attended, _ in op.slices), initial=0)
            starts[op.layer] = tuple(
                row for row, (first, last) in zip(before, spans, strict=False) if last > first
            )
    return starts


def _tail(graph: nx.DiGraph) -> set[str]:
    """What runs on sampled rows only: the ops behind the last layer."""
    names, seen = set(), False
    for op in ops_in_order(graph):
        seen = seen or op.layer >= 0
        if seen and op.layer < 0:
            names.add(op.name)
    return names


def _cut_op(op: Op, share: tuple[int, int], spans: Spans) -> Op:
    if op.slices:
        return _cut_attention(op, spans)
    part, whole = share

    def scaled(amount: int) -> int:
        return -(-amount * part // whole)

    if op.expert_tokens:
        chosen = scaled(sum(op.expert_tokens))
        tokens = shards(chosen, len(op.expert_tokens))
        return _rows(replace(op, expert_tokens=tokens), chosen, scaled)
    return _rows(op, scaled(op.m), scaled)


def _rows(op: Op, m: int, scaled) -> Op:
    """`op` with `m` rows; weights stay, all other counts shrink in proportion."""
    return replace(
        op,
        m=m,
        elements=scaled(op.elements),
        flops=2 * m * op.k * op.n if op.kind in ("matmul", "experts") else scaled(op.flops),
        input_elements=scaled(op.input_elements),
        output_elements=scaled(op.output_elements),
        kv_read_elements=scaled(op.kv_read_elements),
        kv_write_elements=scaled(op.kv_write_elements),
        vector_ops=scaled(op.vector_ops),
        sfu_ops=scaled(op.sfu_ops),
    )


def _cut_attention(op: Op, spans: Spans) -> Op:
    """qk, softmax, av: pairs exactly, FLOPs and work in proportion to them."""
    cuts = [
        cut_slice(piece, first, last)
        for piece, (first, last) in zip(op.slices, spans, strict=True)
        if last > first
    ]
    new, attended, pairs = (sum(column) for column in zip(*cuts, strict=True))
    old_new, old_attended, old_pairs = (sum(column) for column in zip(*op.slices, strict=True))
    rows = old_new if op.kind == "qk" else old_pairs

    def by_pairs(amount: int) -> int:
        return -(-amount * pairs // old_pairs)

    made = new * op.input_elements // old_new if rows == old_new else by_pairs(op.input_elements)
    return replace(
        op,
        m=new,
        slices=tuple(cuts),
        elements=by_pairs(op.elements),
        flops=by_pairs(op.flops),
        input_elements=made,
        output_elements=new * op.output_elements // old_new
        if op.kind == "av"
        else by_pairs(op.output_elements),
        kv_read_elements=attended * op.kv_read_elements // old_attended,
        vector_ops=by_pairs(op.vector_ops),
        sfu_ops=by_pairs(op.sfu_ops),
    )
