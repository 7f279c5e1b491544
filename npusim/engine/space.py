"""One int64 array → blocks of words that are taken and given back; it grows when it is full."""

from dataclasses import dataclass

import numpy as np

LINE_WORDS = 8  # int64 words of a cache line
SPARE_WORDS = 1 << 22  # at first; pages that are never touched cost nothing
GROWTH = 4  # at least a quarter is added


@dataclass(frozen=True)
class Block:
    """A table of `count` rows of `size` words that begins at word `first`."""

    first: int
    count: int
    size: int

    @property
    def num_words(self) -> int:
        return self.count * self.size

    def offsets(self) -> np.ndarray:
        """Of each row."""
        return self.first + np.arange(self.count) * self.size

    def view(self, words: np.ndarray) -> np.ndarray:
        """The table (count, size) in the array as it stands now: growing makes another array."""
        return words[self.first : self.first + self.num_words].reshape(self.count, self.size)


class Space:
    """`words`: the array, all zeros, of which the first `num_words` are not given away. Blocks
    begin at cache lines; what is in a block that was used before is left over."""

    def __init__(self, num_words: int):
        first = _whole_lines(num_words)
        self.words = _aligned_zeros(first + SPARE_WORDS)
        self._free = [(first, len(self.words))]  # first word and end of each gap, in order

    def take(self, count: int, size: int = 1) -> Block:
        """The first gap that is large enough, or room at the end."""
        needed = _whole_lines(count * size)
        for index, (first, end) in enumerate(self._free):
            if end - first >= needed:
                self._free[index] = (first + needed, end)
                return Block(first, count, size)
        first = self._extend(needed)
        return Block(first, count, size)

    def give_back(self, block: Block) -> None:
        """Makes a block a gap, one with the gaps beside it."""
        gap = (block.first, block.first + _whole_lines(block.num_words))
        gaps: list[tuple[int, int]] = []
        for first, end in sorted([*self._free, gap]):
            if first == end:
                continue
            if gaps and gaps[-1][1] == first:
                gaps[-1] = (gaps[-1][0], end)
            else:
                gaps.append((first, end))
        self._free = gaps

    def _extend(self, needed: int) -> int:
        """Grows by what the last gap lacks, or more; returns where the new room begins."""
        first = end = len(self.words)
        if self._free and self._free[-1][1] == end:
            first = self._free.pop()[0]
        size = max(first + needed, _whole_lines(end + end // GROWTH))
        words = _aligned_zeros(size)
        words[:first] = self.words[:first]
        self.words = words
        self._free.append((first + needed, size))
        return first


def _whole_lines(num_words: int) -> int:
    return -(-num_words // LINE_WORDS) * LINE_WORDS


def _aligned_zeros(count: int) -> np.ndarray:
    """Zeros that begin at a cache line."""
    words = np.zeros(count + LINE_WORDS, np.int64)
    skip = -(words.ctypes.data // words.itemsize) % LINE_WORDS
    return words[skip : skip + count]
