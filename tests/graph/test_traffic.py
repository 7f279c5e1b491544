import json
from pathlib import Path

from npusim.graph import ops
from npusim.graph.batch import decode
from npusim.graph.ir import ops_in_order
from npusim.graph.traffic import op_bytes, weights_read
from npusim.graph.transformer import build
from npusim.spec.model import Model
from npusim.spec.scenario import Dtypes

MODELS = Path(__file__).parents[2] / "workloads" / "models"


def test_each_class_has_its_data_type():
    op = ops.matmul("qkv", "qkv", m=2, k=16, n=8, kv_write=9)
    found = op_bytes(op, Dtypes(weights="int4", activations="bf16", kv="fp8"))
    assert tuple(found) == (16 * 8 // 2, 2 * 16 * 2, 2 * 8 * 2, 0, 9)
    assert found.memory == 64 + 9


def test_odd_int4_counts_round_up():
    op = ops.matmul("gemm", "gemm", m=1, k=3, n=3)
    assert op_bytes(op, Dtypes(weights="int4")).weights == 5


def test_only_gathered_rows_and_busy_experts_are_read():
    assert weights_read(ops.embedding("embedding", 3, 1000, 8)) == 24
    assert weights_read(ops.experts("expert_down", "expert_down", (2, 1, 0, 0), 4, 8)) == 2 * 32


def test_decode_of_llama_2_7b_reads_its_weights_and_cache():
    """Every weight but the embedding table once, and 512 KiB of KV a token of context."""
    model = Model.from_config(json.loads((MODELS / "llama-2-7b.json").read_text()))
    moved = [op_bytes(op, Dtypes()) for op in ops_in_order(build(model, decode(1, 1023)))]
    assert sum(b.weights for b in moved) == 2 * (6_738_415_616 - 32000 * 4096 + 4096)
    assert sum(b.kv_read for b in moved) == 1024 * (512 << 10)
    assert sum(b.kv_write for b in moved) == 512 << 10
