"""Any order of operations: the paged cache against a model that writes every token out, and each
layout's own check after every step."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npusim.serving.kv.cache import KV_CACHES, KvSize
from npusim.serving.request import Request
from npusim.spec.serving import Kv

SWAP_BLOCKS = 5


@dataclass(eq=False)
class Block:
    """A block of the model: its owners, and the tokens up to its end when others can find it."""

    owners: set = field(default_factory=set)
    tokens: tuple | None = None
    idle_since: int = -1


class Model:
    """KV blocks as sets and lists, searched from end to end; no ids, hashes or counts."""

    def __init__(self, num_blocks, block_tokens, watermark):
        self.num_blocks, self.block_tokens, self.watermark = num_blocks, block_tokens, watermark
        self.blocks: set[Block] = set()
        self.held: dict[int, list[Block]] = {}
        self.swapped: dict[int, int] = {}
        self.clock = 0

    @property
    def idle(self):
        return sorted((b for b in self.blocks if not b.owners), key=lambda b: b.idle_since)

    def tokens(self, request, index):
        """The tokens of block `index` and before it, or None when they are not all known."""
        end = (index + 1) * self.block_tokens
        size = request.prefix_block_tokens
        if end > min(len(request.prefix) * size, request.prompt_tokens):
            return None
        last = -(-end // size)
        # an id stands for its tokens as a whole: the block's key has all that it touches
        return (size, *request.prefix[:last]), end

    def find(self, request, most_tokens):
        found = []
        for index in range(most_tokens // self.block_tokens):
            tokens = self.tokens(request, index)
            match = [b for b in self.blocks if tokens and b.tokens == tokens]
            if not match:
                break
            found += match
        return found

    def enter(self, request, found, tokens):
        count = max(0, -(-tokens // self.block_tokens) - len(found))
        spare = self.watermark if self.held else 0
        idle = [block for block in self.idle if block not in found]
        if count + spare > self.num_blocks - len(self.blocks) + len(idle):
            return False
        for block in found:
            block.owners.add(request.request_id)
        self.held[request.request_id] = list(found)
        self.add(request, count)
        return True

    def add(self, request, count):
        for _ in range(count):
            if len(self.blocks) == self.num_blocks:
                self.blocks.remove(self.idle[0])
            block = Block({request.request_id})
            self.blocks.add(block)
            self.held[request.request_id].append(block)

    def grow(self, request, tokens):
        count = max(0, -(-tokens // self.block_tokens) - len(self.held[request.request_id]))
        if count > self.num_blocks - len(self.blocks) + len(self.idle):
            return False
        self.add(request, count)
        return True

    def commit(self, request):
        for index in range(request.computed_tokens // self.block_tokens):
            tokens, block = self.tokens(request, index), self.held[request.request_id][index]
            if tokens and not any(other.tokens == tokens for other in self.blocks):
                block.tokens = tokens

    def release(self, request):
        for block in reversed(self.held.pop(request.request_id)):
            block.owners.remove(request.request_id)
            self.clock += 1
            if not block.owners:
                block.idle_since = self.clock
                if block.tokens is None:
                    self.blocks.remove(block)


class Pair:
    """The cache and the model, driven together."""

    def __init__(self, size, kv):
        self.cache = KV_CACHES["paged"](size, kv)
        watermark = int(kv.watermark_fraction * size.num_blocks)
        self.model = Model(size.num_blocks, size.block_tokens, watermark)
        self.running: list[Request] = []
        self.out: list[Request] = []

    def arrive(self, request, computed):
        found = self.model.find(request, request.known_tokens - 1)
        cached_tokens = len(found) * self.model.block_tokens
        assert self.cache.lookup(request) == cached_tokens
        admittable = self.cache.can_admit(request, request.known_tokens)
        self.check()
        admitted = self.cache.admit(request, request.known_tokens)
        assert admitted == admittable == self.model.enter(request, found, request.known_tokens)
        if admitted:
            assert request.computed_tokens == request.cached_tokens == cached_tokens
            request.computed_tokens = max(cached_tokens, round(computed * request.known_tokens))
            self.running.append(request)

    def grow(self, request, by):
        tokens = request.computed_tokens + by
        assert self.cache.grow(request, tokens) == self.model.grow(request, tokens)

    def commit(self, request):
        self.cache.commit(request)
        self.model.commit(request)

    def release(self, request):
        self.cache.release(request)
        self.model.release(request)
        self.running.remove(request)

    def swap_out(self, request):
        count = -(-request.computed_tokens // self.model.block_tokens)
        moved = self.cache.swap_out(request)
        if sum(self.model.swapped.values()) + count > SWAP_BLOCKS:
            assert moved is None
            return
        assert moved == count
        self.model.release(request)
        self.model.swapped[request.request_id] = count
        self.running.remove(request)
        self.out.append(request)

    def swap_in(self, request):
        found = self.model.find(request, request.computed_tokens)
        moved = self.cache.swap_in(request)
        if not self.model.enter(request, found, request.known_tokens):
            assert moved is None
            return
        assert moved == self.model.swapped.pop(request.request_id) - len(found)
        self.out.remove(request)
        self.running.append(request)

    def check(self):
        self.cache.check()
        idle = len(self.model.idle)
        held = len(self.model.blocks) - idle
        assert (self.cache.held_blocks, self.cache.cached_blocks) == (held, idle)
        assert self.cache.used_blocks == held + idle
        assert self.cache.free_blocks == self.model.num_blocks - held


prompts = st.integers(1, 24)
actions = st.sampled_from(["grow", "commit", "release", "swap_out", "swap_in"])
arrivals = st.tuples(prompts, st.lists(st.integers(0, 1), max_size=8), st.floats(0, 1))
steps = st.lists(st.one_of(arrivals, st.tuples(actions, st.integers(0, 30))), max_size=60)


@settings(max_examples=150, deadline=None)
@given(steps, st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.0, 0.2]), st.integers(0, 12))
def test_paged_is_the_model(steps, block_tokens, id_tokens, watermark_fraction, sram_blocks):
    size = KvSize(12, sram_blocks, block_tokens, swap_blocks=SWAP_BLOCKS)
    pair = Pair(size, Kv(prefix_cache=True, watermark_fraction=watermark_fraction))
    for number, step in enumerate(steps):
        if len(step) == 3:
            prompt_tokens, prefix, computed = step
            request = Request(number, 0, prompt_tokens, 9, tuple(prefix), id_tokens)
            pair.arrive(request, computed)
        else:
            action, index = step
            requests = pair.out if action == "swap_in" else pair.running
            if requests:
                request = requests[index % len(requests)]
                pair.grow(request, index) if action == "grow" else getattr(pair, action)(request)
        pair.check()


@pytest.mark.parametrize("layout", sorted(KV_CACHES))
@settings(max_examples=60, deadline=None)
@given(steps=steps, memory_tokens=st.sampled_from([0, 40]))
def test_every_layout_keeps_its_books_and_ends_empty(layout, steps, memory_tokens):
    size = KvSize(8, 8, 4, memory_tokens, SWAP_BLOCKS)
    cache = KV_CACHES[layout](size, Kv(layout=layout, prefix_cache=layout == "paged"))
    running, out = [], []
    for number, step in enumerate(steps):
        if len(step) == 3:
            request = Request(number, 0, step[0], 9, tuple(step[1]), 3)
            fits = cache.fits_ever(request.most_tokens)
            admittable = cache.can_admit(request, request.known_tokens)
            admitted = fits and cache.admit(request, request.known_tokens)
            assert admitted == (fits and admittable)
            assert admitted or running or not fits
            if admitted:
                running.append(request)
                request.computed_tokens = request.known_tokens
                cache.commit(request)
        elif step[0] == "swap_in" and out:
            if cache.swap_in(out[0]) is not None:
                running.append(out.pop(0))
        elif running:
            request = running[step[1] % len(running)]
            if step[0] == "grow" and request.computed_tokens < request.most_tokens:
                if cache.grow(request, request.computed_tokens + 1):
                    request.computed_tokens += 1
                    request.generated_tokens += 1
            elif step[0] == "swap_out" and cache.swap_out(request) is not None:
                running.remove(request)
                out.append(request)
            elif step[0] == "release":
                cache.release(request)
                running.remove(request)
        cache.check()
        assert 0.0 <= cache.resident_fraction(running) <= 1.0
    for request in running:
        cache.release(request)
    cache.check()
    assert cache.held_blocks == 0 and cache.occupancy == 0.0
    assert cache.free_blocks == (8 if layout == "paged" else 8 + memory_tokens // 4)
