"""A graph of a batch → graphs of parts of that batch: data-parallel replicas, micro-batches."""

import networkx as nx


def replicas(graph: nx.DiGraph, dp: int) -> list[nx.DiGraph]:
    return [graph]


def micro_batches(graph: nx.DiGraph, count: int) -> list[nx.DiGraph]:
    return [graph]
