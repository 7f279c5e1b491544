"""A model on its chips → time of an iteration, simulated at some batches and contexts.

The grid is too large for every transaction: memory and NoC are `analytic` here, and of equal layers
one and two are simulated. By the `levels` suite and `--fidelity both`, every transaction takes 2 to
6 % longer in decode and 4 to 10 % in prefill on chips of the GPU kind: what a user sees by default.

Assumes that a decode step's time is linear in its context between powers of four, and in its batch
between powers of two; that a prefill's is linear in the number of equal prompts, once they are some
thousand tokens, and proportional to it where one alone is; that every layer behind the first takes
what the second adds; and that with `pp` stages a batch goes in as many equal parts, which follow
one another without gaps.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from npusim.cost.interconnect import link_collective_ps
from npusim.errors import CapacityError
from npusim.graph.params import kv_bytes_per_token, parameter_count
from npusim.simulate import simulate
from npusim.spec.load import Setup, load_scenario, resolve
from npusim.spec.model import Model
from npusim.spec.scenario import LlmWorkload, dtype_bytes
from npusim.units import GIB, PS_PER_S, ceil_div
from npusim.validate.measured.rows import Served

BASE = "decode"  # the bundled scenario whose keys are replaced
SIMULATED_LAYERS = (1, 2)
LEAST_CONTEXT = 64
MAX_PREFILL_TOKENS = 4096  # of several prompts together; more are extrapolated
MAX_DECODES = 512  # as well


def llm_workload(phase: str, batch: int, tokens: int) -> LlmWorkload:
    """`batch` equal requests: prompts of `tokens`, or a decode step behind so many."""
    length = "context_tokens" if phase == "decode" else "prompt_tokens"
    return LlmWorkload.model_validate({"phase": phase, "batch": batch, length: tokens})


@dataclass
class StepTimes:
    """Iteration times of one Served, kept as they are simulated. `overrides` are `--set` texts."""

    served: Served
    overrides: tuple[str, ...] = ()
    _setup: Setup | None = None
    _known: dict[tuple, float] = field(default_factory=dict)

    @property
    def setup(self) -> Setup:
        """The resolved scenario, but for its workload."""
        if self._setup is None:
            self._setup = self._resolved()
        return self._setup

    @property
    def model(self) -> Model:
        assert self.setup.model is not None
        return self.setup.model

    def _resolved(self) -> Setup:
        served = self.served
        weights, activations, kv = served.dtypes
        keys = [
            f"dtype={{weights: {weights}, activations: {activations}, kv: {kv}}}",
            f"parallel={{tp: {served.tp}, ep: {served.ep}}}",
            "fidelity={memory: analytic, noc: analytic}",
            *served.overrides,
            *self.overrides,
        ]
        return resolve(load_scenario(BASE, keys, hw=served.chip, model=served.model))

    def _simulated_s(self, phase: str, batch: int, tokens: int) -> float:
        key = (phase, batch, tokens)
        if key not in self._known:
            self._known[key] = self._all_layers_s(llm_workload(phase, batch, tokens))
        return self._known[key]

    def _all_layers_s(self, workload: LlmWorkload) -> float:
        """On a chip with kernels layers follow one another, and nothing stays in its cores."""
        num_layers = self.model.num_layers
        if self.setup.hardware.kernels is None:
            return self._some_layers_s(workload, num_layers, reuse=True)
        one, two = (self._some_layers_s(workload, n) for n in SIMULATED_LAYERS)
        return one + (num_layers - 1) * (two - one)

    def _some_layers_s(self, workload: LlmWorkload, layers: int, reuse: bool = False) -> float:
        changed = {"num_layers": layers, "windows": self.model.windows[:layers]}
        scenario = self.setup.scenario.model_copy(update={"workload": workload, "reuse": reuse})
        model = self.model.model_copy(update=changed)
        done = simulate(replace(self.setup, scenario=scenario, model=model))
        return done.makespan_ps / PS_PER_S

    def _hand_overs_s(self, tokens: int) -> float:
        """Messages from stage to stage."""
        if self.served.pp == 1:
            return 0.0
        chips = self.setup.hardware.chips
        assert chips
        size = dtype_bytes(self.served.dtypes[1], tokens * self.model.hidden_size)
        one_ps = link_collective_ps("point_to_point", size, 2, chips)
        return (self.served.pp - 1) * one_ps / PS_PER_S

    def prefill_s(self, prompts: int, tokens: int) -> float:
        """Time of an iteration that prefills `prompts` prompts of `tokens` tokens; with stages,
        time in which they leave one after another's, as many parts as stages being under way."""
        if self.served.pp > 1:
            part = ceil_div(prompts, self.served.pp)
            share = prompts / (part * self.served.pp)
            return share * self._prefill_s(part, tokens) + self._hand_overs_s(part * tokens)
        return self._prefill_s(prompts, tokens)

    def _prefill_s(self, prompts: int, tokens: int) -> float:
        if tokens > MAX_PREFILL_TOKENS:
            return prompts * self._simulated_s("prefill", 1, tokens)
        most = 1 << max(1, (MAX_PREFILL_TOKENS // tokens).bit_length() - 1)
        low = min(1 << (prompts.bit_length() - 1), most // 2)
        at_low = self._simulated_s("prefill", low, tokens)
        if prompts == low:
            return at_low
        slope = (self._simulated_s("prefill", 2 * low, tokens) - at_low) / low
        return at_low + (prompts - low) * slope

    def first_token_s(self, prompts: int, tokens: int) -> float:
        """From a batch's start to its first tokens on an idle machine."""
        return self._prefill_s(prompts, tokens) + self._hand_overs_s(prompts * tokens)

    def decode_s(self, batch: int, context: float) -> float:
        """Time in which each of `batch` requests with `context` tokens gets its next token."""
        if self.served.pp > 1:
            part = ceil_div(batch, self.served.pp)
            return self._decode_s(part, context) + self._hand_overs_s(part)
        return self._decode_s(batch, context)

    def _decode_s(self, batch: int, context: float) -> float:
        low = min(1 << (batch.bit_length() - 1), MAX_DECODES // 2)
        if low == batch:
            return self._at_batch(low, context)
        share = (batch - low) / low
        return (1 - share) * self._at_batch(low, context) + share * self._at_batch(2 * low, context)

    def _at_batch(self, batch: int, context: float) -> float:
        low = LEAST_CONTEXT
        while 4 * low <= context:
            low *= 4
        share = (context - low) / (3 * low)
        first = (1 - share) * self._simulated_s("decode", batch, low) if share != 1 else 0.0
        return first + (share * self._simulated_s("decode", batch, 4 * low) if share else 0.0)

    def decodes_s(self, batch: int, first_context: int, count: int) -> float:
        """`count` decode steps in a row, the context growing by one each: midpoints of a few
        pieces, which is exact where the time is linear."""
        edges = np.linspace(0, count, min(count, 8) + 1)
        times = [
            (last - first) * self.decode_s(batch, first_context + (first + last - 1) / 2)
            for first, last in pairwise(edges)
        ]
        return float(sum(times))

    def kv_tokens(self, memory_fraction: float) -> int:
        """Tokens of KV that `memory_fraction` of what weights leave free holds, over all chips.
        Raises CapacityError when the weights alone do not fit."""
        chips = self.served.tp * self.served.pp
        hardware = self.setup.hardware
        memory = max(i.memory.capacity_bytes for i in hardware.memory_instances())
        if hardware.kernels:
            memory -= int(hardware.kernels.reserved_gib * GIB)
        weights, _, kv = self.served.dtypes
        free = chips * memory - dtype_bytes(weights, parameter_count(self.model))
        if free <= 0:
            raise CapacityError(f"weights of {self.model.name} exceed {chips} x {memory} bytes")
        return int(memory_fraction * free / kv_bytes_per_token(self.model, kv))
