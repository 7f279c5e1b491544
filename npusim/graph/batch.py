"""What one iteration computes: for every request, how many new tokens on how much context."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """One request's share of an iteration: `new_tokens` are computed after `context_tokens` that
    are in the KV cache already. Prefill: context 0. Chunked prefill: a part of the prompt. Decode:
    1 new token. `samples`: the last new token's logits are needed (false for all chunks but the
    last)."""

    new_tokens: int
    context_tokens: int = 0
    samples: bool = True


Batch = tuple[Slice, ...]


def prefill(batch: int, prompt_tokens: int) -> Batch:
    return (Slice(prompt_tokens),) * batch


def decode(batch: int, context_tokens: int) -> Batch:
    """One step: each request adds one token to `context_tokens` of context."""
    return (Slice(1, context_tokens),) * batch


def num_tokens(batch: Batch) -> int:
    return sum(s.new_tokens for s in batch)


def num_samples(batch: Batch) -> int:
    return sum(s.samples for s in batch)
