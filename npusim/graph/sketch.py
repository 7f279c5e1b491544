"""Ops and their producers, in order → a list that can be stamped into a graph once a layer."""

from dataclasses import dataclass, field, replace

import networkx as nx

from npusim.graph.ir import Op

INPUT = ""  # stands for the op that feeds the sketch


@dataclass
class Sketch:
    """Rows of (op, names of its producers); the last op is the sketch's output."""

    rows: list[tuple[Op, tuple[str, ...]]] = field(default_factory=list)

    def add(self, op: Op, *producers: str) -> str:
        """Appends `op`, fed by `producers`; returns its name."""
        self.rows.append((op, producers))
        return op.name

    @property
    def output(self) -> str:
        return self.rows[-1][0].name

    def stamp(self, graph: nx.DiGraph, source: str, layer: int = -1) -> str:
        """Adds the rows to `graph` behind op `source`, named for `layer`; returns its output."""
        prefix = f"layer{layer}." if layer >= 0 else ""
        nodes, edges = [], []
        for op, producers in self.rows:
            name = prefix + op.name
            nodes.append((name, {"op": replace(op, name=name, layer=layer)}))
            edges += [(prefix + p if p else source, name) for p in producers if p or source]
        graph.add_nodes_from(nodes)
        graph.add_edges_from(edges)
        if layer >= 0:
            graph.graph["layers"][layer] = tuple(name for name, _ in nodes)
        return prefix + self.output
