"""Instances whose iterations take what a test says, without a chip → a ServeRun of its requests."""

from types import SimpleNamespace

import numpy as np
import pytest

from npusim.serve_trace import InstanceRow
from npusim.serving.iteration.transfer import TransferTimes
from npusim.serving.kv.cache import KvSize
from npusim.serving.request import Request
from npusim.serving.serve import Server
from npusim.serving.settle import Settled
from npusim.spec.serving import Kv, KvLink, Limits, Serving

BYTES_PER_TOKEN = 10
KV_LINK = KvLink(gb_s=0.01)  # a token a us


def one(role="both", *, time=10, pp=1, blocks=10**6, tokens=1, swap=0, ring=0, chip=0, tp=1,
        scheduler="chunked_prefill", limits=None, kv=None):  # fmt: skip
    """An instance as `rig` takes it: `time` is ps, ps of each stage, or a function of the works;
    room for `blocks` blocks of `tokens` tokens; `ring`: tokens in memory of a sram_ring."""
    kv = Kv(**{"watermark_fraction": 0.0, "reserve": "prompt", **(kv or {})})
    size = KvSize(blocks, 0, tokens, memory_tokens=ring, swap_blocks=swap)
    row = InstanceRow(
        role, role, chip, (), tp, pp, scheduler, blocks, tokens,
        kv_bytes_per_token=BYTES_PER_TOKEN,
    )  # fmt: skip
    settled = Settled(row, SimpleNamespace(hardware=SimpleNamespace(kernels=None)),
                      Limits(**(limits or {})), kv, size, share=None)  # fmt: skip
    return settled, time


class FakeTimings:
    """Times of each instance, by what a test says."""

    kind = "table"
    fidelity = None

    def __init__(self, setup, timed):
        self.timed = timed
        self.transfers = TransferTimes(setup)

    def of(self, settled, cache):
        time = next(time for own, time in self.timed if own is settled)
        stages = settled.row.pp

        def stage_ps(works):
            took = time(works) if callable(time) else time
            return took if isinstance(took, tuple) else (took,) * stages

        return stage_ps

    def facts(self):
        return {}


class Rig:
    """Serves `requests` on `instances` (of `one`). Every KV memory is checked after every
    iteration; at the end nothing is held, unless `finishes` is False."""

    def __init__(self, instances, *, layers=4, host_us=0.0, finishes=True, **serving):
        scenario = SimpleNamespace(
            serving=Serving(kv_link=KV_LINK, iteration="memo", host_us=host_us, **serving),
            seed=0, fidelity=None, engine="fast",
        )  # fmt: skip
        self.setup = SimpleNamespace(
            scenario=scenario, model=SimpleNamespace(num_layers=layers, max_positions=1 << 30),
            hardware=SimpleNamespace(name="none", chips=None, kernels=None),
        )  # fmt: skip
        self.timed = instances
        self.finishes = finishes
        self.batches = []  # (start_ps, instance, {request: new tokens}) as launched
        self.on_done = lambda instance: None

    def serve(self, requests):
        settled = [own for own, _ in self.timed]
        server = Server(self.setup, settled, requests, timings=FakeTimings(self.setup, self.timed))
        self.instances = server.cluster.instances
        for instance in self.instances:
            self._watch(instance)
        run = server.collect(server.run(), {})
        if self.finishes:
            self._check_end(server)
        return run

    def _watch(self, instance):
        launched, done = instance.on_launch, instance.on_done

        def on_launch(works, instance):
            launched(works, instance)
            news = {work.request.request_id: work.new_tokens for work in works}
            self.batches.append((int(instance.env.now), instance.index, news))
            assert instance.num_in_flight <= instance.settled.row.pp

        def on_done(instance):
            instance.queues.cache.check()
            done(instance)
            for other in self.instances:
                other.queues.cache.check()
            self.on_done(instance)

        instance.on_launch, instance.on_done = on_launch, on_done

    def _check_end(self, server):
        for instance in self.instances:
            assert not instance.queues.waiting and not instance.queues.running
            assert instance.queues.cache.held_blocks == 0 and instance.num_in_flight == 0
            assert instance.queues.cache.occupancy == 0
            instance.queues.cache.check()
        assert server.cluster.num_open == 0


def deal(*rows):
    """Requests 0, 1, … from (arrival_ps, prompt_tokens, output_tokens)."""
    return [Request(i, *row) for i, row in enumerate(rows)]


def poisson(rng, count, mean_gap_ps, prompt=(1, 60), output=(1, 20)):
    """Requests with exponential gaps and even lengths from … to (not including)."""
    arrivals = np.cumsum(rng.exponential(mean_gap_ps, count)).astype(int)
    return deal(*(
        (int(at), int(rng.integers(*prompt)), int(rng.integers(*output))) for at in arrivals
    ))  # fmt: skip


def per_token(run):
    """[[ps of each token], …] by request."""
    return [part.tolist() for part in np.split(run.token_ps, run.token_start[1:-1])]


@pytest.fixture
def rig():
    return Rig


@pytest.fixture
def instance_of():
    return one


@pytest.fixture
def serving_help():
    """deal(rows), poisson(rng, …), per_token(run)."""
    return SimpleNamespace(deal=deal, poisson=poisson, per_token=per_token)
