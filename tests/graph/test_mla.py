import json
from pathlib import Path

import pytest

from npusim.errors import SpecError
from npusim.graph.batch import Slice, decode, prefill
from npusim.graph.ir import ops_in_order
from npusim.graph.transformer import build
from npusim.spec.model import Model

PATH = Path(__file__).parents[2] / "workloads" / "models" / "deepseek-v3.json"
CONFIG = json.loads(PATH.read_text()) | {"num_hidden_layers": 4}
MODEL = Model.from_config(CONFIG, "deepseek-v3")
HEADS, LATENT, ROPE, NOPE, VALUE = 128, 512, 64, 128, 128


def layer(batch, form, model=MODEL):
    found = [op for op in ops_in_order(build(model, batch, form)) if op.layer == 0]
    return {op.name.removeprefix("layer0."): op for op in found}


def test_expanded_shapes():
    ops = layer((Slice(10, 30),), "expanded")
    assert (ops["q_down"].k, ops["q_down"].n, ops["q_up"].n) == (7168, 1536, HEADS * 192)
    assert ops["kv_down"].n == 576 and ops["kv_down"].kv_write_elements == 10 * 576
    assert (ops["kv_up"].m, ops["kv_up"].k, ops["kv_up"].n) == (40, LATENT, HEADS * 256)
    pairs = 10 * 30 + 55
    assert ops["qk"].flops == 2 * HEADS * (NOPE + ROPE) * pairs
    assert ops["av"].flops == 2 * HEADS * VALUE * pairs
    assert ops["output"].k == HEADS * VALUE
    assert ops["rope"].elements == 10 * (HEADS + 1) * ROPE


def test_absorbed_shapes():
    ops = layer((Slice(10, 30),), "absorbed")
    pairs = 10 * 30 + 55
    assert ops["absorb_k"].flops == 2 * 10 * HEADS * NOPE * LATENT
    assert ops["absorb_k"].input_elements == 10 * HEADS * NOPE
    assert ops["absorb_v"].flops == 2 * 10 * HEADS * LATENT * VALUE
    assert ops["qk"].flops == 2 * HEADS * (LATENT + ROPE) * pairs
    assert ops["av"].flops == 2 * HEADS * LATENT * pairs
    assert ops["qk"].kv_heads == ops["av"].kv_heads == 1
    assert "kv_up" not in ops


@pytest.mark.parametrize("form", ["absorbed", "expanded"])
def test_both_forms_hold_the_same_weights_and_read_the_latents_once(form):
    ops = layer((Slice(10, 30),), form).values()
    held = sum(op.weight_elements for op in ops if op.kind == "matmul")
    attention = 7168 * 1536 + 1536 * HEADS * 192 + 7168 * 576 + LATENT * HEADS * 256
    assert held == attention + HEADS * VALUE * 7168 + 3 * 7168 * 18432
    assert sum(op.kv_read_elements for op in ops) == 40 * (LATENT + ROPE)


@pytest.mark.parametrize(
    "batch, form",
    [
        (decode(4, 100), "absorbed"),
        (prefill(1, 512), "expanded"),
        ((Slice(8, 4096),), "absorbed"),
        ((Slice(1024, 1024),), "expanded"),
    ],
)
def test_auto_takes_the_form_with_fewer_flops(batch, form):
    assert layer(batch, "auto") == layer(batch, form)
    flops = {f: sum(op.flops for op in layer(batch, f).values()) for f in ("absorbed", "expanded")}
    assert flops[form] == min(flops.values())


def test_without_q_lora_q_is_projected_directly():
    lite = Model.from_config(CONFIG | {"q_lora_rank": None}, "lite")
    ops = layer(prefill(1, 8), "auto", lite)
    assert (ops["q"].k, ops["q"].n) == (7168, HEADS * 192)
    assert "q_down" not in ops and "q_latent_norm" not in ops


def test_unknown_form():
    with pytest.raises(SpecError, match="mla must be one of absorbed, auto, expanded"):
        build(MODEL, prefill(1, 8), "absorb")
