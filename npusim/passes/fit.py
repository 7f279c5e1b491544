"""An operator graph, a chip, data types → how many cores can hold the weights and the KV cache."""

import networkx as nx

from npusim.graph.ir import Op, ops_in_order
from npusim.passes.kv_cache import cache_shape
from npusim.passes.share import WHOLE, Share
from npusim.passes.tile import bits_to_bytes
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import DTYPE_BITS, Dtypes, Parallel
from npusim.units import ceil_div


def held_bytes(graph: nx.DiGraph, dtypes: Dtypes) -> int:
    """Weights, a tied one once, and the KV cache of all layers."""
    ops = ops_in_order(graph)
    by_layer: dict[int, list[Op]] = {}
    for op in ops:
        by_layer.setdefault(op.layer, []).append(op)
    caches = [shape for shape in map(cache_shape, by_layer.values()) if shape]
    weights = sum(op.weight_elements for op in ops if not op.tied_to)
    rows = sum(shape.rows * shape.row_elements for shape in caches)
    kv = bits_to_bytes(rows, DTYPE_BITS[dtypes.kv])
    return bits_to_bytes(weights, DTYPE_BITS[dtypes.weights]) + kv


def fit_hint(
    graph: nx.DiGraph,
    hardware: Hardware,
    parallel: Parallel,
    dtypes: Dtypes,
    share: Share = WHOLE,
) -> str:
    """The least tp x pp whose memories hold it all, as the end of an error text; empty where the
    mapping has that many cores.

    Assumes cores of equal memory, and that dp replicas each hold everything.
    """
    instances = hardware.memory_instances()
    per_core = max((i.memory.capacity_bytes // len(i.cores) for i in instances), default=0)
    if not per_core:
        return ""
    needed = ceil_div(held_bytes(graph, dtypes), per_core)
    num_cores = hardware.mesh.num_cores if share.cores is None else len(share.cores)
    available = num_cores // parallel.dp
    if needed > available:
        return f"; it takes {needed} such cores, there are {available}"
    if needed > parallel.tp * parallel.pp:
        return f"; tp x pp must be at least {needed}, not {parallel.tp * parallel.pp}"
    return ""
