"""Serving part of a scenario: instances and their roles, KV memory, scheduler, routing, goals."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from npusim.spec.base import BandwidthGbS, Count, Name, NotNegative, Positive, Spec, at
from npusim.spec.memory import CoreList
from npusim.spec.parallel import Parallel

Role = Literal["both", "prefill", "decode"]
Ratio = Annotated[StrictFloat, Field(gt=1, le=1024)]
Fraction = Annotated[StrictFloat, Field(ge=0, le=1)]


class Slo(Spec):
    """What a request must meet to count as good: its time to first token, and the mean gap between
    its tokens. `--find-rate` wants `attain_fraction` of the requests to be good."""

    ttft_ms: Positive | None = None
    tbt_ms: Positive | None = None
    attain_fraction: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.9


class Limits(Spec):
    """Bounds of a batch, each for the schedulers that use it.

    `max_requests` in a batch and `max_tokens` (prompt and decode) in an iteration hold for all;
    `chunk_tokens`: most prompt tokens of a request in an iteration (chunked_prefill, slo: None =
    what max_tokens leaves; budgeted_fusion: the chunk, None = 128). Of budgeted_fusion: `budget`
    units an iteration, a decode costs 1, a chunk `chunk_cost`. Of static: `batch_size` requests,
    waiting for at most `wait_ms`. With pipeline stages, a batch holds a stage's share of
    `max_requests`.
    """

    max_requests: Count = 256
    max_tokens: Annotated[StrictInt, Field(ge=1, le=10_000_000)] = 2048
    chunk_tokens: Annotated[StrictInt, Field(ge=1, le=10_000_000)] | None = None
    budget: Count = 8
    chunk_cost: Count = 4
    batch_size: Count = 8
    wait_ms: NotNegative | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.chunk_tokens is not None and self.chunk_tokens > self.max_tokens:
            raise at(
                ("chunk_tokens",),
                f"must be at most max_tokens {self.max_tokens}, not {self.chunk_tokens}",
            )
        if "batch_size" in self.model_fields_set and self.batch_size > self.max_requests:
            raise at(
                ("batch_size",),
                f"must be at most max_requests {self.max_requests}, not {self.batch_size}",
            )
        return self


class Kv(Spec):
    """KV memory of an instance.

    `layout: paged` divides scratchpad room and memory into blocks of `block_tokens`;
    `sram_ring` is the multi-core NPU study's: blocks in the scratchpad, and in memory one buffer a
    request for `ring_tokens` (None: its own longest length, which no real server knows), in a
    ring. `sram_fraction` of every scratchpad is for KV blocks
    (None: what buffers and weights leave). `memory_fraction` of what weights leave in
    memory is for KV. `num_blocks` sets the blocks of an instance instead.
    `prefix_cache` keeps blocks of finished requests for later ones that begin alike (paged).
    When there is no room for a decode, the youngest request is preempted: `recompute` drops its KV,
    `swap` moves it out at `swap_gb_s`, into at most `swap_gib`. A request is admitted with room for
    its first `chunk`, its `prompt`, or up to its last `output`, so that nothing is ever preempted.
    `watermark_fraction` of the blocks stays free when a request is admitted.
    """

    layout: Literal["paged", "sram_ring"] = "paged"
    ring_tokens: Annotated[StrictInt, Field(ge=1, le=100_000_000)] | None = None
    block_tokens: Annotated[StrictInt, Field(ge=1, le=65536)] = 16
    sram_fraction: Fraction | None = None
    memory_fraction: Fraction = 0.9
    num_blocks: Annotated[StrictInt, Field(ge=1, le=1 << 40)] | None = None
    prefix_cache: StrictBool = False
    preemption: Literal["recompute", "swap"] = "recompute"
    swap_gb_s: Positive = 32.0
    swap_gib: Positive = 64.0
    reserve: Literal["chunk", "prompt", "output"] = "prompt"
    watermark_fraction: Fraction = 0.01

    @model_validator(mode="after")
    def _layout_can(self) -> Self:
        if self.layout != "sram_ring" and self.ring_tokens is not None:
            raise at(("ring_tokens",), f"is for layout sram_ring, not {self.layout}")
        if self.layout == "sram_ring" and self.prefix_cache:
            raise at(("prefix_cache",), "does not go with layout sram_ring, which shares nothing")
        if self.layout == "sram_ring" and self.preemption == "swap":
            raise at(("preemption",), "must be recompute with layout sram_ring, not 'swap'")
        return self


class Buckets(Spec):
    """Widths of the buckets of a batch's signature (`iteration: memo` and `analytic`): edges of
    neighbouring buckets differ by these ratios, and times in between are interpolated. `reuse`
    simulates equal layers once, as `npusim run --reuse`, when the times of two in a row, or the
    means of some, agree within `tolerance`."""

    tokens_ratio: Ratio = 2.0
    context_ratio: Ratio = 4.0
    decodes_ratio: Ratio = 2.0
    reuse: StrictBool = True
    tolerance: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.05


class KvLink(Spec):
    """What KV crosses between chips: `gb_s` of a chip's links together, `latency_us` a move."""

    gb_s: BandwidthGbS
    latency_us: NotNegative = 0.0


