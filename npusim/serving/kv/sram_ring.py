"""Requests that come, grow and go → scratchpad blocks, then a buffer a request in a ring of memory
(sram_ring, the multi-core NPU study's)."""

from collections.abc import Iterable

from npusim.serving.kv.blocks import BlockPool, KvSize
from npusim.serving.kv.ring import Buffer, Ring
from npusim.serving.request import Request
from npusim.spec.serving import Kv
from npusim.units import ceil_div


class Held:
    """What a request holds: scratchpad blocks, its buffer in memory (None without memory), and
    `room` for so many tokens before it must ask again."""

    __slots__ = ("blocks", "buffer", "room")

    def __init__(self, blocks: list[int], buffer: Buffer | None, room: int):
        self.blocks = blocks
        self.buffer = buffer
        self.room = room


class SramRingKv:
    """A request's first tokens lie in scratchpad blocks, taken as it grows; when these are gone,
    all its further ones go to its buffer in memory, which has room for its longest length and is
    reserved at admission: with memory, an admitted request always grows. `KvCache` tells the
    methods.

    Assumes that a request that has begun its buffer takes no more scratchpad blocks. Nothing is
    shared or cached, and nothing is swapped.
    """

    def __init__(self, size: KvSize, kv: Kv):
        self.size = size
        self._pool = BlockPool(size.num_blocks, size.num_blocks)
        self._ring = Ring(size.memory_tokens)
        self._ring_tokens = kv.ring_tokens
        self._watermark = int(kv.watermark_fraction * size.num_blocks)
        self._held: dict[int, Held] = {}

    @property
    def num_blocks(self) -> int:
        return self._pool.num_blocks + self.size.memory_tokens // self.size.block_tokens

    @property
    def free_blocks(self) -> int:
        ring_tokens = self.size.memory_tokens - self._ring.used_tokens
        return self._pool.num_free + ring_tokens // self.size.block_tokens

    @property
    def used_blocks(self) -> int:
        return self.num_blocks - self.free_blocks

    @property
    def held_blocks(self) -> int:
        return self._pool.num_blocks - self._pool.num_free

    @property
    def cached_blocks(self) -> int:
        return 0

    @property
    def occupancy(self) -> float:
        held_tokens = self.held_blocks * self.size.block_tokens + self._ring.held_tokens
        return held_tokens / self.size.num_tokens if self.size.num_tokens else 0.0

    def holds(self, request: Request) -> bool:
        return request.request_id in self._held

    @property
    def longest_tokens(self) -> int:
        """The ring, which keeps room for a request's whole length; without one, the blocks."""
        return self.size.memory_tokens or self.size.num_tokens

    def fits_ever(self, tokens: int) -> bool:
        return tokens <= self.longest_tokens

    def lookup(self, request: Request) -> int:
        return 0

    def admit(self, request: Request, tokens: int) -> bool:
        assert request.request_id not in self._held, f"request {request.request_id} is admitted"
        if not self.can_admit(request, tokens):
            return False
        longest = self._buffer_tokens(request, tokens)
        buffer = self._ring.reserve(longest) if self.size.memory_tokens else None
        self._held[request.request_id] = Held([], buffer, 0)
        return self.grow(request, tokens)

    def can_admit(self, request: Request, tokens: int) -> bool:
        if self.size.memory_tokens:
            return self._ring.fits(self._buffer_tokens(request, tokens))
        spare = self._watermark if self._held else 0
        return self._blocks(tokens) <= self._pool.num_free - spare

    def grow(self, request: Request, tokens: int) -> bool:
        held = self._held[request.request_id]
        if tokens <= held.room:
            return True
        count = self._blocks(tokens) - len(held.blocks)
        if count > self._pool.num_free:
            if held.buffer is None:
                return False
            assert tokens <= held.buffer.end - held.buffer.start, "longer than its buffer"
            count = self._pool.num_free
            held.room = held.buffer.end - held.buffer.start
        else:
            held.room = (len(held.blocks) + count) * self.size.block_tokens
        held.blocks += self._pool.take(count)[0]
        return True

    def commit(self, request: Request) -> None:
        """Nothing: this layout has no prefix cache."""

    def release(self, request: Request) -> None:
        held = self._held.pop(request.request_id)
        held.blocks.reverse()
        self._pool.give(held.blocks)
        if held.buffer is not None:
            self._ring.free(held.buffer)

    def swap_out(self, request: Request) -> int | None:
        return None

    def swap_in(self, request: Request) -> int | None:
        return None

    def resident_fraction(self, requests: Iterable[Request]) -> float:
        resident = tokens = 0
        for request in requests:
            held = self._held[request.request_id]
            tokens += request.computed_tokens
            resident += min(request.computed_tokens, len(held.blocks) * self.size.block_tokens)
        return resident / tokens if tokens else 0.0

    def check(self) -> None:
        taken: list[int] = []
        for held in self._held.values():
            taken += held.blocks
            assert held.room <= len(held.blocks) * self.size.block_tokens or held.buffer
        assert len(set(taken)) == len(taken), "a block is owned twice"
        self._pool.check(set(taken))
        self._ring.check([held.buffer for held in self._held.values() if held.buffer])

    def _buffer_tokens(self, request: Request, tokens: int) -> int:
        """Length of its buffer: what all get, or more where it is longer. One that only prefills
        here may be longer than the ring at last: then it gets the ring as a whole."""
        longest = max(self._ring_tokens or 0, request.most_tokens)
        return max(tokens, min(longest, self.size.memory_tokens))

    def _blocks(self, tokens: int) -> int:
        return ceil_div(tokens, self.size.block_tokens)
