"""Elements sent per core against the closed forms of arXiv 2510.05632 (corrected 2-D row)."""

import networkx as nx
import numpy as np
import pytest

from npusim.graph import ops
from npusim.graph.batch import prefill
from npusim.graph.mask import masked_slices
from npusim.graph.micro import build_gemm
from npusim.graph.sketch import Sketch
from npusim.passes.pipeline import lower
from npusim.program import SEND
from npusim.spec.load import load_hardware
from npusim.spec.scenario import Dtypes, Parallel

MODELS = {"1.7B": (2048, 6144, 16), "4B": (2560, 9728, 32), "8B": (4096, 12288, 32)}
TOKENS = (256, 1024, 4096)
HEAD_DIM = 128
# millions of elements sent per core and layer at TP 4, as the study's table has them
PRINTED = {
    ("1.7B", "k"): (6.29, 25.17, 100.66),
    ("1.7B", "mn"): (33.03, 37.75, 56.62),
    ("1.7B", "mnk"): (12.32, 17.83, 39.85),
    ("4B", "k"): (10.42, 41.68, 166.72),
    ("4B", "mn"): (71.96, 81.40, 119.14),
    ("4B", "mnk"): (26.05, 35.39, 72.74),
    ("8B", "k"): (12.58, 50.33, 201.33),
    ("8B", "mn"): (128.97, 138.41, 176.16),
    ("8B", "mnk"): (45.61, 56.62, 100.66),
}
RING_STEPS = {"k": 24, "mn": 18, "mnk": 10}


def closed_form(partition, tokens, hidden, ffn, heads):
    width = heads * HEAD_DIM
    weights = 4 * width * hidden + 2 * hidden * ffn
    return {
        "k": 1.5 * tokens * (3 * width + 2 * hidden + ffn),
        "mn": 0.75 * weights + 3 * tokens * width,
        "mnk": 0.25 * weights + tokens * (1.75 * width + hidden + 0.25 * ffn),
    }[partition]


def released_block(tokens, hidden, ffn, heads):
    """The study's simplified layer: QKV of 3 x heads x head_dim, two FFN matrices without gate."""
    sketch, width = Sketch(), heads * HEAD_DIM
    slices = masked_slices(prefill(1, tokens))
    normed = sketch.add(ops.norm("norm1", "rmsnorm", tokens, hidden), "")
    qkv = ops.matmul(
        "qkv", "qkv", tokens, hidden, 3 * width,
        heads=heads, kv_heads=heads, head_dim=HEAD_DIM, kv_write=2 * tokens * width,
    )  # fmt: skip
    made = sketch.add(qkv, normed)
    scores = sketch.add(ops.qk(slices, heads, heads, HEAD_DIM), made)
    weights = sketch.add(ops.softmax(slices, heads), scores)
    values = sketch.add(ops.av(slices, heads, heads, HEAD_DIM), weights, made)
    out = sketch.add(ops.matmul("output", "output", tokens, width, hidden), values)
    first = sketch.add(ops.add("add1", tokens, hidden), "", out)
    normed = sketch.add(ops.norm("norm2", "rmsnorm", tokens, hidden), first)
    up = sketch.add(ops.matmul("up", "up", tokens, hidden, ffn), normed)
    act = sketch.add(ops.activation("act", "gelu", tokens, ffn, False), up)
    down = sketch.add(ops.matmul("down", "down", tokens, ffn, hidden), act)
    sketch.add(ops.add("add2", tokens, hidden), first, down)
    graph = nx.DiGraph(layers={})
    sketch.stamp(graph, "", 0)
    return graph


@pytest.fixture(scope="module")
def chip():
    """Scratchpads so large that no weight block is sent in pieces."""
    return load_hardware("npu_large_core", {"core_groups.0.core.scratchpad.capacity_mib": 2048})


