"""Requests that come, grow and go → blocks of one size in scratchpads and memory (paged)."""

from collections import Counter
from collections.abc import Iterable, Sequence

from npusim.serving.kv.blocks import BlockPool, KvSize
from npusim.serving.kv.prefix import PrefixCache, block_keys
from npusim.serving.request import Request
from npusim.spec.serving import Kv
from npusim.units import ceil_div


class Held:
    """What a request holds: its blocks in the order of its tokens, `room` for so many tokens,
    `num_sram` of the blocks in scratchpads; `keys` of its shareable blocks, the first `committed`
    of which were offered to the prefix cache."""

    __slots__ = ("blocks", "committed", "keys", "num_sram", "room")

    def __init__(
        self, blocks: list[int], num_sram: int, room: int, keys: Sequence[int], committed: int
    ):
        self.blocks = blocks
        self.num_sram = num_sram
        self.room = room
        self.keys = keys
        self.committed = committed


class PagedKv:
    """KV in blocks of `block_tokens`, taken as a request grows; `KvCache` tells the methods."""

    def __init__(self, size: KvSize, kv: Kv):
        self.size = size
        self._pool = BlockPool(size.num_blocks, size.sram_blocks)
        self._prefix = PrefixCache()
        self._shares = kv.prefix_cache
        self._watermark = int(kv.watermark_fraction * size.num_blocks)
        self._held: dict[int, Held] = {}
        self._last: tuple[Request, list[int]] | None = None
        self._swapped: dict[int, int] = {}  # blocks moved out, by request
        self._swap_free = size.swap_blocks

    @property
    def num_blocks(self) -> int:
        return self._pool.num_blocks

    @property
    def free_blocks(self) -> int:
        return self._pool.num_free + self._prefix.num_idle

    @property
    def used_blocks(self) -> int:
        return self._pool.num_blocks - self._pool.num_free

    @property
    def held_blocks(self) -> int:
        return self.used_blocks - self._prefix.num_idle

    @property
    def cached_blocks(self) -> int:
        return self._prefix.num_idle

    @property
    def occupancy(self) -> float:
        return self.held_blocks / self.num_blocks if self.num_blocks else 0.0

    def holds(self, request: Request) -> bool:
        return request.request_id in self._held

    @property
    def longest_tokens(self) -> int:
        return self.size.num_tokens

    def fits_ever(self, tokens: int) -> bool:
        return tokens <= self.longest_tokens

    def lookup(self, request: Request) -> int:
        return len(self._find(request, request.known_tokens - 1)) * self.size.block_tokens

    def admit(self, request: Request, tokens: int) -> bool:
        found = self._find(request, request.known_tokens - 1)
        if not self._enter(request, found, tokens):
            return False
        cached_tokens = len(found) * self.size.block_tokens
        if request.computed_tokens == 0 and request.num_preemptions == 0:
            request.cached_tokens = cached_tokens
        request.computed_tokens = max(request.computed_tokens, cached_tokens)
        return True

    def can_admit(self, request: Request, tokens: int) -> bool:
        found = self._find(request, request.known_tokens - 1)
        return self._missing(found, tokens) is not None

    def grow(self, request: Request, tokens: int) -> bool:
        held = self._held[request.request_id]
        if tokens <= held.room:
            return True
        count = self._blocks(tokens) - len(held.blocks)
        if count > self._pool.num_free + self._prefix.num_idle:
            return False
        blocks, num_sram = self._take(count)
        held.blocks += blocks
        held.num_sram += num_sram
        held.room += count * self.size.block_tokens
        return True

    def commit(self, request: Request) -> None:
        held = self._held[request.request_id]
        done = min(len(held.keys), request.computed_tokens // self.size.block_tokens)
        for index in range(held.committed, done):
            self._prefix.publish(held.keys[index], held.blocks[index])
        held.committed = max(held.committed, done)

    def release(self, request: Request) -> None:
        held = self._held.pop(request.request_id)
        if held.committed:
            self._pool.give(held.blocks[: held.committed - 1 : -1])
            self._pool.give(self._prefix.drop(held.blocks[: held.committed]))
        else:
            held.blocks.reverse()
            self._pool.give(held.blocks)

    def swap_out(self, request: Request) -> int | None:
        count = self._blocks(request.computed_tokens)
        if count > self._swap_free:
            return None
        self.release(request)
        self._swap_free -= count
        self._swapped[request.request_id] = count
        return count

    def swap_in(self, request: Request) -> int | None:
        found = self._find(request, request.computed_tokens)
        if not self._enter(request, found, request.known_tokens):
            return None
        count = self._swapped.pop(request.request_id)
        self._swap_free += count
        return count - len(found)

    def resident_fraction(self, requests: Iterable[Request]) -> float:
        if self.size.sram_blocks in (0, self.size.num_blocks):
            return 1.0 if self.size.sram_blocks else 0.0
        block_tokens = self.size.block_tokens
        filled = resident = 0
        for request in requests:
            held = self._held[request.request_id]
            count = min(len(held.blocks), -(-request.computed_tokens // block_tokens))
            filled += count
            resident += held.num_sram if held.num_sram < count else count
        return resident / filled if filled else 0.0

    def check(self) -> None:
        owned: Counter[int] = Counter()
        for held in self._held.values():
            owned.update(held.blocks)
            assert len(set(held.blocks)) == len(held.blocks), "a request owns a block twice"
            assert held.room == len(held.blocks) * self.size.block_tokens
            assert held.num_sram == self._pool.num_sram(held.blocks)
        self._pool.check(set(owned) | self._prefix.check(owned))
        assert self.held_blocks == len(owned)
        assert self._swap_free == self.size.swap_blocks - sum(self._swapped.values()) >= 0
        assert self._held.keys().isdisjoint(self._swapped), "a request is held and swapped"

    def _blocks(self, tokens: int) -> int:
        return ceil_div(tokens, self.size.block_tokens)

    def _keys(self, request: Request) -> Sequence[int]:
        """Keys of its shareable blocks; kept for the request asked for last, since one that waits
        at the head of a queue is asked for again and again."""
        if not self._shares or not request.prefix:
            return ()
        if self._last is None or self._last[0] is not request:
            self._last = request, block_keys(request, self.size.block_tokens)
        return self._last[1]

    def _find(self, request: Request, tokens: int) -> list[int]:
        """Cached blocks that hold the request's beginning, no more than `tokens` of it."""
        return self._prefix.find(self._keys(request)[: max(tokens, 0) // self.size.block_tokens])

    def _missing(self, found: list[int], tokens: int) -> int | None:
        """Blocks to take for `tokens` beside those `found`, or None when so many are not there
        above the watermark. A cache that nobody holds a block of has no watermark."""
        count = max(self._blocks(tokens) - len(found), 0)
        spare = self._watermark if self._held else 0
        free = self.free_blocks - self._prefix.num_idle_of(found)
        return None if count > free - spare else count

    def _enter(self, request: Request, found: list[int], tokens: int) -> bool:
        """First room for `tokens`, `found` blocks among it; False and unchanged when there is
        none."""
        assert request.request_id not in self._held, f"request {request.request_id} is admitted"
        count = self._missing(found, tokens)
        if count is None:
            return False
        self._prefix.take(found)
        blocks, num_sram = self._take(count)
        num_sram += self._pool.num_sram(found)
        blocks = found + blocks
        room = len(blocks) * self.size.block_tokens
        keys = self._keys(request)
        self._held[request.request_id] = Held(blocks, num_sram, room, keys, len(found))
        return True

    def _take(self, count: int) -> tuple[list[int], int]:
        """`count` free blocks, after as few evictions as that needs."""
        if count > self._pool.num_free:
            self._pool.give(self._prefix.evict(count - self._pool.num_free))
        return self._pool.take(count)
