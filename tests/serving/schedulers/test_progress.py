"""The watch over an instance: what it lets pass and what it reports."""

import pytest

from npusim.errors import StarvationError
from npusim.serving.kv.cache import KV_CACHES
from npusim.serving.request import Request, Work
from npusim.serving.schedulers.progress import Watch
from npusim.serving.schedulers.queues import Queues
from npusim.spec.serving import Kv


@pytest.fixture
def queues(blocks_of):
    kv = Kv()
    return Queues(KV_CACHES["paged"](blocks_of(10, tokens=4), kv), kv)


def chunk(request, start, end, samples=False):
    return Work(request, end - start, start, samples)


def test_requests_that_wait_when_nothing_will_happen_are_named(queues):
    queues.waiting += [Request(7, 0, prompt_tokens=30, output_tokens=12), Request(8, 0, 1, 1)]
    with pytest.raises(
        StarvationError,
        match=r"scheduler mine starves request 7, which waits: it needs up to 11 KV blocks, "
        r"10 of 10 are free; .*; nothing is under way or to come; 2 requests left",
    ):
        Watch("mine", queues).at_end()


def test_a_running_request_that_is_left_is_named_as_well(queues):
    request = Request(3, 0, 4, 1)
    queues.waiting.append(request)
    assert queues.admit(request, 4)
    with pytest.raises(StarvationError, match=r"request 3, which runs: .*, 9 of 10 are free"):
        Watch("mine", queues).at_end()


def test_nothing_left_is_no_starvation(queues):
    Watch("mine", queues).at_end()


def test_requests_that_preempt_one_another_in_turn_are_reported_after_n_iterations(queues):
    watch = Watch("mine", queues, most_idle=4)
    one, two = Request(1, 0, 8, 1), Request(2, 0, 8, 1, num_preemptions=3)
    batch = [chunk(one, 0, 4)], [chunk(two, 0, 4)]
    for turn in range(2 + 3):  # the first two get further than ever
        watch.feed(batch[turn % 2])
    with pytest.raises(StarvationError, match=r"request 2, .*; 4 iterations .* preempted 3 times"):
        watch.feed(batch[1])


def test_a_token_or_a_prompt_that_gets_further_starts_the_count_anew(queues):
    watch = Watch("mine", queues, most_idle=2)
    one = Request(1, 0, 100, 1)
    watch.feed([chunk(one, 0, 4)])
    for end in range(5, 20):
        watch.feed([chunk(one, 0, 4)])
        watch.feed([chunk(one, 4, end)])
    watch.feed([chunk(one, 0, 4)])
    watch.feed([chunk(one, 0, 4), chunk(Request(2, 0, 1, 2), 0, 1, samples=True)])
    watch.feed([chunk(one, 0, 4)])
    watch.feed([])
    watch.feed([chunk(one, 0, 4)])
    with pytest.raises(StarvationError):
        watch.feed([chunk(one, 0, 4)])


def test_two_prompts_that_never_fit_together_are_a_livelock_of_a_bad_victim(bench, requests_of):
    """A policy that preempts whoever has come furthest never finishes: reported, not looped on."""
    kv = {"reserve": "chunk", "num_blocks": 1}
    run = bench("chunked_prefill", limits={"max_tokens": 4, "chunk_tokens": 2}, kv=kv, size=None)
    run.watch = Watch("bad", run.queues, most_idle=50)
    run.cache = KV_CACHES["paged"](run.cache.size.__class__(8, 0, 1), run.kv)
    run.queues.cache = run.cache
    run.queues.victim = lambda queues: max(
        (r for r in queues.running.values() if not r.in_flight),
        key=lambda r: r.computed_tokens,
        default=None,
    )
    with pytest.raises(StarvationError, match="scheduler bad starves request"):
        run.run(requests_of((0, 8, 1), (0, 8, 1)))
