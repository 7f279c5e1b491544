"""A model's attention and the masked slices of a batch → ops from the normed input to the output
projection; `attend` picks multi-head (also grouped) or latent attention.
"""

from npusim.graph import ops
from npusim.graph.ops import Slices
from npusim.graph.sketch import Sketch
from npusim.spec.model import Mla, Model


def attend(sketch: Sketch, source: str, model: Model, slices: Slices, absorbed: bool) -> str:
    """Adds the attention ops behind `source`; returns the name of the output projection."""
    if model.mla is None:
        values = _multi_head(sketch, source, model, slices)
        return _output(sketch, values, model, slices, model.head_dim)
    latent = _absorbed if absorbed else _expanded
    values = latent(sketch, source, model, model.mla, slices)
    return _output(sketch, values, model, slices, model.mla.v_head_dim)


def _output(sketch: Sketch, source: str, model: Model, slices: Slices, value_dim: int) -> str:
    m, heads = _tokens(slices), model.num_heads
    k, n, bias = heads * value_dim, model.hidden_size, model.output_bias
    op = ops.matmul("output", "output", m, k, n, bias, heads=heads, head_dim=value_dim)
    return sketch.add(op, source)


def _tokens(slices: Slices) -> int:
    return sum(new for new, _, _ in slices)


def _multi_head(sketch: Sketch, source: str, model: Model, slices: Slices) -> str:
    """Multi-head and grouped-query attention (arXiv 2305.13245): heads share K and V in groups.

    Assumes that K and V go to the cache with the projection that makes them, before RoPE.
    """
    m, heads, kv, dim = _tokens(slices), model.num_heads, model.num_kv_heads, model.head_dim
    op = ops.matmul(
        "qkv",
        "qkv",
        m,
        model.hidden_size,
        (heads + 2 * kv) * dim,
        model.qkv_bias,
        heads=heads,
        kv_heads=kv,
        head_dim=dim,
        kv_write=2 * m * kv * dim,
    )
    made: tuple[str, ...] = (sketch.add(op, source),)
    if model.qk_norm:
        q = sketch.add(ops.norm("q_norm", "rmsnorm", m * heads, dim), *made)
        made = (q, sketch.add(ops.norm("k_norm", "rmsnorm", m * kv, dim), *made))
    if model.position == "rope" and model.rotary_dim:
        made = (sketch.add(ops.rope("rope", m, heads, kv, model.rotary_dim), *made),)
    scores = sketch.add(ops.qk(slices, heads, kv, dim), *made)
    weights = sketch.add(ops.softmax(slices, heads, model.score_softcap), scores)
    return sketch.add(ops.av(slices, heads, kv, dim), weights, "qkv")


def _latents(
    sketch: Sketch, source: str, model: Model, mla: Mla, slices: Slices
) -> tuple[str, str, str]:
    """The projections that both forms of MLA share (arXiv 2405.04434, eq. 9-19); returns the
    names of q, of the turned rope parts, and of the normed latent."""
    m, heads, hidden = _tokens(slices), model.num_heads, model.hidden_size
    q_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim
    rank = mla.q_lora_rank
    if rank:
        down = sketch.add(ops.matmul("q_down", "q_down", m, hidden, rank, model.qkv_bias), source)
        normed = sketch.add(ops.norm("q_latent_norm", "rmsnorm", m, rank), down)
        q_op = ops.matmul("q_up", "q_up", m, rank, heads * q_dim, heads=heads, head_dim=q_dim)
        q = sketch.add(q_op, normed)
    else:
        q_op = ops.matmul("q", "q", m, hidden, heads * q_dim, heads=heads, head_dim=q_dim)
        q = sketch.add(q_op, source)
    width = mla.kv_lora_rank + mla.qk_rope_head_dim
    down_op = ops.matmul(
        "kv_down", "kv_down", m, hidden, width, model.qkv_bias, kv_heads=1, kv_write=m * width
    )
    kv = sketch.add(down_op, source)
    latent = sketch.add(ops.norm("kv_latent_norm", "rmsnorm", m, mla.kv_lora_rank), kv)
    turned = sketch.add(ops.rope("rope", m, heads, 1, mla.qk_rope_head_dim), q, kv)
    return q, turned, latent


def _expanded(sketch: Sketch, source: str, model: Model, mla: Mla, slices: Slices) -> str:
    """K and V of every attended row are made from its cached latent, for all heads."""
    _, turned, latent = _latents(sketch, source, model, mla, slices)
    heads, nope, value = model.num_heads, mla.qk_nope_head_dim, mla.v_head_dim
    attended = sum(rows for _, rows, _ in slices)
    up = ops.matmul(
        "kv_up",
        "kv_up",
        attended,
        mla.kv_lora_rank,
        heads * (nope + value),
        heads=heads,
        kv_heads=heads,
        head_dim=nope + value,
        kv_read=attended * mla.kv_lora_rank,
    )
    kv = sketch.add(up, latent)
    rope = mla.qk_rope_head_dim
    qk = ops.qk(slices, heads, heads, nope + rope, cached=rope, made=heads * nope)
    weights = sketch.add(ops.softmax(slices, heads), sketch.add(qk, turned, kv))
    values = ops.av(slices, heads, heads, value, cached=0, made=heads * value)
    return sketch.add(values, weights, kv)


def _absorbed(sketch: Sketch, source: str, model: Model, mla: Mla, slices: Slices) -> str:
    """Attention on the latents themselves: W_uk is applied to q, W_uv to the result, a head each.

    Assumes that the latent rows read for the scores are at hand again as values, so that
    the cache is read once.
    """
    q, turned, latent = _latents(sketch, source, model, mla, slices)
    m, heads, rank = _tokens(slices), model.num_heads, mla.kv_lora_rank
    nope, value = mla.qk_nope_head_dim, mla.v_head_dim
    query = sketch.add(ops.per_head("absorb_k", m, nope, rank, heads), q)
    qk = ops.qk(slices, heads, 1, rank + mla.qk_rope_head_dim)
    scores = sketch.add(qk, query, turned, latent)
    weights = sketch.add(ops.softmax(slices, heads), scores)
    mixed = sketch.add(ops.av(slices, heads, 1, rank, cached=0), weights, latent)
    return sketch.add(ops.per_head("absorb_v", m, rank, value, heads), mixed)


def prefers_absorbed(model: Model, slices: Slices) -> bool:
    """Whether MLA takes fewer FLOPs absorbed than expanded: in decode, and in small chunks on much
    context."""
    if model.mla is None:
        return False
    flops = []
    for form in (_absorbed, _expanded):
        sketch = Sketch()
        form(sketch, "", model, model.mla, slices)
        flops.append(sum(op.flops for op, _ in sketch.rows))
    return flops[0] < flops[1]
