"""A layout's name → the KV memory of an instance; what every layout can do."""

from collections.abc import Callable, Iterable
from typing import Protocol

from npusim.serving.kv.blocks import KvSize
from npusim.serving.kv.paged import PagedKv
from npusim.serving.kv.sram_ring import SramRingKv
from npusim.serving.request import Request
from npusim.spec.serving import Kv

__all__ = ["KV_CACHES", "KvCache", "KvSize"]


class KvCache(Protocol):
    """KV memory of one instance. A request is out, held (from `admit` to `release`), or swapped;
    `longest_tokens` is the longest that an empty one could hold.

    Occupancy: `used_blocks` = `held_blocks` (some request owns them) + `cached_blocks` (kept for
    later requests, without an owner); `free_blocks` = blocks that can be taken, cached ones among
    them. `occupancy` is the share of all room that requests hold. Of sram_ring, `held_blocks` are
    those of the scratchpads; the others have as many more as the ring has room for, and what lies
    in it between tail and head is used.
    """

    size: KvSize

    @property
    def num_blocks(self) -> int: ...
    @property
    def free_blocks(self) -> int: ...
    @property
    def used_blocks(self) -> int: ...
    @property
    def held_blocks(self) -> int: ...
    @property
    def cached_blocks(self) -> int: ...
    @property
    def occupancy(self) -> float: ...
    @property
    def longest_tokens(self) -> int: ...

    def holds(self, request: Request) -> bool: ...

    def fits_ever(self, tokens: int) -> bool:
        """Whether an empty cache could hold a request of that length."""

    def lookup(self, request: Request) -> int:
        """Tokens at the start of a request's known ones that are cached: whole blocks, and fewer
        than known so that there is one to compute. Takes nothing."""

    def admit(self, request: Request, tokens: int) -> bool:
        """First room: the cached blocks of its prefix and what else `tokens` tokens need; False and
        unchanged when there is none above the watermark, which an empty cache has not.

        `computed_tokens` becomes at least what was cached; `cached_tokens` is that of the first
        admission of a request that comes with nothing computed.
        """

    def can_admit(self, request: Request, tokens: int) -> bool:
        """Whether `admit` would find room now; takes and evicts nothing."""

    def grow(self, request: Request, tokens: int) -> bool:
        """Room for `tokens` tokens in all; False and unchanged when there is none."""

    def commit(self, request: Request) -> None:
        """The full blocks of its computed prompt tokens can be found by others from now on."""

    def release(self, request: Request) -> None:
        """All its blocks back; cached ones without another owner stay till room is needed."""

    def swap_out(self, request: Request) -> int | None:
        """Its KV out of the way, to come back; `computed_tokens` stays. The blocks to move, or None
        and unchanged when the swap space has no room (or the layout has none).

        Assumes that shared blocks are moved as well: when it comes back they may be gone.
        """

    def swap_in(self, request: Request) -> int | None:
        """Room for all its known tokens, as `admit`. The blocks to move (cached ones are
        shared again instead), or None and unchanged when there is no room."""

    def resident_fraction(self, requests: Iterable[Request]) -> float:
        """Share of these requests' computed tokens that lies in scratchpad blocks.

        Assumes that a request's scratchpad blocks come first and that its last block is full.
        """

    def check(self) -> None:
        """AssertionError when a block has leaked, is owned twice, or a count is wrong."""


KV_CACHES: dict[str, Callable[[KvSize, Kv], KvCache]] = {
    "paged": PagedKv,
    "sram_ring": SramRingKv,
}
