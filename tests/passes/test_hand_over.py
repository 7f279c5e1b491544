"""From stage to stage: the residual stream as messages, through memory where it lies there."""

import numpy as np
import pytest

from npusim.graph.batch import prefill
from npusim.graph.transformer import build
from npusim.passes.pipeline import lower
from npusim.program import LOAD, SEND, STORE
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel

MODEL = load_model("qwen3-1.7b", {"num_hidden_layers": 2, "vocab_size": 4096, "hidden_size": 1024})


@pytest.mark.parametrize(("capacity_mib", "spilled"), [(1, True), (32, False)])
def test_a_spilled_residual_stream_is_read_sent_and_written(capacity_mib, spilled):
    size = {"core_groups.0.core.scratchpad.capacity_mib": capacity_mib}
    hardware, tokens = load_hardware("npu_large_core", size), 700
    parallel = Parallel(pp=2, partition="megatron")
    program = lower(build(MODEL, prefill(1, tokens)), hardware, parallel, "ring", Dtypes())
    names = np.array([op.name for op in program.ops])[program.op]
    moved = {
        kind: program.bytes[(names == "stage1.hand_over") & (program.kind == kind)].sum()
        for kind in (LOAD, SEND, STORE)
    }
    whole = 2 * tokens * 1024
    assert moved == {LOAD: whole * spilled, SEND: whole, STORE: whole * spilled}
