"""Shapes → Ops with their FLOPs, elements and vector work filled in; one function a kind.

Assumes that a bias is preloaded into the accumulators and costs no vector operation.
"""

from dataclasses import replace

from npusim.graph.elementwise import sfu_ops, vector_ops
from npusim.graph.ir import Op

Slices = tuple[tuple[int, int, int], ...]


def matmul(
    name: str,
    role: str,
    m: int,
    k: int,
    n: int,
    bias: bool = False,
    *,
    heads: int = 0,
    kv_heads: int = 0,
    head_dim: int = 0,
    kv_write: int = 0,
    kv_read: int = 0,
    tied_to: str = "",
) -> Op:
    """[m, k] @ [k, n]. With `kv_read` the input comes from the cache; `heads`, `kv_heads` and
    `head_dim` say which heads make up the n columns."""
    return Op(
        name=name,
        kind="matmul",
        role=role,
        m=m,
        k=k,
        n=n,
        bias=bias,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        flops=2 * m * k * n,
        weight_elements=k * n + (n if bias else 0),
        input_elements=0 if kv_read else m * k,
        output_elements=m * n,
        kv_write_elements=kv_write,
        kv_read_elements=kv_read,
        tied_to=tied_to,
    )


def per_head(name: str, m: int, k: int, n: int, heads: int) -> Op:
    """A matmul [m, k] @ [k, n] for each of `heads`, every head with its own input and weights;
    stated as one of n = heads * n columns, with heads * m * k input elements."""
    op = matmul(name, name, m, k, heads * n, heads=heads, head_dim=n)
    return replace(op, input_elements=heads * m * k)


def embedding(name: str, rows: int, vocab: int, width: int, scaled: bool = False) -> Op:
    """Gather of `rows` of `width` from a table of `vocab`; `scaled`: times a constant (Gemma)."""
    return Op(
        name=name,
        kind="embedding",
        m=rows,
        k=vocab,
        n=width,
        weight_elements=vocab * width,
        input_elements=rows,
        output_elements=rows * width,
        vector_ops=vector_ops("scale", rows * width) if scaled else 0,
    )


def norm(name: str, kind: str, rows: int, width: int) -> Op:
    """`kind` rmsnorm (a weight an element of the row) or layernorm (weight and bias)."""
    elements = rows * width
    return Op(
        name=name,
        kind="norm",
        m=rows,
        n=width,
        bias=kind == "layernorm",
        elements=elements,
        weight_elements=2 * width if kind == "layernorm" else width,
        input_elements=elements,
        output_elements=elements,
        vector_ops=vector_ops(kind, elements),
        sfu_ops=sfu_ops(kind, elements, rows),
    )


def rope(name: str, rows: int, heads: int, kv_heads: int, rotary_dim: int) -> Op:
    """Turns `rotary_dim` elements of each of `heads` query and `kv_heads` key heads, in place."""
    elements = rows * (heads + kv_heads) * rotary_dim
    return Op(
        name=name,
        kind="rope",
        m=rows,
        elements=elements,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=rotary_dim,
        input_elements=elements,
        output_elements=elements,
        vector_ops=vector_ops("rope", elements),
    )


def qk(
    slices: Slices, heads: int, kv_heads: int, head_dim: int, *, cached: int = -1, made: int = 0
) -> Op:
    """Scores of all unmasked pairs. Of each attended row `cached` elements are read from the cache
    (default kv_heads * head_dim) and `made` were made by an op of this layer."""
    new, attended, pairs = _sums(slices)
    return Op(
        name="qk",
        kind="qk",
        m=new,
        elements=heads * pairs,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        slices=slices,
        flops=2 * heads * head_dim * pairs,
        input_elements=new * heads * head_dim + attended * made,
        output_elements=heads * pairs,
        kv_read_elements=attended * (kv_heads * head_dim if cached < 0 else cached),
    )


