"""A request: what arrives, how far it has come; and Work, its share of one iteration."""

from array import array
from dataclasses import dataclass, field

from npusim.serve_trace import WAITING

NEVER = -1


@dataclass(slots=True, eq=False)
class Request:
    """One request. What arrives: `prompt_tokens`, `output_tokens` it will put out (at least 1),
    `priority` (0 the most urgent), and `prefix`: ids of the contents of its leading blocks of
    `prefix_block_tokens` tokens; equal ids at the start are equal tokens.

    How far it is: the KV of its first `computed_tokens` is there or under way, `generated_tokens`
    are out (at `token_ps`). A preempted request has its KV computed anew, that of generated
    tokens as well.
    """

    request_id: int
    arrival_ps: int
    prompt_tokens: int
    output_tokens: int
    prefix: tuple[int, ...] = ()
    prefix_block_tokens: int = 0
    priority: int = 0

    computed_tokens: int = 0
    generated_tokens: int = 0
    token_ps: array = field(default_factory=lambda: array("q"))
    scheduled_ps: int = NEVER  # first time in a batch
    finish_ps: int = NEVER
    cached_tokens: int = 0  # of the prompt, found in a prefix cache
    num_preemptions: int = 0
    in_flight: int = 0  # iterations that compute it now
    swapped: bool = False  # its KV is in swap space
    instance: int = NEVER  # that prefilled it
    decode_instance: int = NEVER
    status: int = WAITING

    @property
    def known_tokens(self) -> int:
        """Tokens whose values are known: the prompt and what was generated."""
        return self.prompt_tokens + self.generated_tokens

    @property
    def remaining_tokens(self) -> int:
        """Known tokens that are in no iteration yet; 0 while the last one is under way."""
        return self.prompt_tokens + self.generated_tokens - self.computed_tokens

    @property
    def decodes(self) -> bool:
        """Whether its next iteration is a decode step, not (a chunk of) a prefill."""
        return self.generated_tokens > 0 and self.remaining_tokens == 1

    @property
    def most_tokens(self) -> int:
        """KV it needs at its longest: the last token put out is never an input."""
        return self.prompt_tokens + self.output_tokens - 1

    @property
    def finished(self) -> bool:
        return self.generated_tokens >= self.output_tokens


@dataclass(frozen=True, slots=True)
class Work:
    """A request's share of an iteration: `new_tokens` behind `context_tokens` of KV; `samples` when
    it puts out a token."""

    request: Request
    new_tokens: int
    context_tokens: int
    samples: bool

    @property
    def decodes(self) -> bool:
        return self.new_tokens == 1 and self.samples and self.context_tokens > 0
