"""Kernel tables of one A100 → families: GEMMs, attention, and the products of a layer.

A GEMM is the micro-operation of that name; attention is the fused kernel (and the one that merges
its parts) of a model's one simulated layer. Both with what it costs to start a kernel, as in
the tables, whose kernels run back to back.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from npusim.simulate import simulate
from npusim.spec.load import Setup, load_model, load_scenario, resolve
from npusim.spec.scenario import GemmWorkload
from npusim.trace import Trace
from npusim.units import PS_PER_US
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.measured.rows import use_of
from npusim.validate.measured.steps import llm_workload
from npusim.validate.measured.tables import (
    AttentionTime,
    GemmTime,
    LinearTime,
    attention_times,
    gemm_times,
    linear_times,
)

CHIP = "a100_sxm_80"
KEYS = (
    "fidelity={memory: analytic, noc: analytic}",
    "dtype={weights: bf16, activations: bf16, kv: bf16}",
    "parallel={tp: 1}",
    "reuse=false",
)
OPERATOR = Goal("mape", 0.15)
VLLM = "kernels of vLLM 0.14.0 on A100 SXM 80 GB, ai-dynamo/aiconfigurator (Apache-2.0)"
VIDUR = "kernels on A100, microsoft/vidur (MIT); whole us"
MODELS_BY_KV_HEADS = {8: "llama-3.1-8b", 32: "llama-2-7b"}  # 32 heads of 128 both
PRODUCTS = ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj")
LEAST_US = 20  # below, the rounding to whole us is more than 2.5 %
RULES = "libraries choose tiles by rules of their own, not by the least time"
MAX_PAIRS = 1 << 24  # of a prefill that is simulated
QUICK_PAIRS = 1 << 20
FULL_EVERY = 5  # of attention
QUICK_EVERY = 29  # prime to the tables' periods, so that every size comes up


def kernel_families(full: bool) -> list[Family]:
    """GEMMs by bound, attention by phase, products of a layer."""
    gemms = gemm_times()[:: 1 if full else QUICK_EVERY]
    small, large = (
        [_gemm(row) for row in gemms if (row.m >= 256) == is_large] for is_large in (False, True)
    )
    attention = attention_times()
    return [
        _family("a100 gemm, m below 256", VLLM, small),
        _family("a100 gemm, m from 256", VLLM, large, RULES),
        *(_attention_family(phase, attention, full) for phase in ("prefill", "decode")),
        _family("a100 products of a layer", VIDUR, _products(full)),
    ]


def _family(name: str, reference: str, rows: Sequence[Comparison], note: str = "") -> Family:
    return Family("measured", name, reference, tuple(rows), OPERATOR, note)


@cache
def _micro() -> Setup:
    return resolve(load_scenario("gemm", KEYS, hw=CHIP))


@cache
def gemm_us(m: int, n: int, k: int) -> float:
    """[m, k] @ [k, n] in bf16."""
    setup = _micro()
    workload = GemmWorkload(kind="gemm", m=m, n=n, k=k)
    scenario = setup.scenario.model_copy(update={"workload": workload})
    return simulate(replace(setup, scenario=scenario)).makespan_ps / PS_PER_US


def _gemm(row: GemmTime) -> Comparison:
    """The fit rows are those that `hw_configs/parts/cuda_kernels.yaml` names."""
    is_fit = (row.m in (2048, 4096, 8192) and row.n in (4096, 6144)) or (
        row.m == 1 and (row.n, row.k) in ((1024, 1024), (16384, 8192), (8192, 16384))
    )
    ours = gemm_us(row.m, row.n, row.k)
    return Comparison(f"{row.m} x {row.k} x {row.n}", ours, row.time_us, "us", use_of(is_fit))


def _attention_family(phase: str, rows: Iterable[AttentionTime], full: bool) -> Family:
    own = [row for row in rows if row.phase == phase]
    found = [_attention(row) for row in (own[::FULL_EVERY] if full else _quick(own))]
    note = "every fifth row of the table: they take long" if full else ""
    return _family(f"a100 attention {phase}", VLLM, found, note)


def _quick(rows: Sequence[AttentionTime]) -> list[AttentionTime]:
    return [row for row in rows if _pairs(row) <= QUICK_PAIRS][::QUICK_EVERY]


def _pairs(row: AttentionTime) -> int:
    """Of q and k, without a mask: what simulating a row takes."""
    return row.batch * row.new_tokens * (row.context_tokens + row.new_tokens)


def _attention(row: AttentionTime) -> Comparison:
    is_long = row.batch == 1 and row.new_tokens in (8192, 16384)
    is_one_token = row.batch in (1, 64, 128) and row.new_tokens == 1 and row.kv_heads == 8
    is_fit = row.phase == "prefill" and (is_long or is_one_token)
    name = f"b{row.batch} {row.new_tokens}+{row.context_tokens} kv{row.kv_heads}"
    return Comparison(name, attention_us(row), row.time_us, "us", use_of(is_fit))


def attention_us(row: AttentionTime) -> float:
    """The fused kernel of one layer, and the one that merges the parts of a cut KV cache.

    Assumes that a large prefill grows with its requests as smaller ones do.
    """
    shape = (row.phase, row.new_tokens, row.context_tokens, row.kv_heads)
    if row.batch <= 2 or _pairs(row) <= MAX_PAIRS:
        return _simulated_us(row.batch, *shape)
    half = max(1, MAX_PAIRS * row.batch // _pairs(row) // 2)
    first, second = (_simulated_us(batch, *shape) for batch in (half, 2 * half))
    return first + (row.batch - half) * (second - first) / half


@cache
def _simulated_us(batch: int, phase: str, new: int, context: int, kv_heads: int) -> float:
    workload = llm_workload(phase, batch, context if phase == "decode" else new)
    setup = _layer(MODELS_BY_KV_HEADS[kv_heads])
    scenario = setup.scenario.model_copy(update={"workload": workload})
    trace = simulate(replace(setup, scenario=scenario)).iterations[0].trace
    return _time_us(trace, lambda name: "softmax" in name)


@cache
def _layer(model_name: str) -> Setup:
    """One layer, with a small vocabulary: what stands around it is not looked at."""
    setup = resolve(load_scenario("decode", KEYS, CHIP, model_name))
    model = load_model(model_name).model_copy(update={"num_layers": 1, "vocab_size": 1024})
    return replace(setup, model=model)


def _time_us(trace: Trace, chosen: Callable[[str], bool]) -> float:
    """From the start to the end of the kernels whose name is `chosen`, which are neighbours."""
    ops = [i for i, op in enumerate(trace.program.ops) if chosen(op.name)]
    rows = np.isin(trace.program.op, ops)
    return float(trace.end_ps[rows].max() - trace.start_ps[rows].min()) / PS_PER_US


def _products(full: bool) -> list[Comparison]:
    rows = [r for r in linear_times() if r.op in PRODUCTS and r.time_us >= LEAST_US]
    found = []
    for row in rows[:: 1 if full else QUICK_EVERY]:
        m, n, k = product_shape(row)
        name = f"{row.model} tp{row.tp} {row.tokens} {row.op}"
        found.append(Comparison(name, gemm_us(m, n, k), row.time_us, "us"))
    return found


def product_shape(row: LinearTime) -> tuple[int, int, int]:
    """(m, n, k) of a product on one of `tp` chips."""
    model = load_model(row.model)
    heads, hidden = model.num_heads * model.head_dim, model.hidden_size
    kv = 2 * max(1, model.num_kv_heads // row.tp) * model.head_dim
    n, k = {
        "attn_pre_proj": (heads // row.tp + kv, hidden),
        "attn_post_proj": (hidden, heads // row.tp),
        "mlp_up_proj": (2 * model.intermediate_size // row.tp, hidden),
        "mlp_down_proj": (hidden, model.intermediate_size // row.tp),
    }[row.op]
    return row.tokens, n, k
