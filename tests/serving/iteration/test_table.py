"""Times from measured kernels: by hand on a tiny table, against bandwidth on the shipped one."""

import csv
import random
from itertools import pairwise
from pathlib import Path

import pytest

from npusim.errors import SpecError
from npusim.serving.iteration.kernel_files import IN_A_LAYER, ONCE, find_folder
from npusim.serving.iteration.table import BatchShape, KernelTable, batch_shape
from npusim.serving.request import Request, Work
from npusim.spec.load import load_model

NAME = "rtx4090_llama-3.1-8b"
SHIPPED = find_folder(NAME)
DENSE = {
    "qkv_proj": (10, 30),
    "o_proj": (5, 15),
    "gate_up_proj": (20, 60),
    "down_proj": (12, 36),
    "layernorm": (1, 3),
    "embedding": (2, 4),
    "final_layernorm": (1, 3),
}  # µs at 4 and at 8 tokens
LAYERS = 32


@pytest.fixture(scope="module")
def model():
    return load_model("llama-3.1-8b")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Attention takes chunk + kv_prefill / 10 + n (2 + kv / 100) µs."""
    (tmp_path / "meta.yaml").write_text("tp_degrees: [1]\n")
    dense = [
        f"{name},{n},{t}" for name, ts in DENSE.items() for n, t in zip((4, 8), ts, strict=True)
    ]
    (tmp_path / "dense.csv").write_text("\n".join(["layer,tokens,time_us", *dense]) + "\n")
    sequence = "layer,sequences,time_us\nlm_head,1,100\nlm_head,3,120\nsampler,1,7\nsampler,3,9\n"
    (tmp_path / "per_sequence.csv").write_text(sequence)
    lines = ["prefill_chunk,kv_prefill,n_decode,kv_decode,time_us"]
    for chunk, before in ((0, 0), (8, 0), (8, 100), (16, 0), (16, 100)):
        for n, kv in ((0, 0), (1, 100), (1, 200), (2, 100), (2, 200)):
            if chunk or n:
                lines.append(f"{chunk},{before},{n},{kv},{attention_us(chunk, before, n, kv)}")
    (tmp_path / "attention.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def attention_us(chunk: float, before: float, n: float, kv: float) -> float:
    return chunk + before / 10 + n * (2 + kv / 100)


def work(new: int, context: int, samples: bool = True) -> Work:
    return Work(Request(0, 0, new + context, 1), new, context, samples)


def dense_us(share: float) -> float:
    """At 4 + 4 * share tokens; a layer has two norms."""
    at = {name: low + share * (high - low) for name, (low, high) in DENSE.items()}
    once = at["embedding"] + at["final_layernorm"]
    return LAYERS * (sum(at.values()) - once + at["layernorm"]) + once


def test_a_batch_of_decodes_by_hand(folder, model):
    batch = [work(1, 120), work(1, 180)]
    us = dense_us(0) + 100 + 10 + 7 + 1 + LAYERS * attention_us(0, 0, 2, 150)  # below 4 tokens: 4
    assert KernelTable.load(folder, model).iteration_ps(batch) == round(us * 1e6)


def test_a_prefill_beside_a_decode_by_hand(folder, model):
    batch = [work(1, 150), work(9, 40)]
    us = dense_us(1.5) + 110 + 8 + LAYERS * attention_us(9, 40, 1, 150)  # 10 tokens: prolonged
    assert KernelTable.load(folder, model).iteration_ps(batch) == round(us * 1e6)


def test_two_prefills_cost_each_alone_and_what_decodes_add_to_both(folder, model):
    table = KernelTable.load(folder, model)
    shape = BatchShape(25, 3, 1, 150, [(8, 0), (16, 90)])
    alone = attention_us(8, 0, 0, 0) + attention_us(16, 90, 0, 0)
    assert table.attention_us(shape) == pytest.approx(alone + attention_us(0, 0, 1, 150))


def test_beyond_the_grid_times_grow_as_at_its_end(folder, model):
    table = KernelTable.load(folder, model)
    far = BatchShape(5, 5, 5, 5 * 900, [])
    assert table.attention_us(far) == pytest.approx(attention_us(0, 0, 5, 900))
    chunk = BatchShape(40, 1, 0, 0, [(40, 700)])
    assert table.attention_us(chunk) == pytest.approx(attention_us(40, 700, 0, 0))
    least = BatchShape(1, 1, 1, 3, [])
    assert table.attention_us(least) == attention_us(0, 0, 1, 100)  # the first point


def test_a_chunk_that_does_not_end_a_prompt_is_no_decode():
    shape = batch_shape([work(1, 7, samples=False), work(1, 0), work(1, 5)])
    assert (shape.tokens, shape.sequences, shape.decodes) == (3, 3, 1)
    assert shape.prefills == [(1, 7), (1, 0)]


def test_folders_by_tensor_parallelism(folder, model):
    (folder / "tp2").mkdir()
    for name in ("dense.csv", "per_sequence.csv", "attention.csv"):
        (folder / name).rename(folder / "tp2" / name)
    (folder / "meta.yaml").write_text("tp_degrees: [2]\n")
    assert KernelTable.load(folder, model, tp=2).num_layers == LAYERS
    with pytest.raises(SpecError, match=r"meta.yaml:1: has tensor parallelism 2, not 1"):
        KernelTable.load(folder, model)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("dense.csv", "o_proj,4,5", "o_proj,4,x", r"dense.csv:4: time_us must be .*not 'x'"),
        ("dense.csv", "o_proj,4,5", "o_proj,4,0", r"dense.csv:4: time_us must be above 0"),
        ("dense.csv", "o_proj,4,5", "o_proj,4", r"dense.csv:4: must have 3 cells"),
        ("dense.csv", "o_proj,4", "o_prj,4", r"dense.csv:4: layer .*did you mean 'o_proj'"),
        ("dense.csv", "o_proj,8", "o_proj,4", r"dense.csv:5: o_proj is measured twice"),
        ("dense.csv", "tokens", "token", r"dense.csv:1: has no column tokens; did you mean"),
        ("per_sequence.csv", "lm_head", "sampler", r"per_sequence.csv:4: sampler is measured"),
        ("attention.csv", "0,0,1,100", "0,0,-1,100", r"attention.csv:2: n_decode must be a number"),
        ("attention.csv", "0,0,1,200", "0,0,1,100", r"attention.csv:3: is measured twice: prefill"),
        ("meta.yaml", "[1]", "[4]", r"meta.yaml:1: has tensor parallelism 4, not 1"),
        ("meta.yaml", "tp_degrees: [1]", "- 1", r"meta.yaml:1: must be a mapping"),
    ],
)
def test_a_malformed_table_is_refused_by_its_line(folder, model, name, old, new, message):
    file = folder / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SpecError, match=message):
        KernelTable.load(folder, model)


def test_missing_parts_are_refused(folder, model):
    file = folder / "attention.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("0,")) + "\n")
    with pytest.raises(SpecError, match=r"attention.csv: has no rows of decodes alone"):
        KernelTable.load(folder, model)
    file.unlink()
    with pytest.raises(SpecError, match=r"attention.csv: cannot be read"):
        KernelTable.load(folder, model)
    with pytest.raises(SpecError, match=f"serving.table: must be a folder .*{NAME}, not 'rtx40'"):
        KernelTable.load("rtx40", model)
    with pytest.raises(SpecError, match="model: is missing"):
        KernelTable.load(NAME, None)


def test_a_table_of_another_model_is_refused():
    other = load_model("llama-3.1-70b")
    with pytest.raises(SpecError, match=r"meta.yaml:\d+: is measured with intermediate_size 14336"):
        KernelTable.load(NAME, other)
    with pytest.raises(SpecError, match="no experts or MLA"):
        KernelTable.load(NAME, load_model("mixtral-8x7b"))


@pytest.fixture(scope="module")
def shipped(model):
    return KernelTable.load(NAME, model)


def rows(name: str) -> list[dict[str, str]]:
    with open(SHIPPED / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_measured_point_is_given_back(shipped):
    points = rows("attention.csv")
    for row in random.Random(0).sample(points, 400):
        chunk, before, n, kv = (
            int(row[key]) for key in ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
        )
        shape = BatchShape(chunk + n, 1, n, n * kv, [(chunk, before)] if chunk else [])
        assert shipped.attention_us(shape) == pytest.approx(float(row["time_us"]), rel=1e-12)


def test_dense_kernels_against_their_rows(shipped):
    at = {r["layer"]: float(r["time_us"]) for r in rows("dense.csv") if r["tokens"] == "64"}
    heads = sum(float(r["time_us"]) for r in rows("per_sequence.csv") if r["sequences"] == "64")
    layer = sum(IN_A_LAYER[name] * time for name, time in at.items() if name not in ONCE)
    shape = BatchShape(64, 64, 64, 64 * 512, [])
    us = LAYERS * layer + sum(at[name] for name in ONCE) + heads
    attention = LAYERS * shipped.attention_us(shape)
    assert shipped.iteration_us(shape) - attention == pytest.approx(us)


def test_decodes_read_weights_and_kv_at_no_more_than_the_memory_gives(shipped, model):
    """RTX 4090: 1,008 GB/s. Weights in 2 bytes, KV of 8 heads of 128 twice in 2 bytes."""
    kv_bytes = 2 * 2 * model.num_kv_heads * model.head_dim
    for n, context in ((8, 4096), (32, 2048), (64, 1024), (256, 16384)):
        us = shipped.attention_us(BatchShape(n, n, n, n * context, []))
        assert 0.7 < n * context * kv_bytes / us / 1e3 / 1008 < 1
    us = shipped.iteration_us(BatchShape(1, 1, 1, 16, []))
    assert 0.85 < 2 * 7.5e9 / us / 1e3 / 1008 < 1  # 8.03 G less an embedding that is looked up


def test_more_work_takes_no_less_time(shipped):
    """Weakly: neighbouring measured points wobble by some percent."""
    for grow in (
        [BatchShape(n, n, n, n * 700, []) for n in (1, 3, 10, 33, 70, 300)],
        [BatchShape(20, 20, 20, 20 * kv, []) for kv in (10, 100, 1000, 10_000, 40_000)],
        [BatchShape(c + 9, 10, 9, 9 * 500, [(c, 300)]) for c in (1, 40, 300, 1000, 2039)],
        [BatchShape(209, 10, 9, 9 * 500, [(200, kv)]) for kv in (0, 100, 3000, 30_000)],
    ):
        times = [shipped.iteration_us(shape) for shape in grow]
        assert all(low < high for low, high in pairwise(times))
