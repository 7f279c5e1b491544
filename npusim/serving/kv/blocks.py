"""Room of a KV memory → ids of free blocks, those of the scratchpads first."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KvSize:
    """Room of an instance. `num_blocks`: all blocks (paged), or those of the scratchpads
    (sram_ring); `sram_blocks` of them lie in the scratchpads. `memory_tokens`: the ring of
    sram_ring; `swap_blocks`: room for what preemption moves out."""

    num_blocks: int
    sram_blocks: int
    block_tokens: int
    memory_tokens: int = 0
    swap_blocks: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of context that all of it holds."""
        return self.num_blocks * self.block_tokens + self.memory_tokens


class Tier:
    """Free ids of first … end - 1: those given back, the latest first, then those never taken."""

    def __init__(self, first: int, end: int):
        self.freed: list[int] = []
        self.fresh = first
        self.end = end

    @property
    def num_free(self) -> int:
        return len(self.freed) + self.end - self.fresh

    def take(self, count: int) -> list[int]:
        """`count` free ids; the caller knows that there are so many."""
        kept = max(0, len(self.freed) - count)
        blocks = self.freed[kept:]
        del self.freed[kept:]
        blocks.reverse()
        if missing := count - len(blocks):
            blocks.extend(range(self.fresh, self.fresh + missing))
            self.fresh += missing
        return blocks


class BlockPool:
    """Blocks 0 … num_blocks - 1; those below `sram_blocks` lie in the scratchpads, taken first.

    A block that is taken has one owner, the request; blocks with several are counted by the
    prefix cache, which alone makes them so.
    Assumes that blocks do not migrate: a block in memory stays there when a scratchpad block
    becomes free, until its request gives it back.
    """

    def __init__(self, num_blocks: int, sram_blocks: int):
        if not 0 <= sram_blocks <= num_blocks:
            raise ValueError(f"sram_blocks {sram_blocks} is not in 0 … num_blocks {num_blocks}")
        self.num_blocks = num_blocks
        self.sram_blocks = sram_blocks
        self.num_free = num_blocks
        self._sram = Tier(0, sram_blocks)
        self._memory = Tier(sram_blocks, num_blocks)

    def take(self, count: int) -> tuple[list[int], int]:
        """`count` blocks and how many of them lie in the scratchpads; needs count <= num_free."""
        assert count <= self.num_free, f"{count} blocks of {self.num_free} free ones"
        num_sram = min(count, self._sram.num_free)
        blocks = self._sram.take(num_sram) if num_sram else []
        if count > num_sram:
            blocks += self._memory.take(count - num_sram)
        self.num_free -= count
        return blocks, num_sram

    def give(self, blocks: list[int]) -> None:
        """These blocks are free again; the last of them is the first to be taken."""
        edge = self.sram_blocks
        if edge:
            self._sram.freed += [block for block in blocks if block < edge]
            self._memory.freed += [block for block in blocks if block >= edge]
        else:
            self._memory.freed += blocks
        self.num_free += len(blocks)

    def num_sram(self, blocks: Iterable[int]) -> int:
        """How many of these blocks lie in the scratchpads."""
        edge = self.sram_blocks
        return sum(block < edge for block in blocks) if edge else 0

    def check(self, taken: set[int]) -> None:
        """AssertionError unless every block is either free, once, or in `taken`."""
        freed = self._sram.freed + self._memory.freed
        assert len(set(freed)) == len(freed), "a block is free twice"
        assert taken.isdisjoint(freed), f"free and taken: {sorted(taken.intersection(freed))}"
        tiers = ((0, self._sram), (self.sram_blocks, self._memory))
        for first, tier in tiers:
            assert first <= tier.fresh <= tier.end
            assert all(first <= block < tier.fresh for block in tier.freed)
            assert not any(tier.fresh <= block < tier.end for block in taken)
        free = sum(tier.num_free for _, tier in tiers)
        assert free == self.num_free, f"{free} free blocks, counted {self.num_free}"
        leaked = self.num_blocks - free - len(taken)
        assert leaked == 0, f"{leaked} blocks are neither free nor taken"