def sent_by_core(program, tp, element_bytes=2):
    sends = program.kind == SEND
    sent = np.bincount(program.core[sends], program.bytes[sends], minlength=64)
    count = np.bincount(program.core[sends], minlength=64)
    used = np.unique(program.core)
    assert len(used) == tp
    return sent[used] / element_bytes, count[used]


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize(("model", "partition"), PRINTED)
def test_released_block_sends_what_the_closed_form_says(chip, model, partition, tokens):
    hidden, ffn, heads = MODELS[model]
    graph = released_block(tokens, hidden, ffn, heads)
    parallel = Parallel(tp=4, partition=partition, collective="ring")
    program = lower(graph, chip, parallel, "ring", Dtypes())
    elements, steps = sent_by_core(program, 4)
    assert set(elements) == {closed_form(partition, tokens, hidden, ffn, heads)}
    assert set(steps) == {RING_STEPS[partition]}
    printed = PRINTED[model, partition][TOKENS.index(tokens)]
    assert elements[0] / 1e6 == pytest.approx(printed, abs=0.005)


@pytest.mark.parametrize("tokens", (4, 256, 257, 1023))
def test_sequence_parallel_megatron_sends_what_its_all_reduces_would(chip, tokens):
    """Two reduce-scatters and two all-gathers of [tokens, hidden] a layer: 4 (n - 1) / n of it a
    core, and in pieces of whole tokens."""
    hidden = 256
    graph = released_block(tokens, hidden, 512, 8)
    parallel = Parallel(tp=4, partition="megatron", collective="ring")
    elements, _ = sent_by_core(lower(graph, chip, parallel, "ring", Dtypes()), 4)
    assert elements.sum() == 4 * 3 * tokens * hidden
    assert elements.max() - elements.min() <= 4 * hidden
    if tokens % 4 == 0:
        assert set(elements) == {4 * 3 / 4 * tokens * hidden}


def gemm_sends(chip, m, k, n, tp, partition, grid=None):
    parallel = Parallel(tp=tp, partition=partition, grid=grid, collective="ring")
    program = lower(build_gemm(m, k, n), chip, parallel, "ring", Dtypes())
    sends = program.kind == SEND
    return (
        np.bincount(program.core[sends], program.bytes[sends], minlength=64)[
            np.unique(program.core)
        ]
        / 2
    )


SHAPES = ((64, 256, 512), (96, 480, 240), (13, 37, 101))


@pytest.mark.parametrize("tp", (2, 3, 4, 8, 16))
@pytest.mark.parametrize("shape", SHAPES)
def test_gemm_mn_rotates_every_weight_to_the_others(chip, shape, tp):
    m, k, n = shape
    sent = gemm_sends(chip, m, k, n, tp, "mn")
    assert sent.sum() == (tp - 1) * k * n  # (tp - 1) / tp * KN a core
    assert sent.max() - sent.min() <= k * (tp - 1)  # uneven blocks differ by a column at most


@pytest.mark.parametrize("tp", (2, 3, 4, 8, 16))
@pytest.mark.parametrize("shape", SHAPES)
def test_gemm_k_all_reduces_the_result(chip, shape, tp):
    m, k, n = shape
    sent = gemm_sends(chip, m, k, n, tp, "k")
    assert sent.sum() == 2 * (tp - 1) * m * n  # 2 (tp - 1) / tp * MN a core
    if m * n % tp == 0:
        assert set(sent) == {2 * (tp - 1) * m * n / tp}


@pytest.mark.parametrize("grid", ((2, 2), (2, 4), (4, 2), (4, 4), (2, 8)))
def test_gemm_2d_is_the_corrected_row(chip, grid):
    rows, columns = grid
    m, k, n = 64, 256, 512
    sent = gemm_sends(chip, m, k, n, rows * columns, "mnk", grid)
    reduced = 2 * (columns - 1) / columns * m * n / rows
    rotated = (rows - 1) / rows * k * n / columns
    assert set(sent) == {reduced + rotated}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tp", (2, 4, 8))
def test_limits_of_2d_are_k_and_mn(chip, shape, tp):
    for grid, limit in (((1, tp), "k"), ((tp, 1), "mn")):
        assert (
            gemm_sends(chip, *shape, tp, "mnk", grid) == gemm_sends(chip, *shape, tp, limit)
        ).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_input_only_and_columns_send_nothing(chip, shape):
    assert gemm_sends(chip, *shape, 4, "input_only").sum() == 0
    assert gemm_sends(chip, *shape, 4, "megatron").sum() == 0
