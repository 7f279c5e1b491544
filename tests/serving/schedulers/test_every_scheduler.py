"""Laws of all schedulers: all finish, tokens are conserved, limits are kept, no block is lost."""

import numpy as np
import pytest

from npusim.serving.kv.blocks import KvSize
from npusim.serving.request import Request
from npusim.serving.schedulers import SCHEDULERS

LIMITS = {"max_requests": 12, "max_tokens": 24, "batch_size": 5, "wait_ms": 1e-6}
SLO = {"ttft_ms": 2e-6, "tbt_ms": 3e-8}  # 2,000 and 30 ps: some are late, some are not
KVS = [
    {},
    {"preemption": "swap"},
    {"prefix_cache": True},
    {"reserve": "chunk"},
    {"reserve": "output"},
    {"prefix_cache": True, "preemption": "swap", "reserve": "chunk"},
    {"layout": "sram_ring"},
]


def traffic(seed, count=60):
    """Requests in bursts, some longer than an iteration, half of them with a common prefix."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.integers(0, 40, count) * (rng.random(count) < 0.5))
    return [
        Request(
            i,
            int(arrivals[i]),
            int(rng.integers(1, 60)),
            int(rng.integers(1, 20)),
            prefix=(7, 8 + i % 4) if i % 2 else (),
            prefix_block_tokens=12,
            priority=i % 3,
        )
        for i in range(count)
    ]


class Audit:
    """Checks every batch when it is chosen, and all requests at the end."""

    def __init__(self, run, requests):
        self.run = run
        self.requests = requests
        self.computed = dict.fromkeys(range(len(requests)), 0)

    def batch(self, works):
        ids = [work.request.request_id for work in works]
        limits, stages = self.run.limits, self.run.stages
        assert len(set(ids)) == len(ids), "a request is twice in a batch"
        assert sum(work.new_tokens for work in works) <= limits.max_tokens
        assert len(ids) <= -(-limits.max_requests // stages)
        assert len(self.run.queues.running) <= limits.max_requests
        assert not {r.request_id for r in self.run.queues.waiting} & set(ids)
        for work in works:
            request = work.request
            assert 1 <= work.new_tokens == request.computed_tokens - work.context_tokens
            assert request.computed_tokens <= request.known_tokens
            assert work.samples == (request.computed_tokens == request.known_tokens)
            self.computed[request.request_id] += work.new_tokens

    def end(self):
        for request in self.requests:
            assert request.generated_tokens == len(request.token_ps) == request.output_tokens
            assert list(request.token_ps) == sorted(set(request.token_ps))
            assert request.arrival_ps < request.token_ps[0]
            assert request.finish_ps == request.token_ps[-1]
            assert request.in_flight == 0 and not request.swapped
            least = request.most_tokens - request.cached_tokens
            computed = self.computed[request.request_id]
            assert computed >= least if request.num_preemptions else computed == least
        assert not self.run.queues.running and not self.run.queues.waiting
        assert self.run.cache.held_blocks == 0


def time_ps(works):
    return 6 + sum(work.new_tokens for work in works)


@pytest.mark.parametrize("stages", [1, 3])
@pytest.mark.parametrize("kv", KVS, ids=lambda kv: " ".join(f"{k}={v}" for k, v in kv.items()))
@pytest.mark.parametrize("name", SCHEDULERS)
def test_all_requests_finish_within_the_limits(bench, name, kv, stages):
    preemptions = 0
    for seed in range(2):
        ring = kv.get("layout") == "sram_ring"
        size = KvSize(22, 0, 4, 200, 0) if ring else KvSize(22, 0, 4, 0, 30)
        options = {"size": size, "kv": kv, "limits": LIMITS, "slo": SLO, "stages": stages}
        run, requests = bench(name, time=time_ps, **options), traffic(seed)
        audit = Audit(run, requests)
        run.on_batch = audit.batch
        run.run(requests)
        audit.end()
        preemptions += run.queues.num_preemptions
    never = kv.get("reserve") == "output" or ring
    assert (preemptions == 0) if never else (preemptions > 0 or name == "budgeted_fusion")


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_same_traffic_gives_the_same_batches(bench, name):
    options = {"time": time_ps, "size": KvSize(22, 0, 4), "limits": LIMITS, "slo": SLO}
    one, two = (bench(name, **options).run(traffic(1)) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_iteration_is_never_empty_while_a_request_could_run(bench, name):
    """With one request there is always something to do from its arrival to its end."""
    run = bench(name, limits={"max_tokens": 8, "chunk_tokens": 8})
    batches = run.run([Request(0, 5, 20, 4)])
    assert [start for start, _ in batches] == [5, 15, 25, 35, 45, 55]
    assert [batch[0] for _, batch in batches] == [8, 8, 4, 1, 1, 1]
