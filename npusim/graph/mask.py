"""A request's slice and a window → the KV rows it reads and the exact number of pairs it scores."""

from npusim.graph.batch import Batch, Slice


def scored_pairs(new_tokens: int, context_tokens: int, window: int = 0) -> int:
    """Unmasked (query, key) pairs of a causal slice: the query at position p sees the
    min(p + 1, window) last keys, itself included; window 0 sees all."""
    if not window:
        window = context_tokens + new_tokens
    growing = min(max(window - context_tokens, 0), new_tokens)
    seen = growing * context_tokens + growing * (growing + 1) // 2
    return seen + (new_tokens - growing) * window


def attended_tokens(new_tokens: int, context_tokens: int, window: int = 0) -> int:
    """KV rows that at least one query of the slice sees."""
    total = context_tokens + new_tokens
    return min(total, new_tokens + window - 1) if window else total


def masked_slices(batch: Batch, window: int = 0) -> tuple[tuple[int, int, int], ...]:
    """(new_tokens, attended_tokens, scored_pairs) of every request, as `Op.slices` wants them."""
    rows: dict[Slice, tuple[int, int, int]] = {}
    for piece in set(batch):
        new, context = piece.new_tokens, piece.context_tokens
        rows[piece] = (
            new,
            attended_tokens(new, context, window),
            scored_pairs(new, context, window),
        )
    return tuple(rows[piece] for piece in batch)
