"""Traffic part of a scenario: which requests arrive when, how long they are, what they share."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from npusim.spec.base import NotNegative, Positive, Spec, at

Length = Annotated[StrictInt, Field(ge=1, le=10_000_000)]
NumRequests = Annotated[StrictInt, Field(ge=1, le=10_000_000)]
Seconds = Annotated[StrictFloat, Field(ge=0, le=1e9)]
RatePerS = Annotated[StrictFloat, Field(gt=0, le=1e9)]


class FixedLength(Spec):
    """All requests have `tokens`."""

    kind: Literal["fixed"] = "fixed"
    tokens: Length


class UniformLength(Spec):
    """Every length of `min` to `max` is equally likely."""

    kind: Literal["uniform"]
    min: Length
    max: Length

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise at(("min",), f"must be at most max {self.max}, not {self.min}")
        return self


class LognormalLength(Spec):
    """Lengths whose logarithm is normal: `median` tokens, `sigma` of the logarithm; what lies
    outside `min` … `max` becomes the bound."""

    kind: Literal["lognormal"]
    median: Length
    sigma: Annotated[StrictFloat, Field(ge=0, le=10)]
    min: Length = 1
    max: Length = 131_072

    @model_validator(mode="after")
    def _median_is_within(self) -> Self:
        if self.min > self.max:
            raise at(("min",), f"must be at most max {self.max}, not {self.min}")
        if not self.min <= self.median <= self.max:
            raise at(("median",), f"must be of min {self.min} to max {self.max}, not {self.median}")
        return self


class TableLength(Spec):
    """Lengths of a table, drawn with `weights` (default: all alike)."""

    kind: Literal["table"]
    tokens: Annotated[tuple[Length, ...], Field(min_length=1)]
    weights: tuple[NotNegative, ...] = ()

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if self.weights and (len(self.weights) != len(self.tokens) or not sum(self.weights)):
            raise at(("weights",), f"must be {len(self.tokens)} numbers, one a length, not all 0")
        return self


Lengths = Annotated[
    FixedLength | UniformLength | LognormalLength | TableLength, Field(discriminator="kind")
]


class SharedPrefix(Spec):
    """`fraction` of the requests begin with one of `groups` common prefixes of `tokens`, which are
    part of their prompts; a shorter prompt is the beginning of the prefix."""

    groups: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 1
    tokens: Length
    fraction: Annotated[StrictFloat, Field(ge=0, le=1)] = 1.0


class SyntheticTraffic(Spec):
    """Drawn requests. `poisson`: exponential gaps; `gamma`: gaps with coefficient of variation
    `cv` (above 1 bursty); `constant`: equal gaps; `burst`: all at time 0. The mean gap is
    1 / `rate_per_s`, and the first request arrives at 0. `priorities`: as many classes, dealt in
    turn; 0 is the most urgent."""

    kind: Literal["poisson", "gamma", "constant", "burst"]
    requests: NumRequests
    rate_per_s: RatePerS | None = None
    cv: Annotated[StrictFloat, Field(ge=0.001, le=100)] | None = None
    prompt: Lengths
    output: Lengths
    prefix: SharedPrefix | None = None
    priorities: Annotated[StrictInt, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _rate_goes_with_kind(self) -> Self:
        if (self.rate_per_s is None) != (self.kind == "burst"):
            verb = "does not go with" if self.kind == "burst" else "is missing; needed by"
            raise at(("rate_per_s",), f"{verb} kind {self.kind}")
        if (self.cv is not None) != (self.kind == "gamma"):
            verb = "is missing; needed by" if self.kind == "gamma" else "does not go with"
            raise at(("cv",), f"{verb} kind {self.kind}")
        return self


class TraceTraffic(Spec):
    """Requests of a file, sorted by arrival, the first at 0. `azure`: TIMESTAMP, ContextTokens,
    GeneratedTokens; `mooncake`: JSON lines with timestamp (ms), input_length, output_length and
    hash_ids (512-token blocks, equal ids are equal contents); `csv`: arrival_s, prompt_tokens,
    output_tokens and optionally priority, prefix_id, prefix_tokens.

    Of those that arrive from `start_s` to (not at) `end_s` after the first, requests `skip` to
    `skip + requests` (default: the last). Their gaps are multiplied by `time_scale`, so that 2.0 is
    half the rate; `rate_per_s` instead makes their mean gap 1 / `rate_per_s`. `shuffle` deals the
    lengths (with prefix and priority) anew by the scenario's seed.
    """

    kind: Literal["azure", "mooncake", "csv"]
    path: str
    skip: Annotated[StrictInt, Field(ge=0)] = 0
    requests: NumRequests | None = None
    start_s: Seconds = 0.0
    end_s: Seconds | None = None
    time_scale: Positive = 1.0
    rate_per_s: RatePerS | None = None
    shuffle: StrictBool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise at(("end_s",), f"must be above start_s {self.start_s}, not {self.end_s}")
        if self.rate_per_s is not None and self.time_scale != 1.0:
            raise at(("rate_per_s",), "does not go with time_scale; give one of the two")
        return self


Traffic = Annotated[SyntheticTraffic | TraceTraffic, Field(discriminator="kind")]
