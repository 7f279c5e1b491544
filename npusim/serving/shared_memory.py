"""Instances whose cores share memories of a chip → the part of each, one instance after another."""

from collections.abc import Iterable, Mapping, Sequence

from npusim.passes.footprint import MemoryFootprint

Bases = tuple[tuple[int, int], ...]


class SharedMemories:
    """What weights leave of a memory is divided evenly among the instances that use it.

    `needs`, of every instance in the order in which they claim: its chip, and by memory the bytes
    of what it holds there beside KV. Assumes that an instance has all it keeps in a shared memory
    there in one piece.
    """

    def __init__(self, needs: Sequence[tuple[int, Mapping[int, int]]]) -> None:
        self._needs: dict[tuple[int, int], list[int]] = {}
        for chip, own in needs:
            for memory_id, num_bytes in own.items():
                self._needs.setdefault((chip, memory_id), []).append(num_bytes)
        self._bases: dict[int, dict[int, int]] = {}

    def bases(self, chip: int) -> Bases:
        """(memory id, first byte that no instance has claimed yet), as a Share has it."""
        return tuple(sorted(self._bases.get(chip, {}).items()))

    def kv_bytes(self, chip: int, memory: MemoryFootprint) -> int:
        """Of the free bytes of a memory, those for the KV of the instance whose turn it is."""
        _, *later = self._needs.get((chip, memory.memory_id), [0])
        return max(0, memory.free_bytes - sum(later)) // (1 + len(later))

    def fraction(self, chip: int, memories: Iterable[MemoryFootprint]) -> float:
        """The same as a share of the free bytes, of the memory where it is least."""
        shares = (self.kv_bytes(chip, m) / m.free_bytes for m in memories if m.free_bytes)
        return min(shares, default=1.0)

    def claim(self, chip: int, own: Iterable[int], memories: Iterable[MemoryFootprint]) -> None:
        """The next instance begins above this one's weights and KV; `own`: all memories that it
        reaches."""
        for memory in memories:
            if len(self._needs.get((chip, memory.memory_id), [])) > 1:
                end = memory.first_free + self.kv_bytes(chip, memory)
                self._bases.setdefault(chip, {})[memory.memory_id] = end
        for memory_id in own:
            self._needs[chip, memory_id].pop(0)
