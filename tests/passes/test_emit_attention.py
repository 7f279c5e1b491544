"""Attention as it is emitted: what consumers wait for, and what its buffer holds."""

import numpy as np

from npusim.graph.batch import Slice, decode
from npusim.graph.transformer import build
from npusim.machine.system import run
from npusim.passes.pipeline import lower
from npusim.program import COMPUTE, LOAD
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel

CHIP = load_hardware("npu_large_core")
MODEL = load_model("qwen3-4b", {"num_hidden_layers": 1, "vocab_size": 1024})


def lowered(batch):
    graph = build(MODEL, batch)
    return lower(graph, CHIP, Parallel(tp=1, partition="megatron"), "ring", Dtypes())


def rows(program, kind, task_kind):
    """Tasks of `task_kind` of the ops of `kind`."""
    kinds = np.array([op.kind for op in program.ops])[program.op]
    return np.flatnonzero((program.kind == task_kind) & (kinds == kind))


def deps(program, task):
    return set(program.deps[program.dep_start[task] : program.dep_start[task + 1]].tolist())


def test_the_output_waits_for_the_last_av_of_every_unit():
    # a decode's av is done by the vector unit, a chunk's behind it by the arrays
    program = lowered((Slice(1, 700), Slice(256, 0)))
    sums = rows(program, "av", COMPUTE)
    last = {int(program.unit[task]): int(task) for task in sums}
    assert len(last) > 1
    names = [op.name for op in program.ops]
    output = (program.op == names.index("layer0.output")) & (program.kind == COMPUTE)
    assert set(last.values()) <= deps(program, np.flatnonzero(output)[0])


def test_blocks_of_context_never_exceed_their_buffer():
    """A block is in use from the start of its load to the end of its av."""
    program = lowered(decode(1, 40_000))
    trace = run(program, CHIP)
    loads, sums = rows(program, "qk", LOAD), rows(program, "av", COMPUTE)
    sums = sums[-len(loads) :]  # blocks before them stay in the scratchpad
    assert len(loads) == len(sums) > 8  # one core's vector unit does them all
    moves = [(trace.start_ps[task], int(program.bytes[task])) for task in loads]
    sizes = program.bytes[loads].tolist()
    moves += [(trace.end_ps[task], -size) for task, size in zip(sums, sizes, strict=True)]
    held = np.cumsum([size for _, size in sorted(moves)])
    assert held.max() <= CHIP.core(0).scratchpad.capacity_bytes // 16
    assert held.max() > 2 * max(sizes)  # and are three at a time


def test_latents_of_the_next_layer_load_when_those_before_are_done_with():
    """MLA, expanded: 40,000 rows of 576 fill the buffer, so that two layers' do not fit."""
    small = {"num_hidden_layers": 3, "first_k_dense_replace": 3, "vocab_size": 1024}
    graph = build(load_model("deepseek-v3", small), (Slice(64, 40_000),), "expanded")
    program = lower(graph, CHIP, Parallel(tp=16, partition="megatron"), "ring", Dtypes())
    names = np.array([op.name for op in program.ops])[program.op]
    own = program.core == program.core[0]
    first = np.flatnonzero(own & (names == "layer2.kv_up") & (program.kind == LOAD))[0]
    assert program.bytes[first] > CHIP.core(0).scratchpad.capacity_bytes // 16  # the context
    waits = deps(program, first)
    assert waits and all(names[task].startswith("layer1.") for task in waits)
