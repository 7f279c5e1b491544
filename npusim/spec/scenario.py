"""Scenario YAML → `Scenario`: which chip, which model, which workload, mapped how."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from npusim.spec.base import DTYPE_BITS, CoreRef, Dtype, Spec, at
from npusim.spec.parallel import Parallel
from npusim.spec.serving import Serving
from npusim.spec.traffic import Traffic

Tokens = Annotated[StrictInt, Field(ge=1, le=100_000_000)]
Bytes = Annotated[StrictInt, Field(ge=1, le=1 << 44)]
# Every packet is simulated: more than 16 GiB is a slip of the unit that would run for minutes.
MessageBytes = Annotated[StrictInt, Field(ge=1, le=1 << 34)]
Dim = Annotated[StrictInt, Field(ge=1, le=1 << 24)]


class Dtypes(Spec):
    """Data type of each class of elements; accumulation is in 32 bit on chip."""

    weights: Dtype = "bf16"
    activations: Dtype = "bf16"
    kv: Dtype = "bf16"


def dtype_bytes(dtype: str, elements: int) -> int:
    """Bytes of `elements` of a type, rounded up."""
    return -(-elements * DTYPE_BITS[dtype] // 8)


# phase → the lengths that it needs, and those that it may have
PHASE_LENGTHS = {
    "prefill": (["prompt_tokens"], ["context_tokens"]),
    "decode": (["context_tokens"], []),
    "generate": (["prompt_tokens", "output_tokens"], []),
}


class LlmWorkload(Spec):
    """One iteration (`prefill`, `decode`) or a whole generation of a batch of equal requests;
    `context_tokens` with `prefill` makes it a chunk that follows that much context.
    `requests` instead lists different ones as [new_tokens, context_tokens] pairs."""

    kind: Literal["llm"] = "llm"
    phase: Literal["prefill", "decode", "generate"] = "prefill"
    batch: Annotated[StrictInt, Field(ge=1, le=65536)] = 1
    prompt_tokens: Tokens | None = None
    context_tokens: Annotated[StrictInt, Field(ge=0, le=100_000_000)] | None = None
    output_tokens: Tokens | None = None
    requests: tuple[tuple[Tokens, Annotated[StrictInt, Field(ge=0, le=100_000_000)]], ...] = ()

    @model_validator(mode="after")
    def _phase_has_its_lengths(self) -> Self:
        needed, optional = PHASE_LENGTHS[self.phase]
        allowed = needed + optional
        for name in ("prompt_tokens", "context_tokens", "output_tokens"):
            given = getattr(self, name) is not None
            if given and (self.requests or name not in allowed):
                other = "requests" if self.requests else f"phase {self.phase}"
                raise at((name,), f"does not go with {other}; leave it out, or null")
            if name in needed and not given and not self.requests:
                raise at((name,), f"is missing; phase {self.phase} needs it")
        return self

    @model_validator(mode="after")
    def _requests_stand_alone(self) -> Self:
        if self.requests and self.phase == "generate":
            raise at(
                ("requests",),
                "lists one iteration; phase generate takes prompt_tokens and output_tokens",
            )
        if self.requests and self.batch != 1:
            raise at(("batch",), "does not go with requests, which are counted one by one")
        if self.requests and self.phase == "decode":
            for index, (new_tokens, _) in enumerate(self.requests):
                if new_tokens != 1:
                    raise at(("requests", index), f"must add 1 token in decode, not {new_tokens}")
        return self


class GemmWorkload(Spec):
    """[m, k] @ [k, n], weights in memory, partitioned over the cores like any matmul."""

    kind: Literal["gemm"]
    m: Dim
    k: Dim
    n: Dim


class TransferWorkload(Spec):
    """One message from core to core."""

    kind: Literal["transfer"]
    src: CoreRef
    dst: CoreRef
    bytes: MessageBytes


class CollectiveWorkload(Spec):
    """A collective over `cores` (default all, in placement order). `bytes`: the full vector
    each core holds (all_reduce, reduce_scatter, broadcast) or ends with (all_gather); all_to_all:
    what each core sends in all."""

    kind: Literal["collective"]
    op: Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"]
    bytes: MessageBytes
    algorithm: Literal["auto", "ring", "ring_phased", "tree", "mesh2d"] = "auto"
    cores: tuple[CoreRef, ...] | None = None


class MemoryWorkload(Spec):
    """Traffic of one core (or of `cores`) to its memory: `request_bytes` transfers over a
    `span_bytes` region."""

    kind: Literal["memory"]
    pattern: Literal["sequential", "random", "strided"] = "sequential"
    bytes: Bytes
    core: CoreRef = 0
    cores: tuple[CoreRef, ...] | None = None
    memory: str | None = None
    read_fraction: Annotated[StrictFloat, Field(ge=0, le=1)] = 1.0
    request_bytes: Annotated[StrictInt, Field(ge=32, le=1 << 30)] = 4096
    stride_bytes: Annotated[StrictInt, Field(ge=1, le=1 << 40)] = 65536
    span_bytes: Bytes | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cores is not None and "core" in self.model_fields_set:
            raise at(("core",), "does not go with cores; give one of the two")
        if self.span_bytes is not None and self.span_bytes < self.request_bytes:
            raise at(
                ("span_bytes",),
                f"must be at least request_bytes {self.request_bytes}, not {self.span_bytes}",
            )
        return self


class ServeWorkload(Spec):
    """A stream of requests: `traffic` and `serving` of the scenario say which and how."""

    kind: Literal["serve"] = "serve"


Workload = Annotated[
    LlmWorkload
    | ServeWorkload
    | GemmWorkload
    | TransferWorkload
    | CollectiveWorkload
    | MemoryWorkload,
    Field(discriminator="kind"),
]


class Fidelity(Spec):
    """Level of each subsystem: every transaction, or the roofline / alpha-beta answer."""

    memory: Literal["transaction", "analytic"] = "transaction"
    noc: Literal["transaction", "analytic"] = "transaction"

    @property
    def coarse(self) -> "Fidelity":
        """What every transaction is compared with: these levels, or analytic ones if none is."""
        default = Fidelity(memory="analytic", noc="analytic")
        return default if self == Fidelity() else self


class Scenario(Spec):
    """One run: what `npusim run` reads, or `npusim serve` when it has `traffic` instead of a
    `workload`; `serving` then says how requests are served. `hw_overrides` and `model_overrides`
    replace keys of the chip's file and of the HF config: `{noc.clock_mhz: 1000}` or nested."""

    hw: str = "npu_large_core"
    model: str | None = None
    hw_overrides: dict[str, object] = {}
    model_overrides: dict[str, object] = {}
    dtype: Dtypes = Dtypes()
    workload: Workload
    traffic: Traffic | None = None
    serving: Serving = Serving()
    parallel: Parallel = Parallel()
    placement: str = "auto"  # a row of passes.place.PLACEMENTS
    fidelity: Fidelity = Fidelity()
    engine: Literal["fast", "simpy"] = "fast"
    reuse: StrictBool = False
    seed: Annotated[StrictInt, Field(ge=0, le=2**63 - 1)] = 0

    @model_validator(mode="before")
    @classmethod
    def _traffic_is_served(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("traffic") is not None and "workload" not in data:
            return {**data, "workload": {"kind": "serve"}}
        return data

    @model_validator(mode="after")
    def _serving_needs_traffic(self) -> Self:
        serves = self.workload.kind == "serve"
        if serves and self.traffic is None:
            raise at(("traffic",), "is missing; workload kind serve needs it")
        if not serves and self.traffic is not None:
            raise at(("traffic",), f"does not go with workload kind {self.workload.kind}")
        return self

    @model_validator(mode="after")
    def _llm_needs_model(self) -> Self:
        needed = self.workload.kind in ("llm", "serve") and self.serving.iteration != "table"
        if needed and self.model is None:
            raise at(("model",), f"is missing; workload kind {self.workload.kind} needs it")
        return self
