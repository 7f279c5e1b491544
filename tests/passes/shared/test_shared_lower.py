"""Programs of kernels: which kernels, what they move in all, how chips share a model."""

import re

import numpy as np
import pytest

from npusim.cost.interconnect import link_collective_ps
from npusim.errors import CapacityError, SpecError
from npusim.graph.batch import decode, prefill
from npusim.graph.ir import ops_in_order
from npusim.graph.traffic import weights_read
from npusim.graph.transformer import build
from npusim.machine.system import run
from npusim.passes.repeat import shorten
from npusim.passes.shared.chip import sustained
from npusim.passes.shared.lower import lower_kernels
from npusim.passes.shared.shard import shard
from npusim.program import COMPUTE, LOAD, STORE, VECTOR_UNIT
from npusim.simulate import simulate
from npusim.spec.load import load_hardware, load_model, load_scenario, resolve
from npusim.spec.scenario import Dtypes, Parallel

A100 = load_hardware("a100_sxm_80")
LAYERS = {"num_hidden_layers": 2}
LLAMA = load_model("llama-3.1-8b", LAYERS)
MIXTRAL = load_model("mixtral-8x7b", LAYERS)
DEEPSEEK = load_model("deepseek-v3", {"num_hidden_layers": 4})
KV_ROW = 2 * 8 * 128 * 2  # Llama-3.1-8B: K and V, 8 heads of 128, 2 bytes


def lowered(model, batch, parallel=None, hardware=A100):
    return lower_kernels(build(model, batch), hardware, parallel or Parallel(), Dtypes())


def moved(program, kind, memory=0):
    rows = (program.kind == kind) & (program.memory == memory)
    return int(program.bytes[rows].sum())


def kernel_names(program, layer):
    return [op.name.split(".", 1)[1] for op in program.ops if op.layer == layer]


def test_a_layer_becomes_the_kernels_of_a_serving_stack():
    found = kernel_names(lowered(LLAMA, decode(64, 512)), layer=1)
    names = [name for name in found if not name.endswith(".merge")]  # of parts of k or context
    assert names == [
        "qkv",
        "rope",
        "qk+softmax+av",
        "output",
        "attention_add+mlp_norm",
        "gate_up",
        "activation",
        "down",
        "mlp_add+final_norm",
    ]


def test_decode_reads_weights_and_cache_once_and_writes_the_new_rows():
    program = lowered(LLAMA, decode(8, 999))
    graph = build(LLAMA, decode(8, 999))
    weights = sum(op.weight_elements * 2 for op in ops_in_order(graph) if op.kind == "matmul")
    gathered = 8 * 4096 * 2  # rows of the embedding
    assert moved(program, LOAD) == weights + gathered + 2 * 8 * 1000 * KV_ROW
    assert moved(program, STORE) == 2 * 8 * KV_ROW


@pytest.mark.parametrize("model", [MIXTRAL, DEEPSEEK], ids=lambda m: m.name)
def test_decode_reads_only_experts_with_tokens_and_latents_once(model):
    graph = build(model, decode(2, 299))
    ops = ops_in_order(graph)
    matmuls = [op for op in ops if op.kind in ("matmul", "experts")]
    weights = sum(2 * (weights_read(op) - op.n * op.bias) for op in matmuls)  # biases are free
    cache = sum(2 * op.kv_read_elements for op in ops)
    gathered = 2 * model.hidden_size * 2
    assert moved(lowered(model, decode(2, 299)), LOAD) == weights + cache + gathered


@pytest.mark.parametrize("model", [LLAMA, MIXTRAL, DEEPSEEK], ids=lambda m: m.name)
@pytest.mark.parametrize("batch", [decode(3, 100), prefill(2, 200)], ids=["decode", "prefill"])
def test_kernels_do_the_flops_of_the_graph(model, batch):
    graph = build(model, batch)
    program = lowered(model, batch)
    assert program.flops.sum() == pytest.approx(
        sum(op.flops for op in ops_in_order(graph)), rel=1e-3
    )


