"""Kernel times on one A100 SXM 80 GB, and one model by several tools → rows with units.

Sources and licences: `data/README.md`. Kernels run back to back in a warm GPU, so a time is that of
the kernel with what it costs to start it there, without the host's part.
"""

from dataclasses import dataclass
from typing import Literal

from npusim.validate.data import read_rows

ATTENTION_HEADS = 32  # query heads of every attention row
ATTENTION_HEAD_DIM = 128
TOOL_TOKENS = 2048  # prompt, or context, of every row of `tool_latencies`


@dataclass(frozen=True)
class GemmTime:
    """[m, k] @ [k, n] in bf16, `k` the contracted dimension; 5 to 15,000 us."""

    m: int
    n: int
    k: int
    time_us: float


@dataclass(frozen=True)
class AttentionTime:
    """FlashAttention of vLLM 0.14.0 in bf16, causal, 32 query heads of 128. Each of `batch`
    requests adds `new_tokens` to `context_tokens` of KV that are read."""

    phase: Literal["prefill", "decode"]
    batch: int
    new_tokens: int
    context_tokens: int
    kv_heads: int
    time_us: float


@dataclass(frozen=True)
class LinearTime:
    """One operator of one layer in fp16, on one of `tp` GPUs, without the all-reduce; `op` is a row
    of LINEAR_OPS. Whole us: below 10 us the rounding is up to 10 % and more."""

    model: str
    tp: int
    tokens: int
    op: str
    time_us: float


@dataclass(frozen=True)
class ToolLatency:
    """A whole iteration on one A100 SXM 80 GB (312 TFLOPS, 2,039 GB/s), bf16: a prefill of 2,048
    tokens, or a decode step after 2,048, as `tool` gives it."""

    model: str
    phase: Literal["prefill", "decode"]
    batch: int
    tool: str
    time_ms: float


def gemm_times() -> list[GemmTime]:
    """784 GEMMs: m 1 to 8,192, n and k 1,024 to 16,384."""
    return [
        GemmTime(int(row["m"]), int(row["n"]), int(row["k"]), float(row["time_us"]))
        for row in read_rows("gemm_a100.csv")
    ]


def attention_times() -> list[AttentionTime]:
    """221 prefills without context (8 or 32 KV heads), 140 decode steps (8 KV heads)."""
    return [
        AttentionTime(
            phase="prefill" if row["phase"] == "prefill" else "decode",
            batch=int(row["batch"]),
            new_tokens=int(row["new_tokens"]),
            context_tokens=int(row["context_tokens"]),
            kv_heads=int(row["kv_heads"]),
            time_us=float(row["time_us"]),
        )
        for row in read_rows("attention_a100.csv")
    ]


def linear_times() -> list[LinearTime]:
    """1,320 times: three models, tp 1 to 8, 1 to 4,096 tokens, ten operators."""
    return [
        LinearTime(row["model"], int(row["tp"]), int(row["tokens"]), op, float(row[f"{op}_us"]))
        for row in read_rows("linear_ops_a100.csv")
        for op in LINEAR_OPS
    ]


def tool_latencies() -> list[ToolLatency]:
    """Two models, prefill and decode; a tool without a figure of a case has no row. `tool` is a row
    of TOOLS."""
    return [
        ToolLatency(
            model=row["model"],
            phase="prefill" if row["phase"] == "prefill" else "decode",
            batch=int(row["batch"]),
            tool=row["tool"],
            time_ms=float(row["time_ms"]),
        )
        for row in read_rows("llm_latency_by_tool.csv")
    ]


# What each operator computes, on the rank's share of heads and hidden units.
LINEAR_OPS = {
    "emb": "rows of the embedding",
    "input_layernorm": "RMSNorm before attention",
    "attn_pre_proj": "GEMM of Q, K and V, fused",
    "attn_rope": "rotary embedding of Q and K",
    "attn_post_proj": "GEMM of the output projection",
    "post_attention_layernorm": "RMSNorm before the FFN",
    "mlp_up_proj": "GEMM of gate and up, fused",
    "mlp_act": "SiLU and product",
    "mlp_down_proj": "GEMM of down",
    "add": "residual addition",
}

# `roofline`: ideal rates; `model`: with overheads of its own; `silicon`: from measured kernels.
# "measured kernels without attention" is a lower bound, not a latency.
TOOLS: dict[str, Literal["roofline", "model", "silicon", "part"]] = {
    "GenZ 0.0.16": "roofline",
    "LLM-Viewer": "roofline",
    "LLMCompass": "model",
    "LLMCompass with launches": "model",
    "aiconfigurator speed of light": "roofline",
    "aiconfigurator silicon": "silicon",
    "measured kernels": "silicon",
    "measured kernels without attention": "part",
}
