"""An instance on its cores → a Memo of iterations that are simulated alone on the idle chip."""

from dataclasses import replace
from itertools import pairwise
from math import inf, log2

import numpy as np

from npusim.graph.batch import Batch
from npusim.serving.iteration.memo import Memo, Times
from npusim.serving.settle import Settled
from npusim.simulate import simulate_batch
from npusim.spec.scenario import Fidelity
from npusim.trace import Iteration

ROOM_STEPS = 32  # in which a doubling of the room for KV is counted
LEVELS = 4  # in which the share of KV in the scratchpads is counted


def memo_of(settled: Settled, fidelity: Fidelity | None = None) -> Memo:
    """The memo of an instance and all that are like it; `fidelity` replaces the scenario's."""
    setup = settled.setup
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


def stage_times(iteration: Iteration, settled: Settled) -> Times:
    """Ps of each pipeline stage: from the end of the stage before it to its own last task's end;
    where layers were reused, stages have shares of the whole in proportion to that.

    Assumes equal stages on chips that run kernels.
    """
    makespan_ps, num_stages = iteration.makespan_ps, settled.row.pp
    found = settled.footprint
    if num_stages == 1 or found is None or len(found.groups) < num_stages:
        return (makespan_ps / num_stages,) * num_stages
    trace = iteration.trace
    ends = [0]
    for cores in found.groups:
        own = np.isin(trace.program.core, cores)
        ends.append(max(ends[-1], int(trace.end_ps[own].max(initial=0))))
    return tuple((b - a) * makespan_ps / ends[-1] for a, b in pairwise(ends))


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
