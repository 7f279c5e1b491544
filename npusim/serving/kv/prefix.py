"""Contents of requests' leading blocks → blocks that hold them already, shared by owners."""

from collections import OrderedDict
from collections.abc import Iterable

from npusim.serving.request import Request
from npusim.units import ceil_div


def shareable_blocks(request: Request, block_tokens: int) -> int:
    """KV blocks of the prompt that the request's prefix ids cover wholly."""
    covered = len(request.prefix) * request.prefix_block_tokens
    return min(covered, request.prompt_tokens) // block_tokens


def block_keys(request: Request, block_tokens: int) -> list[int]:
    """Keys of the request's shareable blocks, first to last.

    A block's key is a hash of all ids up to the block's end, chained, and of its index: equal keys
    mean equal tokens in the block and before it, whatever the sizes of the two kinds of blocks.
    Assumes that unequal ids are unequal tokens, and that the 64-bit hashes do not collide.
    """
    id_tokens = request.prefix_block_tokens
    keys = []
    chain, chained = hash((id_tokens,)), 0
    for index in range(shareable_blocks(request, block_tokens)):
        upto = ceil_div((index + 1) * block_tokens, id_tokens)
        if upto > chained:
            for content in request.prefix[chained:upto]:
                chain = hash((chain, content))
            chained = upto
        keys.append(hash((chain, index)))
    return keys


class PrefixCache:
    """Blocks whose contents are known, with the number of requests that own each. Those without
    an owner are idle and stay until room is needed: the longest idle goes first."""

    def __init__(self) -> None:
        self._block_of: dict[int, int] = {}
        self._key_of: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def num_idle(self) -> int:
        return len(self._idle)

    def find(self, keys: Iterable[int]) -> list[int]:
        """Blocks of the longest known start of `keys`; nothing is touched."""
        blocks = []
        for key in keys:
            block = self._block_of.get(key)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def num_idle_of(self, blocks: Iterable[int]) -> int:
        return sum(block in self._idle for block in blocks)

    def take(self, blocks: Iterable[int]) -> None:
        """One owner more for each of these known blocks."""
        for block in blocks:
            self._owners[block] += 1
            self._idle.pop(block, None)

    def publish(self, key: int, block: int) -> None:
        """`block`, which has one owner, holds the contents of `key`. When another block does
        already, this one stays its owner's alone."""
        if key not in self._block_of:
            self._block_of[key] = block
            self._key_of[block] = key
            self._owners[block] = 1

    def drop(self, blocks: list[int]) -> list[int]:
        """One owner less for those of `blocks` that are known here; gives the others, which
        nobody owns now. Later blocks become idle before earlier ones, for they are found only
        behind them."""
        private = []
        for block in reversed(blocks):
            owners = self._owners.get(block)
            if owners is None:
                private.append(block)
                continue
            self._owners[block] = owners - 1
            if owners == 1:
                self._idle[block] = None
        return private

    def evict(self, count: int) -> list[int]:
        """The `count` longest idle blocks, forgotten here; there are so many."""
        blocks = [self._idle.popitem(last=False)[0] for _ in range(count)]
        for block in blocks:
            del self._owners[block]
            del self._block_of[self._key_of.pop(block)]
        return blocks

    def check(self, owned: dict[int, int]) -> set[int]:
        """AssertionError unless counts agree with `owned` (owners of each block that has one);
        gives the idle blocks."""
        for block, owners in owned.items():
            known = self._owners.get(block, 1)
            assert owners == known, f"block {block} has {owners} owners, counted {known}"
        idle = {block for block, owners in self._owners.items() if owners == 0}
        assert idle == set(self._idle), "idle blocks are not those without owners"
        assert idle.isdisjoint(owned), "a block with an owner is idle"
        assert {block: key for key, block in self._block_of.items()} == self._key_of
        assert self._key_of.keys() == self._owners.keys()
        return idle
