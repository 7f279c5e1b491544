"""A workload → its iterations in order, each a batch of requests or a micro-operation."""

from dataclasses import dataclass
from typing import Any

from npusim.errors import SpecError
from npusim.graph import batch as batches
from npusim.graph.batch import Batch, Slice
from npusim.spec.scenario import LlmWorkload, ServeWorkload


@dataclass(frozen=True)
class Step:
    """One iteration to come; `batch` is empty for a micro-operation."""

    label: str
    batch: Batch = ()

    @property
    def new_tokens(self) -> int:
        return batches.num_tokens(self.batch)

    @property
    def output_tokens(self) -> int:
        return batches.num_samples(self.batch)


def steps_of(workload: Any) -> list[Step]:
    """The iterations of a workload. The prefill of a generation puts out the first token, so
    `output_tokens` need one decode step less. Raises SpecError for a stream of requests."""
    if isinstance(workload, ServeWorkload):
        raise SpecError("is a stream of requests; npusim serve simulates it", "traffic")
    if not isinstance(workload, LlmWorkload):
        return [Step(workload.kind)]
    if workload.requests:
        return [Step(workload.phase, tuple(Slice(new, old) for new, old in workload.requests))]
    count, prompt = workload.batch, workload.prompt_tokens or 0
    if workload.phase == "decode":
        return [Step("decode", batches.decode(count, workload.context_tokens or 0))]
    if workload.phase == "prefill":
        return [Step("prefill", (Slice(prompt, workload.context_tokens or 0),) * count)]
    decodes = [
        Step(f"decode {i + 1}", batches.decode(count, prompt + i))
        for i in range((workload.output_tokens or 1) - 1)
    ]
    return [Step("prefill", batches.prefill(count, prompt)), *decodes]