class Instance(Spec):
    """`count` equal instances of the model. Each has `parallel` (default: the scenario's) on
    `cores` (default: tp x pp cores that `serving.placement` gives it; a list is for a count of 1)
    of `chip`, or of its `core_group` only (default: the group that is called as the role, if any).
    On chips that run kernels each has tp x pp chips of its own, whatever `chip` says.
    `both` prefills and decodes; a `prefill` instance hands its requests over to a `decode` one.
    What is not given is as in `serving`."""

    role: Role = "both"
    count: Count = 1
    cores: CoreList | None = None
    core_group: Name | None = None
    chip: Annotated[StrictInt, Field(ge=0, le=65535)] = 0
    parallel: Parallel | None = None
    placement: str | None = None
    scheduler: str | None = None
    limits: Limits | None = None
    kv: Kv | None = None

    @model_validator(mode="after")
    def _cores_are_of_one(self) -> Self:
        if self.cores is not None and self.count > 1:
            raise at(("cores",), f"is for one instance, count is {self.count}; list them apart")
        if self.parallel is not None and self.parallel.dp > 1:
            raise at(("parallel", "dp"), "must be 1; replicas are instances: raise count")
        return self


class Serving(Spec):
    """How requests are served.

    `iteration`: what an iteration takes: `live` runs all of them on one machine, `memo` simulates
    each bucket of batches once alone, `analytic` the same at the roofline / alpha-beta level,
    `table` reads `table`, a folder of measured kernels. `host_us` is added to every iteration for
    the host that drives the chip. `placement` deals cores to instances: `pp_first` prefill at both
    sides and decode in the middle, `dp_first` decode beside the prefill that feeds it, `in_order`
    as listed. `transfer`: KV goes `whole` after a prompt, or by `layer` beside it; between chips
    over `kv_link` (default: the chip's `chips`). `routing` picks the instance of a request.
    `too_long`: what becomes of requests that no instance can ever hold.
    """

    iteration: Literal["live", "memo", "table", "analytic"] = "memo"
    buckets: Buckets = Buckets()
    table: str | None = None
    host_us: NotNegative = 0.0
    scheduler: str = "chunked_prefill"  # a row of serving.schedulers.SCHEDULERS
    limits: Limits = Limits()
    kv: Kv = Kv()
    instances: Annotated[tuple[Instance, ...], Field(min_length=1)] = (Instance(),)
    placement: Literal["pp_first", "dp_first", "in_order"] = "pp_first"
    routing: str = "round_robin"  # a row of serving.routing.ROUTERS
    transfer: Literal["whole", "layer"] = "whole"
    kv_link: KvLink | None = None
    too_long: Literal["reject", "error"] = "reject"
    slo: Slo = Slo()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.table is not None) != (self.iteration == "table"):
            verb = "is missing; needed by" if self.iteration == "table" else "does not go with"
            raise at(("table",), f"{verb} iteration {self.iteration}")
        roles = {instance.role for instance in self.instances}
        if ("prefill" in roles) != ("decode" in roles):
            missing = ({"prefill", "decode"} - roles).pop()
            raise at(("instances",), f"have no role {missing}; prefill and decode need each other")
        return self
