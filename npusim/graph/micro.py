"""The sizes of a micro-operation → a graph of one op."""

import networkx as nx

from npusim.graph import ops
from npusim.graph.sketch import Sketch


def build_gemm(m: int, k: int, n: int) -> nx.DiGraph:
    """[m, k] @ [k, n] with weights in memory, as a graph of one matmul called "gemm"."""
    graph = nx.DiGraph(model="gemm", layers={})
    sketch = Sketch()
    sketch.add(ops.matmul("gemm", "gemm", m, k, n))
    sketch.stamp(graph, "")
    return graph