@pytest.mark.parametrize("model", [LLAMA, MIXTRAL, DEEPSEEK], ids=lambda m: m.name)
def test_chips_of_a_group_share_the_work(model):
    graph = build(model, prefill(1, 256))
    ops = ops_in_order(graph)
    own, sums = shard(ops, graph, 4, 1)
    split = {op.name: op.flops for op in ops if op.kind in ("qk", "av")}
    assert all(4 * op.flops == split[op.name] for op in own if op.name in split)
    total, share = sum(op.flops for op in ops), sum(op.flops for op in own)
    assert total <= 4 * share < 1.1 * total  # low-rank projections and routers are repeated
    reduced = [name for name, (kind, _) in sums.items() if kind == "all_reduce"]
    layers = len(graph.graph["layers"])
    assert len(reduced) == 2 * layers + 1  # and the embedding
    assert sums["lm_head"] == ("all_gather", model.vocab_size)


def test_heads_that_divide_unevenly_wait_for_the_chip_with_most():
    graph = build(LLAMA, prefill(1, 256))
    ops = ops_in_order(graph)
    own, _ = shard(ops, graph, 3, 1)
    for op, cut in zip(ops, own, strict=True):
        if op.kind in ("qk", "softmax", "av"):
            assert (cut.heads, cut.elements) == (11, 11 * op.elements // 32)
            assert cut.flops == 11 * op.flops // 32


def test_experts_spread_over_groups_of_chips():
    graph = build(MIXTRAL, decode(16, 100))
    own, _ = shard(ops_in_order(graph), graph, 4, 2)
    up = next(op for op in own if op.role == "expert_gate_up")
    assert (len(up.expert_tokens), up.n, up.m) == (4, 14336, 16)


def test_a_collective_takes_the_time_of_the_links():
    program = lowered(LLAMA, decode(4, 100), Parallel(tp=2))
    khz = A100.core(0).khz
    rows = [i for i, op in enumerate(program.ops) if op.name.endswith(".all_reduce")]
    cycles = program.cycles[np.isin(program.op, rows) & (program.kind == COMPUTE)]
    time_ps = link_collective_ps("all_reduce", 4 * 4096 * 2, 2, A100.chips)
    assert len(cycles) == 4
    assert (cycles == -(-time_ps * khz // 10**9)).all()


def test_stages_hand_over_the_residual_stream():
    program = lowered(LLAMA, prefill(1, 64), Parallel(pp=2))
    assert [op.layer for op in program.ops if "point_to_point" in op.name] == [0]


def test_micro_batches_follow_at_the_pace_of_a_longest_stage():
    model = load_model("llama-3.1-8b", {"num_hidden_layers": 5})  # stages of 1, 2, 1 and 1 layers
    program = lowered(model, prefill(2, 128), Parallel(pp=4, micro_batches=2))
    layers = [op.layer for op in program.ops if op.name.endswith("down")]
    assert layers == [0, 1, 2, 3, 4, 1, 2]
    assert [op.name for op in program.ops].count("lm_head") == 1
    two = lowered(model, prefill(2, 128), Parallel(micro_batches=2))
    assert two.flops.sum() == lowered(model, prefill(2, 128)).flops.sum()


def test_kernels_follow_one_another():
    program = lowered(LLAMA, decode(2, 100))
    hardware = sustained(A100)
    trace = run(program, hardware)
    first = [trace.start_ps[program.op == i].min() for i in range(len(program.ops))]
    last = [trace.end_ps[program.op == i].max() for i in range(len(program.ops))]
    assert all(a >= b for a, b in zip(first[1:], last, strict=False))
    assert trace.makespan_ps > 3_000_000 * len(program.ops)


def test_every_kernel_has_its_start_and_attention_three():
    program = lowered(LLAMA, decode(2, 100))
    clock = (program.kind == COMPUTE) & (program.core == 0) & (program.unit == VECTOR_UNIT)
    first = {}
    for row in np.flatnonzero(clock):
        first.setdefault(program.ops[program.op[row]].kind, int(program.cycles[row]))
    assert first["matmul"] == 3 * 1410  # 3 us at 1,410 MHz
    assert first["qk"] == 3 * 3 * 1410


def test_both_engines_agree():
    tiny = load_model(
        "llama-3.1-8b",
        {"num_hidden_layers": 1, "hidden_size": 512, "intermediate_size": 512, "vocab_size": 512},
    )
    program = lowered(tiny, decode(2, 64))
    fast, plain = (run(program, A100, engine=engine) for engine in ("fast", "simpy"))
    assert (fast.end_ps == plain.end_ps).all()


def test_equal_layers_can_be_left_out():
    program = lowered(load_model("llama-3.1-8b", {"num_hidden_layers": 8}), decode(1, 100))
    short = shorten(program, 2)
    assert short is not None
    assert short.removed_layers == 4  # the first and the last differ


def test_reused_layers_give_the_time_of_all():
    texts = ["workload.phase=decode", "workload.context_tokens=500", "parallel.tp=1"]
    texts.append("model.num_hidden_layers=8")

    def makespan_ps(*more):
        scenario = load_scenario(None, [*texts, *more], hw="h100_sxm", model="llama-3.1-8b")
        return simulate(resolve(scenario)).makespan_ps

    assert makespan_ps("reuse=true") == pytest.approx(makespan_ps(), rel=0.01)


def test_what_does_not_fit_is_refused_with_demand_and_bound():
    model = load_model("llama-3.1-70b")
    with pytest.raises(CapacityError, match=r"weights need 131\.42 GiB, KV .* hbm has 76\.30 GiB"):
        lowered(model, decode(1, 100))
    lowered(model, decode(1, 100), Parallel(tp=2))


@pytest.mark.parametrize(
    ("parallel", "text"),
    [
        (Parallel(tp=16), "takes 16 chips, a100_sxm_80 has 8"),
        (Parallel(dp=2), "dp must be 1"),
        (Parallel(tp=4, ep=3), "ep 3 must divide tp 4"),
        (Parallel(tp=1, ep=2), "ep 2 must divide tp 1"),
    ],
)
def test_mappings_that_such_a_chip_does_not_have_are_refused(parallel, text):
    with pytest.raises(SpecError, match=re.escape(text)):
        lowered(LLAMA, decode(4, 100), parallel)


IDEAL = [
    "hw.kernels.start_us=0",
    "hw.kernels.attention_tile_us=0",
    "hw.kernels.mma=[1, 1, 1]",
    "hw.kernels.compute_efficiency_fraction=1",
    "hw.kernels.attention_efficiency_fraction=1",
    "hw.kernels.memory_efficiency_fraction=1",
    "hw.memories.0.request_latency_ns=0",
    "hw.memories.0.response_latency_ns=0",
    "hw.memories.0.timing.t_refi_ns=0",
    "hw.memories.0.timing.t_rfc_ns=0",
    "fidelity.memory=analytic",
]


@pytest.mark.parametrize("batch", [1, 32])
def test_ideal_settings_give_the_roofline_in_decode(batch):
    """Weights and KV at the peak bandwidth bind: never less, and at most 3 % more."""
    work = ["workload.phase=decode", f"workload.batch={batch}", "workload.context_tokens=2048"]
    texts = [*work, *IDEAL, "parallel.tp=1", "reuse=true"]
    setup = resolve(load_scenario(None, texts, hw="a100_sxm_80", model="llama-2-7b"))
    weights = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 4096 * 32000
    bytes_moved = 2 * weights + batch * 2049 * 32 * 2 * 4096 * 2
    roofline_ps = bytes_moved / 2039 * 1000
    assert roofline_ps <= simulate(setup).makespan_ps <= 1.03 * roofline_ps
