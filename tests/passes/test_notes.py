"""Notes say what the program does."""

import numpy as np
import pytest

from npusim.graph.batch import decode, prefill
from npusim.graph.transformer import build
from npusim.passes.pipeline import lower
from npusim.program import LOAD
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel
from npusim.units import format_bytes

CHIP = load_hardware("npu_large_core", {"core_groups.0.core.scratchpad.capacity_mib": 1})
WEIGHT_KINDS = ("embedding", "matmul", "experts")


@pytest.mark.parametrize(
    ("name", "batch", "parallel"),
    [
        ("qwen3-1.7b", prefill(1, 9), {"tp": 3, "partition": "mnk"}),  # tied: head and some rows
        ("llama-3.1-8b", prefill(1, 48), {"tp": 2, "pp": 2, "micro_batches": 3}),
        ("mixtral-8x7b", decode(1, 50), {"tp": 8, "ep": 4}),  # two experts of eight
    ],
)
def test_the_weights_said_to_come_from_memory_are_those_that_are_loaded(name, batch, parallel):
    model = load_model(name, {"num_hidden_layers": 2, "vocab_size": 4096, "hidden_size": 1024})
    program = lower(build(model, batch), CHIP, Parallel(**parallel), "auto", Dtypes())
    kinds = np.array([op.kind for op in program.ops])[program.op]
    weights = (program.kind == LOAD) & np.isin(kinds, WEIGHT_KINDS)
    said = f"{format_bytes(int(program.bytes[weights].sum()))} come from memory every iteration"
    assert any(said in note for note in program.notes), program.notes
