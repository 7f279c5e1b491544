"""CONTRACT 2: the GRAPH, a networkx DiGraph whose nodes are op names with the Op under key "op".

Edges point from producer to consumer. Every FLOP and every element is stated here; nothing below
this layer looks at a model again.
"""

from dataclasses import dataclass

import networkx as nx

# kind → what the shape fields mean
OP_KINDS = {
    "embedding": "gather m rows of n from a table of k rows",
    "matmul": "[m, k] @ [k, n], weights [k, n]; bias adds n weight elements",
    "qk": "scores of every head and slice: q [new, head_dim] @ k^T [head_dim, attended]",
    "softmax": "softmax of the scores",
    "av": "scores [new, attended] @ v [attended, value_dim] for every head and slice",
    "experts": "for every expert e: [expert_tokens[e], k] @ [k, n], weights [num_experts, k, n]",
    "norm": "RMSNorm or LayerNorm of m rows of n; head norms count as rows",
    "rope": "rotary embedding of `elements`",
    "activation": "SiLU/GELU (times the gate where there is one), `elements` outputs",
    "add": "residual add of m rows of n",
    "moe_combine": "weighted sum of the k chosen experts' outputs, m rows of n",
    "topk": "choice of k experts: m rows of n scores",
    "sample": "argmax over m rows of n logits",
}

# What a matmul is for; the partition pass reads it. "column" and "row" are the Megatron halves.
ROLES = {
    "qkv": "column",  # n = (heads + 2 kv_heads) head_dim; also q alone or kv alone
    "q": "column",
    "q_down": "replicated",  # MLA low-rank down projections
    "kv_down": "replicated",
    "q_up": "column",
    "kv_up": "column",
    "absorb_k": "column",  # MLA absorbed: q_nope @ W_uk per head
    "absorb_v": "column",
    "output": "row",
    "gate_up": "column",
    "up": "column",
    "down": "row",
    "expert_gate_up": "column",
    "expert_down": "row",
    "shared_gate_up": "column",
    "shared_down": "row",
    "router": "replicated",
    "lm_head": "column",
    "gemm": "column",  # the micro-workload
}


@dataclass(frozen=True)
class Op:
    """One operator of one iteration.

    Elements are counts, turned into bytes with the data type of their class (weights,
    activations, kv). `attended` of a slice = context it looks at after causal mask and
    sliding window are taken into account, see `slices`.

    * `slices`: for qk, softmax, av: tuple of (new_tokens, attended_tokens, scored_pairs) a request:
      attended = KV rows read, scored_pairs = exact number of unmasked (query, key) pairs.
    * `kv_write_elements`: new K and V (or MLA latent) that go to the cache, set on the op that
      makes them; `kv_read_elements` on qk and av (MLA: the latents on kv_up, or on an absorbed qk).
    * `input_elements`, `output_elements`: activations only, KV rows from the cache not among them.
    * `flops` counts 2 a multiply-add of the matmul kinds (matmul, qk, av, experts), 0 elsewhere;
      the others' work is `vector_ops` and `sfu_ops`.
    * `tied_to`: name of the op whose weights this one shares.
    """

    name: str
    kind: str
    layer: int = -1
    role: str = ""
    m: int = 0
    k: int = 0
    n: int = 0
    elements: int = 0
    bias: bool = False
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    value_dim: int = 0
    slices: tuple[tuple[int, int, int], ...] = ()
    expert_tokens: tuple[int, ...] = ()
    flops: int = 0
    weight_elements: int = 0
    input_elements: int = 0
    output_elements: int = 0
    kv_read_elements: int = 0
    kv_write_elements: int = 0
    vector_ops: int = 0  # simple vector operations in all
    sfu_ops: int = 0  # exp, rsqrt, sigmoid, … in all
    tied_to: str = ""


def ops_in_order(graph: nx.DiGraph) -> list[Op]:
    """Ops in topological order; ties by insertion, so the same graph gives the same list."""
    position = {name: i for i, name in enumerate(graph.nodes)}
    order = nx.lexicographical_topological_sort(graph, key=position.__getitem__)
    return [graph.nodes[name]["op"] for name in order]
