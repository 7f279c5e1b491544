"""A model on its chips → time of an iteration, simulated at some batches and contexts.

A decode step's time is nearly linear in its context, and between neighbouring powers of two in its
batch: those are simulated (with equal layers reused), what lies between is interpolated. Prefill
is simulated at the length asked for, and is linear in the number of equal prompts.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from npusim.graph.params import kv_bytes_per_token, parameter_count
from npusim.simulate import simulate
from npusim.spec.load import Setup, load_scenario, resolve
from npusim.spec.scenario import dtype_bytes
from npusim.units import PS_PER_S
from npusim.validate.measured.rows import Served

BASE = "decode"  # the bundled scenario whose keys are replaced
MAX_PROMPTS = 8  # simulated in one prefill; more are extrapolated


@dataclass
class StepTimes:
    """Iteration times of one Served, kept as they are simulated. `overrides` are `--set` texts."""

    served: Served
    overrides: tuple[str, ...] = ()
    _known: dict[tuple, float] = field(default_factory=dict)

    def setup(self, workload: str) -> Setup:
        """The resolved scenario of one iteration."""
        served = self.served
        weights, activations, kv = served.dtypes
        keys = [
            f"workload={workload}",
            f"dtype={{weights: {weights}, activations: {activations}, kv: {kv}}}",
            f"parallel={{tp: {served.tp}, pp: {served.pp}, ep: {served.ep}}}",
            "reuse=true",
            *self.overrides,
        ]
        return resolve(load_scenario(BASE, keys, hw=served.chip, model=served.model))

    def _simulated_s(self, workload: str) -> float:
        if workload not in self._known:
            done = simulate(self.setup(workload))
            self._known[workload] = done.makespan_ps / PS_PER_S
        return self._known[workload]

    def prefill_s(self, prompts: int, tokens: int) -> float:
        """Time of one iteration that prefills `prompts` prompts of `tokens` tokens."""

        def simulated(count: int) -> float:
            form = f"{{phase: prefill, batch: {count}, prompt_tokens: {tokens}}}"
            return self._simulated_s(form)

        if prompts <= 2:
            return simulated(prompts)
        most = min(prompts, MAX_PROMPTS)
        slope = (simulated(most) - simulated(2)) / (most - 2) if most > 2 else 0.0
        return simulated(most) + (prompts - most) * slope

    def decode_s(self, batch: int, context: float) -> float:
        """Time of a decode step of `batch` requests with `context` tokens each."""
        low = 1 << (batch.bit_length() - 1)
        if low == batch:
            return self._at_batch(low, context)
        share = (batch - low) / low
        return (1 - share) * self._at_batch(low, context) + share * self._at_batch(2 * low, context)

    def _at_batch(self, batch: int, context: float) -> float:
        """Linear between powers of two of the context."""
        low = 1 << max(6, int(context).bit_length() - 1)

        def simulated(tokens: int) -> float:
            return self._simulated_s(f"{{phase: decode, batch: {batch}, context_tokens: {tokens}}}")

        share = (context - low) / low
        return (1 - share) * simulated(low) + share * simulated(2 * low)

    def decodes_s(self, batch: int, first_context: int, count: int) -> float:
        """`count` decode steps in a row, the context growing by one each: midpoints of a few
        pieces, which is exact where the time is linear."""
        pieces = min(count, 8)
        edges = np.linspace(0, count, pieces + 1)
        times = [
            (last - first) * self.decode_s(batch, first_context + (first + last - 1) / 2)
            for first, last in pairwise(edges)
        ]
        return float(sum(times))

    def kv_tokens(self, memory_fraction: float) -> int:
        """Tokens of KV that `memory_fraction` of what weights leave free holds, over all chips."""
        setup = self.setup("{phase: decode, batch: 1, context_tokens: 1}")
        assert setup.model is not None
        chips = self.served.tp * self.served.pp * self.served.ep
        memory = max(i.memory.capacity_bytes for i in setup.hardware.memory_instances())
        weights, _, kv = self.served.dtypes
        free = chips * memory - dtype_bytes(weights, parameter_count(setup.model))
        return int(memory_fraction * free / kv_bytes_per_token(setup.model, kv))
