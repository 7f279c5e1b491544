"""An instance on its cores → a Memo of iterations that are simulated alone on the idle chip.

Where instances share a memory, a second memo has the times with an even part of its bandwidth
each; `execution.py` takes as much of either as neighbours are busy. Assumes that nothing else of
other instances slows an iteration down.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf, log2

import numpy as np

from npusim.graph.batch import Batch
from npusim.serving.iteration.memo import Memo, Times
from npusim.serving.neighbours import ALONE, Neighbours
from npusim.serving.settle import Settled
from npusim.simulate import simulate_batch
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Fidelity
from npusim.trace import Iteration

ROOM_STEPS = 32  # in which a doubling of the room for KV is counted
LEVELS = 4  # in which the share of KV in the scratchpads is counted


def memo_of(settled: Settled, fidelity: Fidelity | None = None, around: Neighbours = ALONE) -> Memo:
    """The memo of an instance and all that are like it; `fidelity` replaces the scenario's.
    `around`: who has a part of its memories' bandwidth."""
    setup = replace(settled.setup, hardware=with_parts(settled.setup.hardware, around))
    buckets = setup.scenario.serving.buckets
    update: dict[str, object] = {"reuse": buckets.reuse}
    if fidelity is not None:
        update["fidelity"] = fidelity
    setup = replace(setup, scenario=setup.scenario.model_copy(update=update))

    def simulate(batch: Batch, level: int) -> Times:
        share = replace(settled.share, kv_resident_fraction=level / LEVELS)
        return stage_times(simulate_batch(setup, batch, share, buckets.tolerance), settled)

    def kv_tokens_at(level: int) -> float:
        """What is not in the scratchpads has to fit the memory."""
        in_memory = 1 - level / LEVELS
        return min(settled.kv_tokens, settled.memory_tokens / in_memory if in_memory else inf)

    limits = settled.limits
    return Memo(
        simulate, buckets, limits.max_tokens, limits.max_requests, settled.kv_tokens, kv_tokens_at
    )  # fmt: skip


def with_parts(hardware: Hardware, around: Neighbours) -> Hardware:
    """The chip with an even part of the data rate of memories that instances share."""
    if not around.others:
        return hardware
    shared = {
        instance.memory.name
        for instance in hardware.memory_instances()
        if instance.memory_id in around.memory_ids
    }
    memories = []
    for memory in hardware.memories:
        if memory.name in shared:
            gb_s = memory.timing.channel_gb_s / (1 + len(around.others))
            timing = memory.timing.model_copy(update={"channel_gb_s": gb_s})
            memory = memory.model_copy(update={"timing": timing})
        memories.append(memory)
    return hardware.model_copy(update={"memories": tuple(memories)})


def stage_times(iteration: Iteration, settled: Settled) -> Times:
    """Ps of each pipeline stage: from the end of the stage before it to its own last task's end,
    and what layers of its own that were reused add.

    Assumes that a reused layer takes alike in all stages, and equal stages on chips that run
    kernels.
    """
    makespan_ps, num_stages = iteration.makespan_ps, settled.row.pp
    found = settled.footprint
    if num_stages == 1 or found is None or len(found.groups) < num_stages:
        return (makespan_ps / num_stages,) * num_stages
    trace = iteration.trace
    owns = [np.isin(trace.program.core, cores) for cores in found.groups]
    ends = [0]
    for own in owns:
        ends.append(max(ends[-1], int(trace.end_ps[own].max(initial=0))))
    alone = [b - a for a, b in pairwise(ends)]
    removed = _removed_layers(iteration, settled, owns)
    layer_ps = (makespan_ps - ends[-1]) / max(1, sum(removed))
    return tuple(ps + layer_ps * num for ps, num in zip(alone, removed, strict=True))


def _removed_layers(
    iteration: Iteration, settled: Settled, owns: Sequence[np.ndarray]
) -> list[int]:
    """Layers of each stage that are not in the trace; the first one of a stage always is."""
    model, program = settled.setup.model, iteration.trace.program
    if not iteration.reuse or model is None:
        return [0] * len(owns)
    layer_of_op = np.array([op.layer for op in program.ops], np.int64)
    layers = [np.unique(layer_of_op[program.op[own]]) for own in owns]
    kept = [own[own >= 0] for own in layers]
    begin, removed = model.num_layers, []
    for own in reversed(kept):
        first = int(own[0]) if len(own) else begin
        removed.append(begin - first - len(own))
        begin = first
    return removed[::-1]


def shape_of(settled: Settled) -> tuple:
    """Equal for instances whose iterations take the same time. Assumes that it does not matter
    where on the chip an instance lies, nor 2 % of its room for KV, as in a memory that several
    share."""
    hardware = settled.setup.hardware
    group = hardware.group_of_core()
    kinds = tuple(sorted(group[core] for core in settled.row.cores))
    scenario = settled.setup.scenario
    share = settled.share
    return (
        kinds, scenario.parallel, scenario.placement, settled.limits,
        share.buffers_bytes, share.kv_room_bytes, round(ROOM_STEPS * log2(settled.kv_tokens)),
    )  # fmt: skip
