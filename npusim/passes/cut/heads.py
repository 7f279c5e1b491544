"""Attention heads and a number of ranks → Heads: which rank has which heads and which context."""

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Heads:
    """Attention heads over the ranks of a group.

    * `query[rank]`, `kv[rank]`: number of query and of KV heads a rank works on.
    * `context[rank]`: (index, parts): the rank's part of the context of its heads.
    * `groups`: ranks that share one head and merge partial results; empty without context split.
    * `replicas`: copies of the average KV head, 1.0 when none is stored twice.
    """

    num_heads: int
    num_kv_heads: int
    query: tuple[int, ...]
    kv: tuple[int, ...]
    context: tuple[tuple[int, int], ...]
    groups: tuple[tuple[int, ...], ...] = ()

    @property
    def replicas(self) -> float:
        copies = sum(kv / parts for kv, (_, parts) in zip(self.kv, self.context, strict=True))
        return copies / self.num_kv_heads


@lru_cache(maxsize=64)
def spread_heads(num_heads: int, num_kv_heads: int, ranks: int) -> Heads:
    """Query heads in contiguous runs that differ by at most one; a rank holds every KV head that
    one of its query heads reads. With more ranks than heads each head gets a run of ranks, which
    share the head's context.
    """
    if ranks <= num_heads:
        return _whole_heads(num_heads, num_kv_heads, ranks)
    size, more = divmod(ranks, num_heads)
    groups, first = [], 0
    for head in range(num_heads):
        count = size + (head < more)
        groups.append(tuple(range(first, first + count)))
        first += count
    context = tuple((i, len(g)) for g in groups for i in range(len(g)))
    split = tuple(g for g in groups if len(g) > 1)
    return Heads(num_heads, num_kv_heads, (1,) * ranks, (1,) * ranks, context, split)


def _whole_heads(num_heads: int, num_kv_heads: int, ranks: int) -> Heads:
    per_kv = num_heads // num_kv_heads
    query, kv, first = [], [], 0
    for rank in range(ranks):
        count = num_heads // ranks + (rank < num_heads % ranks)
        last = first + count - 1
        query.append(count)
        kv.append(last // per_kv - first // per_kv + 1)
        first += count
    return Heads(num_heads, num_kv_heads, tuple(query), tuple(kv), ((0, 1),) * ranks)


def kv_heads_of(heads: Heads, rank: int) -> range:
    """The KV heads that a rank holds, whole or in part."""
    begun = zip(heads.query[: rank + 1], heads.context[: rank + 1], strict=True)
    first = sum(count for count, (index, _) in begun if index == 0) - heads.query[rank]
    first //= heads.num_heads // heads.num_kv_heads
    return range(first, first + heads.kv[rank])
