"""A few requests, served twice → errors of `iteration: memo` against `live`, in means of the run.

`live` runs every iteration and every move of KV on one machine, where they contend; `memo` gives
each what it takes alone on the idle chip, interpolated between simulated ones, and where instances
share a memory as much more as its bandwidth is divided.

Requests are dealt round robin: where the least loaded instance is chosen, a request that comes just
before or after an iteration's end may go elsewhere, and of ten requests that moves means by more
than times do (the mean TTFT of "two instances, tp 4, 28 layers" by -22.9 %, by -1.1 % so).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npusim.serve_trace import ServeRun
from npusim.serving.serve import serve
from npusim.spec.load import load_scenario, resolve
from npusim.units import PS_PER_S
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.suites import Progress

REFERENCE = "iteration live: every iteration and move of the same requests on one machine"
PRIVATE = "every instance has cores and memories of its own: buckets, and moves of KV on the NoC"
SHARED = (
    "instances contend for a memory or for the NoC to it; memo gives each an even part of the "
    "memory's bandwidth while others are busy"
)
GOAL = Goal("worst", 0.05)  # ours: no one has published such an error


@dataclass(frozen=True)
class Case:
    """The scenario `serve` on a chip, with few layers of a small model."""

    name: str
    serving: tuple[str, ...]
    hw: str = "npu_large_core"
    layers: int = 4
    requests: int = 4
    rate_per_s: float = 300.0
    output_tokens: int = 6

    @property
    def overrides(self) -> tuple[str, ...]:
        prompt = "{kind: uniform, min: 100, max: 900}"
        output = f"{{kind: fixed, tokens: {self.output_tokens}}}"
        arrivals = f"kind: poisson, rate_per_s: {self.rate_per_s}, requests: {self.requests}"
        return (
            f"model.num_hidden_layers={self.layers}",
            f"traffic={{{arrivals}, prompt: {prompt}, output: {output}}}",
            "serving.limits={max_requests: 16, max_tokens: 512}",
            "serving.routing=round_robin",
            *(f"serving.{key}" for key in self.serving),
        )


def _instances(*instances: str) -> str:
    return f"instances=[{', '.join(f'{{{one}}}' for one in instances)}]"


def _pd(tp: int, pp: int = 1) -> str:
    prefill = f"role: prefill, parallel: {{tp: {tp}, pp: {pp}}}"
    return _instances(prefill, f"role: decode, parallel: {{tp: {tp}}}")


FUSED = Case("two instances, tp 4", (_instances("count: 2, parallel: {tp: 4}"),))
STAGES = Case(
    "one instance, tp 1, pp 2, budgeted fusion",
    ("scheduler=budgeted_fusion", _instances("parallel: {tp: 1, pp: 2}")),
    layers=6, rate_per_s=100.0,
)  # fmt: skip
PD_WHOLE = Case("prefill tp 4, decode tp 4, KV whole", (_pd(4),))
PD_LAYER = Case("prefill tp 4, decode tp 4, KV by layer", (_pd(4), "transfer=layer"))
GROUP = Case(
    "npu_group_hbm, two instances of tp 2 at one memory",
    (_instances("count: 2, parallel: {tp: 2}"),), hw="npu_group_hbm",
)  # fmt: skip
EDGE = Case(
    "npu_edge_hbm, two instances of tp 4",
    (_instances("count: 2, parallel: {tp: 4}"),), hw="npu_edge_hbm",
)  # fmt: skip

PRIVATE_QUICK = (STAGES, PD_LAYER)
SHARED_QUICK = (GROUP,)


MORE: dict[str, Any] = {"requests": 10, "output_tokens": 10}


def _whole(case: Case, **changes: Any) -> Case:
    """The case with all layers of the model."""
    bigger: dict[str, Any] = {"layers": 28, "rate_per_s": case.rate_per_s / 6, **MORE, **changes}
    return replace(case, name=f"{case.name}, 28 layers", **bigger)


PRIVATE_FULL = (
    FUSED,
    PD_WHOLE,
    _whole(FUSED),
    _whole(
        replace(STAGES, name="one instance, tp 1, pp 7",
                serving=(_instances("parallel: {tp: 1, pp: 7}"),)),
        requests=8, rate_per_s=12.0,
    ),
    replace(PD_LAYER, name="prefill tp 4, pp 2, decode tp 4, KV by layer",
            serving=(_pd(4, 2), "transfer=layer")),
    replace(FUSED, name="two instances, tp 4, prefill first",
            serving=("scheduler=prefill_first", *FUSED.serving)),
    replace(FUSED, name="two instances, tp 4, KV in scratchpads as well",
            serving=("kv.sram_fraction=0.25", *FUSED.serving)),
)  # fmt: skip
SHARED_FULL = (EDGE,)


def families(full: bool, progress: Progress) -> list[Family]:
    """Two families: memories of their own, and shared ones."""
    private = PRIVATE_QUICK + (PRIVATE_FULL if full else ())
    shared = SHARED_QUICK + (SHARED_FULL if full else ())
    return [
        _family("memo against live", private, GOAL, PRIVATE, progress),
        _family("memo against live, shared memory", shared, None, SHARED, progress),
    ]


def _family(
    name: str, cases: tuple[Case, ...], goal: Goal | None, note: str, progress: Progress
) -> Family:
    rows: list[Comparison] = []
    for case in cases:
        progress(f"serving: {case.name}")
        rows += compare(case)
    return Family("serving", name, REFERENCE, tuple(rows), goal, note)


def compare(case: Case) -> list[Comparison]:
    """The means of memo beside those of live."""
    ours, theirs = (_means(_run(case, iteration)) for iteration in ("memo", "live"))
    return [Comparison(f"{case.name}: {key}", ours[key], theirs[key], "s") for key in ours]


def _run(case: Case, iteration: str) -> ServeRun:
    overrides = (*case.overrides, f"serving.iteration={iteration}")
    return serve(resolve(load_scenario("serve", overrides, hw=case.hw, model="qwen3-1.7b")))


def _means(run: ServeRun) -> dict[str, float]:
    requests = run.requests
    arrival_s, first_s, last_s = (
        requests[name] / PS_PER_S for name in ("arrival_ps", "first_token_ps", "finish_ps")
    )
    return {
        "mean TTFT": float(np.mean(first_s - arrival_s)),
        "mean TBT": float(np.mean((last_s - first_s) / (requests["output_tokens"] - 1))),
        "mean latency": float(np.mean(last_s - arrival_s)),
        "makespan": float(last_s.max()),
    }
