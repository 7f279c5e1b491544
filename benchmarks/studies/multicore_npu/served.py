"""A serving experiment of the study → figures of the run: requests all at t = 0, INT8, 8x8 cores.

Source: sections 7 to 9 of arXiv 2510.05632v1 and the configuration files of the authors' simulator
(IPADS-SAI/WaferAI-SIM, Dec 2025): pipelines of 7 cores at TP 1, one prompt a prefill iteration, up
to 5 requests a decode batch. As the study's, these runs have no embedding and no LM head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from show import published
from study import CHANNEL_GB_S, INT8

from npusim.report.serve.metrics import serve_metrics
from npusim.serve_trace import ServeRun
from npusim.serving.iteration.times import Timings
from npusim.serving.moves import TimedMoves
from npusim.serving.serve import Server
from npusim.serving.settle import settle
from npusim.serving.traffic.generate import requests_of
from npusim.spec.load import load_scenario, resolve
from npusim.units import PS_PER_MS, PS_PER_S

STAGES = 7  # config: cores of a pipeline
DECODES_A_CORE = 5  # config: largest decode batch of a core
REQUESTS = 100  # config: 100 to 300
WORKLOADS = {"TriviaQA": (1780, 5), "GSM8K": (296, 333), "chat": (54, 377)}  # tokens in, out
MODELS = {
    "4B": "Qwen3-4B's layers",
    "small": "the model of the study's files: hidden 1280, 5 KV heads, FFN 5000, no gate",
}
SMALL = {
    "architectures": "[GPTNeoXForCausalLM]",
    "use_parallel_residual": "false",
    "hidden_act": "gelu",
    "rotary_pct": 0.02,  # of 64 dimensions: none
    "hidden_size": 1280,
    "num_attention_heads": 20,
    "num_key_value_heads": 5,
    "head_dim": 64,
    "intermediate_size": 5000,
}  # 36 layers as Qwen3-4B, for the files are labelled so


@dataclass(frozen=True)
class Found:
    """Means over requests (`tbt_ms`: over all gaps), `tokens_s` out by makespan, `per_latency_s`
    the same tokens by mean latency; `handover_s`: first token to KV moved, of which `move_s` is on
    the way."""

    latency_s: float
    ttft_s: float
    tbt_ms: float
    tokens_s: float
    per_latency_s: float
    handover_s: float
    move_s: float
    makespan_s: float


def decode_cores(array: int, hbm_gb_s: int) -> list[str]:
    """Overrides that give `npu_hetero_pd` these decode cores (42 on); its prefill cores (0 to 41)
    are 64x64 at 60 GB/s. Vector lanes, special functions and scratchpad width grow with arrays."""
    core, memory = "hw.core_groups.decode.core", "hw.memories.hbm_decode"
    return [
        f"{core}.arrays.rows={array}",
        f"{core}.arrays.columns={array}",
        f"{core}.vector.lanes={array}",
        f"{core}.sfu.lanes={16 * array}",
        f"{core}.scratchpad.bank_bytes_per_cycle={array // 2}",
        f"{memory}.channels={hbm_gb_s // CHANNEL_GB_S}",
    ]


def model(name: str) -> list[str]:
    """Overrides of bundled `qwen3-4b`."""
    sizes = {"vocab_size": 16} | (SMALL if name == "small" else {})
    return [f"model.{key}={value}" for key, value in sizes.items()]


def traffic(prompt: int, output: int, requests: int = REQUESTS) -> list[str]:
    """All requests at t = 0 and of one length."""
    lengths = {"prompt": prompt, "output": output}
    given = ", ".join(f"{k}: {{kind: fixed, tokens: {n}}}" for k, n in lengths.items())
    return ["workload={kind: serve}", f"traffic={{kind: burst, requests: {requests}, {given}}}"]


def pipelines(pp: int = STAGES, tp: int = 1) -> list[str]:
    """Mapping of every instance."""
    return [f"parallel={{tp: {tp}, pp: {pp}}}", "placement=auto", *INT8]


def split(
    prefill: int, decode: int, prompt: int, groups: bool = False, decodes: int = DECODES_A_CORE
) -> list[str]:
    """Disaggregation: so many pipelines that prefill and that decode, the latter up to `decodes`
    requests a core; with `groups` on the core groups of these names, in order."""
    names = ("prefill", "decode")
    place = [f"core_group: {name}, " if groups else "" for name in names]
    prompts = f"max_tokens: {max(16, prompt)}, max_requests: {4 * STAGES}"
    instances = [
        f"{{role: prefill, count: {prefill}, {place[0]}scheduler: prefill_first, "
        f"limits: {{{prompts}}}}}",
        f"{{role: decode, count: {decode}, {place[1]}scheduler: decode_first, "
        f"limits: {{max_requests: {STAGES * decodes}}}}}",
    ]
    policy = "in_order" if groups else "pp_first"
    return [f"serving.instances=[{', '.join(instances)}]", f"serving.placement={policy}"]


def fusion(
    count: int, chunk: int, stages: int = STAGES, budget: int = 8, cost: int = 4
) -> list[str]:
    """Budgeted fusion on `count` pipelines: of `budget` units an iteration a decode costs 1, a
    chunk of a prompt `cost` (config: 5 or 8, 4 or 5)."""
    limits = {
        "max_requests": stages * budget,
        "max_tokens": max(16, budget + chunk * (budget // cost)),
        "chunk_tokens": chunk,
        "budget": budget,
        "chunk_cost": cost,
    }
    given = ", ".join(f"{key}: {value}" for key, value in limits.items())
    instance = f"role: both, count: {count}, scheduler: budgeted_fusion, limits: {{{given}}}"
    return [f"serving.instances=[{{{instance}}}]"]


class Bench:
    """Runs of a model (of MODELS, or a bundled one) on one chip; iterations that were simulated
    for one run serve the next."""

    def __init__(self, chip: Sequence[str], name: str, hw: str = "npu_large_core") -> None:
        self._model = "qwen3-4b" if name in MODELS else name
        own = model(name) if name in MODELS else ["model.vocab_size=16"]
        # All layers are simulated: 36 do not divide by 7, and the stage with a sixth sets the pace.
        self._base = [*chip, *own, "serving.buckets.reuse=false"]
        self._hw = hw
        self._timings: Timings | None = None

    def run(self, overrides: Sequence[str], kv_is_free: bool = False) -> Found:
        """`kv_is_free`: KV is at the decode instance as soon as that has room."""
        given = [*self._base, *overrides]
        setup = resolve(load_scenario(None, given, hw=self._hw, model=self._model))
        if self._timings is None or self._timings.kind != setup.scenario.serving.iteration:
            self._timings = Timings(setup)
        requests = requests_of(setup.scenario.traffic, setup.scenario.seed)
        server = Server(setup, settle(setup), requests, timings=self._timings)
        if kv_is_free:
            server.cluster.moves = TimedMoves(server.env, server.moves, lambda *_: 0, 1, False)
        return found(server.collect(server.run(), {}))


def found(run: ServeRun) -> Found:
    """Figures of a run that served all requests."""
    metrics = serve_metrics(run)
    counts = metrics["requests"]
    if counts["done"] < counts["count"]:
        raise ValueError(f"not all requests were served: {counts}")
    moves = [row["mean_ps"] for row in metrics["transfers"] if row["kind"] == "transfer"]
    return Found(
        latency_s=metrics["latency"]["mean_ps"] / PS_PER_S,
        ttft_s=metrics["ttft"]["mean_ps"] / PS_PER_S,
        tbt_ms=metrics["tbt"]["mean_ps"] / PS_PER_MS,
        tokens_s=metrics["output_tokens_s"],
        per_latency_s=metrics["output_tokens_per_mean_latency_s"],
        handover_s=metrics["where"]["handover_ps"] / PS_PER_S,
        move_s=sum(moves) / PS_PER_S,
        makespan_s=metrics["makespan_ps"] / PS_PER_S,
    )


def values(name: str, column: str, **keys: str) -> list[float]:
    """A column of published values, of the rows that have these keys."""
    rows = published(name)
    return [float(r[column]) for r in rows if all(r[k] == v for k, v in keys.items())]


def percent(ratio: float) -> str:
    """1.06 → +6 %."""
    return f"{100 * (ratio - 1):+.1f} %"
