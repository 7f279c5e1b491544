"""Lengths of whole requests → contiguous buffers in a ring of memory, freed in order."""

from collections import deque
from itertools import pairwise


class Buffer:
    """Tokens start … end - 1 of the ring."""

    __slots__ = ("end", "freed", "start")

    def __init__(self, start: int, end: int):
        self.start = start
        self.end = end
        self.freed = False


class Ring:
    """A ring of `size_tokens`. A buffer is contiguous: where it does not fit before the end, it
    lies at the beginning and the gap is lost until the tail has passed it. The tail moves only
    past freed buffers, the oldest first (multi-core NPU study, section on memory)."""

    def __init__(self, size_tokens: int):
        self.size_tokens = size_tokens
        self.held_tokens = 0  # of buffers that are not freed
        self._buffers: deque[Buffer] = deque()

    @property
    def used_tokens(self) -> int:
        """Tokens between tail and head: buffers, freed ones behind the tail's, and gaps."""
        if not self._buffers:
            return 0
        tail, head = self._buffers[0].start, self._buffers[-1].end
        return head - tail if head > tail else head - tail + self.size_tokens

    def reserve(self, tokens: int) -> Buffer | None:
        """A buffer of `tokens` (at least 1), or None when there is no room for it now."""
        start = self._place(tokens)
        if start is None:
            return None
        buffer = Buffer(start, start + tokens)
        self._buffers.append(buffer)
        self.held_tokens += tokens
        return buffer

    def free(self, buffer: Buffer) -> None:
        assert not buffer.freed, "a buffer is freed twice"
        buffer.freed = True
        self.held_tokens -= buffer.end - buffer.start
        while self._buffers and self._buffers[0].freed:
            self._buffers.popleft()

    def fits(self, tokens: int) -> bool:
        """Whether `reserve` would find room now."""
        return self._place(tokens) is not None

    def _place(self, tokens: int) -> int | None:
        """Where the next buffer starts: at the head, or at 0 when it must wrap around."""
        if not self._buffers:
            return 0 if tokens <= self.size_tokens else None
        tail, head = self._buffers[0].start, self._buffers[-1].end
        if head <= tail:
            return head if tokens <= tail - head else None
        if tokens <= self.size_tokens - head:
            return head
        return 0 if tokens <= tail else None

    def check(self, owned: list[Buffer]) -> None:
        """AssertionError unless the buffers that are not freed are `owned`, each once, and no two
        overlap."""
        live = [buffer for buffer in self._buffers if not buffer.freed]
        assert len(live) == len(owned)
        assert {id(buffer) for buffer in live} == {id(buffer) for buffer in owned}
        assert self.held_tokens == sum(buffer.end - buffer.start for buffer in live)
        spans = sorted((buffer.start, buffer.end) for buffer in self._buffers)
        for (_, end), (start, _) in pairwise(spans):
            assert end <= start, "buffers of the ring overlap"
        assert all(0 <= start < end <= self.size_tokens for start, end in spans)