def softmax(slices: Slices, heads: int, softcap: bool = False) -> Op:
    """Softmax of all unmasked scores, after a soft cap where the model has one."""
    new, _, pairs = _sums(slices)
    elements = heads * pairs
    cap_vector = vector_ops("softcap", elements) if softcap else 0
    cap_sfu = sfu_ops("softcap", elements) if softcap else 0
    return Op(
        name="softmax",
        kind="softmax",
        m=new,
        elements=elements,
        heads=heads,
        slices=slices,
        input_elements=elements,
        output_elements=elements,
        vector_ops=vector_ops("softmax", elements) + cap_vector,
        sfu_ops=sfu_ops("softmax", elements, new * heads) + cap_sfu,
    )


def av(
    slices: Slices, heads: int, kv_heads: int, value_dim: int, *, cached: int = -1, made: int = 0
) -> Op:
    """Weighted sums of the values; `cached` and `made` as in qk."""
    new, attended, pairs = _sums(slices)
    return Op(
        name="av",
        kind="av",
        m=new,
        elements=heads * pairs,
        heads=heads,
        kv_heads=kv_heads,
        value_dim=value_dim,
        slices=slices,
        flops=2 * heads * value_dim * pairs,
        input_elements=heads * pairs + attended * made,
        output_elements=new * heads * value_dim,
        kv_read_elements=attended * (kv_heads * value_dim if cached < 0 else cached),
    )


def _sums(slices: Slices) -> tuple[int, int, int]:
    new, attended, pairs = zip(*slices, strict=True)
    return sum(new), sum(attended), sum(pairs)


def experts(name: str, role: str, tokens: tuple[int, ...], k: int, n: int) -> Op:
    """A matmul for every expert; m is the sum of `tokens`, all experts' weights are held."""
    m = sum(tokens)
    return Op(
        name=name,
        kind="experts",
        role=role,
        m=m,
        k=k,
        n=n,
        expert_tokens=tokens,
        flops=2 * m * k * n,
        weight_elements=len(tokens) * k * n,
        input_elements=m * k,
        output_elements=m * n,
    )


def activation(name: str, kind: str, rows: int, width: int, gated: bool) -> Op:
    """`rows * width` outputs of `kind` silu, gelu or relu, times the gate's other half if gated."""
    elements = rows * width
    return Op(
        name=name,
        kind="activation",
        m=rows,
        n=width,
        elements=elements,
        input_elements=2 * elements if gated else elements,
        output_elements=elements,
        vector_ops=vector_ops(kind, elements) + (vector_ops("gate", elements) if gated else 0),
        sfu_ops=sfu_ops(kind, elements),
    )


def add(name: str, rows: int, width: int) -> Op:
    elements = rows * width
    return Op(
        name=name,
        kind="add",
        m=rows,
        n=width,
        elements=elements,
        input_elements=2 * elements,
        output_elements=elements,
        vector_ops=vector_ops("add", elements),
    )


def topk(rows: int, num_experts: int, top_k: int) -> Op:
    """Scores (exp or sigmoid) and the best `top_k` of them.

    Assumes `top_k` passes of one comparison a score.
    """
    elements = rows * num_experts
    return Op(
        name="topk",
        kind="topk",
        m=rows,
        k=top_k,
        n=num_experts,
        elements=elements,
        input_elements=elements,
        output_elements=2 * rows * top_k,
        vector_ops=vector_ops("argmax", elements) * top_k,
        sfu_ops=elements,
    )


def moe_combine(rows: int, width: int, top_k: int) -> Op:
    elements = rows * width
    return Op(
        name="moe_combine",
        kind="moe_combine",
        m=rows,
        k=top_k,
        n=width,
        elements=elements,
        input_elements=top_k * elements,
        output_elements=elements,
        vector_ops=vector_ops("combine", elements) * top_k,
    )


def sample(rows: int, vocab: int, softcap: bool = False) -> Op:
    """Greedy choice of the next token, after a soft cap of the logits where the model has one."""
    elements = rows * vocab
    return Op(
        name="sample",
        kind="sample",
        m=rows,
        n=vocab,
        elements=elements,
        input_elements=elements,
        output_elements=rows,
        vector_ops=vector_ops("argmax", elements)
        + (vector_ops("softcap", elements) if softcap else 0),
        sfu_ops=sfu_ops("softcap", elements) if softcap else 0,
    )
