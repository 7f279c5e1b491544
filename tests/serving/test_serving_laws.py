"""Laws of serving: tokens are conserved, queues wait as they must, no block is lost."""

import numpy as np
import pytest
from law_cases import lindley_waits, mean_and_error, poisson_ticks

from npusim.serve_trace import DONE
from npusim.serving.request import Request
from npusim.serving.routing import ROUTERS
from npusim.serving.schedulers import SCHEDULERS

KVS = {
    "recompute": {},
    "swap": {"preemption": "swap"},
    "prefix": {"prefix_cache": True},
    "chunk": {"reserve": "chunk"},
    "output": {"reserve": "output"},
    "all": {"prefix_cache": True, "preemption": "swap", "reserve": "chunk"},
    "ring": {"layout": "sram_ring"},
}
LIMITS = {"max_requests": 8, "max_tokens": 48, "batch_size": 4, "wait_ms": 1e-6}
US = 1_000_000


def traffic(seed, count=36, mean_gap=60 * US):
    """Requests in bursts, half of them with a common prefix; all fit 90 tokens."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(mean_gap, count) * (rng.random(count) < 0.5)).astype(int)
    return [
        Request(
            i, int(arrivals[i]), int(rng.integers(1, 60)), int(rng.integers(1, 25)),
            prefix=(7, 8 + i % 4) if i % 2 else (), prefix_block_tokens=12, priority=i % 3,
        )
        for i in range(count)
    ]  # fmt: skip


def layouts(instance_of, name, kv, pp):
    """Of one kind, and prefill apart from decode; hardly room for two requests."""
    tight = {"blocks": 30, "tokens": 4, "swap": 100, "ring": 180 if kv.get("layout") else 0}
    common = {"scheduler": name, "kv": kv, "limits": LIMITS, "pp": pp, **tight}
    time = lambda works: (3 * US + 100_000 * sum(work.new_tokens for work in works)) // pp  # noqa: E731
    make = lambda role: instance_of(role, time=time, **common)  # noqa: E731
    return {
        "fused": [make("both"), make("both")],
        "divided": [make("prefill"), make("decode"), make("prefill"), make("decode")],
    }


def check_tokens(run, requests):
    columns = run.requests
    assert (columns["status"] == DONE).all()
    assert (columns["generated_tokens"] == columns["output_tokens"]).all()
    assert np.diff(run.token_start).tolist() == columns["output_tokens"].tolist()
    for request in requests:
        tokens = request.token_ps.tolist()
        assert tokens == sorted(set(tokens)) and tokens[0] > request.scheduled_ps
        assert request.arrival_ps <= request.scheduled_ps and request.in_flight == 0


def check_work(run):
    """What iterations computed is what requests needed, unless some lost their KV."""
    columns = run.requests
    least = columns["prompt_tokens"] - columns["cached_tokens"]
    least = least + columns["output_tokens"] - 1
    done = run.iterations["prefill_tokens"].sum() + run.iterations["decodes"].sum()
    assert done >= least.sum()
    if not columns["preemptions"].any():
        assert done == least.sum()


@pytest.mark.parametrize("kv", KVS)
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("layout", ["fused", "divided"])
def test_no_block_is_lost_and_all_tokens_come(rig, instance_of, name, kv, layout):
    """The rig checks every KV memory after every iteration, and that nothing is left."""
    for pp, transfer in ((1, "whole"), (2, "layer")):
        instances = layouts(instance_of, name, KVS[kv], pp)[layout]
        requests = traffic(pp)
        run = rig(instances, transfer=transfer, slo={"ttft_ms": 0.05}).serve(requests)
        check_tokens(run, requests)
        check_work(run)


@pytest.mark.parametrize("routing", ROUTERS)
@pytest.mark.parametrize("layout", ["fused", "divided"])
def test_a_run_repeats_byte_by_byte(rig, instance_of, routing, layout):
    def one_run():
        instances = layouts(instance_of, "chunked_prefill", KVS["all"], 2)[layout]
        return rig(instances, routing=routing).serve(traffic(9))

    first, second = one_run(), one_run()
    assert first.token_ps.tobytes() == second.token_ps.tobytes()
    for table in ("requests", "iterations", "transfers"):
        one, two = getattr(first, table), getattr(second, table)
        assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in two.items()}


@pytest.mark.parametrize("routing", ROUTERS)
def test_loads_are_those_of_the_requests_that_are_there(rig, instance_of, routing):
    """What is counted as requests go on is what a count of them all gives."""
    instances = layouts(instance_of, "chunked_prefill", KVS["all"], 1)["fused"]
    bench = rig(instances, routing=routing)

    def check(instance):
        queues = instance.queues
        there = [*queues.waiting, *queues.running.values()]
        if not any(request.in_flight for request in there):
            assert instance.load.tokens == sum(max(1, r.remaining_tokens) for r in there)

    bench.on_done = check
    bench.serve(traffic(4))
    assert [instance.load.tokens for instance in bench.instances] == [0, 0]


# ---- an independent loop ------------------------------------------------------------------------


def by_hand(requests, time_ps, max_tokens, max_requests, prompts_first):
    """Per-token times of one instance with iterations of `time_ps` and room for everything."""
    state = {r.request_id: [r.prompt_tokens, 0, []] for r in requests}  # to compute, out, times
    waiting, running, now = list(requests), [], 0
    while waiting or running:
        now = max(now, waiting[0].arrival_ps) if not running else now
        arrived = [r for r in waiting if r.arrival_ps <= now]
        left, batch = max_tokens, []
        old = [] if prompts_first else running
        for request in old:
            new = min(state[request.request_id][0], left)
            if new:
                batch.append((request, new))
                left -= new
        for request in arrived:
            need = request.prompt_tokens
            if len(running) >= max_requests or not left or (prompts_first and need > left):
                break
            batch.append((request, min(need, left)))
            left -= min(need, left)
            running = [*running, request]
            waiting.remove(request)
        if not batch:
            batch = [(request, 1) for request in running]
        now += time_ps
        for request, new in batch:
            own = state[request.request_id]
            own[0] -= new
            if not own[0]:
                own[0], own[1] = 1, own[1] + 1
                own[2].append(now)
                if own[1] == request.output_tokens:
                    running = [r for r in running if r is not request]
    return [state[r.request_id][2] for r in requests]


@pytest.mark.parametrize("name", ["chunked_prefill", "prefill_first"])
@pytest.mark.parametrize("seed", range(6))
def test_tokens_come_when_a_plain_loop_says(rig, instance_of, serving_help, name, seed):
    """Arrivals have residues of their own, so that none is at the end of an iteration."""
    rng = np.random.default_rng(seed)
    time, count = 1_000_000, 80
    gaps = rng.integers(0, 4, count) * time
    residues = rng.permutation(count) * 1000 + 1
    arrivals = np.sort(np.cumsum(gaps) + residues).tolist()
    rows = [(at, int(rng.integers(1, 60)), int(rng.integers(1, 12))) for at in arrivals]
    requests = serving_help.deal(*rows)
    limits = {"max_tokens": 64, "max_requests": 10}
    run = rig([instance_of(time=time, scheduler=name, limits=limits)]).serve(requests)
    expected = by_hand(requests, time, 64, 10, name == "prefill_first")
    assert serving_help.per_token(run) == expected


# ---- queues -------------------------------------------------------------------------------------


def one_server(rig, instance_of, arrivals, service, count=1, **serving):
    """Requests of one token each that are served one at a time."""
    instances = [instance_of(time=service, limits={"max_requests": 1}) for _ in range(count)]
    requests = [Request(i, int(at), 1, 1) for i, at in enumerate(arrivals)]
    return rig(instances, **serving).serve(requests)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_at_a_time_is_an_m_d_1_queue(rig, instance_of, load):
    """Waits follow Lindley's recursion to the ps, and their mean is rho S / 2 (1 - rho)."""
    service = 10_000
    arrivals = poisson_ticks(np.random.default_rng(3), service / load, 6_000)
    run = one_server(rig, instance_of, arrivals, service)
    waits = run.requests["scheduled_ps"] - run.requests["arrival_ps"]
    assert (waits == lindley_waits(arrivals, service)).all()
    mean, error = mean_and_error(waits)
    assert abs(mean - load * service / (2 * (1 - load))) < 4 * error


def test_in_turn_is_a_queue_each(rig, instance_of):
    arrivals = poisson_ticks(np.random.default_rng(3), 4000, 2000)
    run = one_server(rig, instance_of, arrivals, 10_000, count=3)
    waits = run.requests["scheduled_ps"] - run.requests["arrival_ps"]
    for turn in range(3):
        assert (waits[turn::3] == lindley_waits(arrivals[turn::3], 10_000)).all()


def test_the_least_loaded_is_never_worse_than_in_turn(rig, instance_of):
    """Jobs of very different lengths, each alone: the queue with least work left is shorter."""
    means = {}
    for routing in ("round_robin", "least_loaded"):
        rng = np.random.default_rng(3)
        arrivals = poisson_ticks(rng, 4500, 2000).tolist()
        lengths = np.where(rng.random(2000) < 0.1, 91, 1).tolist()  # mean 10
        time = lambda works: 1000 * works[0].new_tokens  # noqa: E731
        instances = [instance_of(time=time, limits={"max_requests": 1}) for _ in range(3)]
        requests = [
            Request(i, *row, 1) for i, row in enumerate(zip(arrivals, lengths, strict=True))
        ]
        run = rig(instances, routing=routing).serve(requests)
        means[routing] = (run.requests["scheduled_ps"] - run.requests["arrival_ps"]).mean()
    assert means["least_loaded"] < 0.7 * means["round_robin"]


def test_little(rig, instance_of, serving_help):
    """The number of requests in the system over time, added up, is the sum of their latencies."""
    requests = serving_help.poisson(np.random.default_rng(2), 300, 40_000)
    run = rig([instance_of(time=10_000, limits={"max_requests": 4})]).serve(requests)
    arrivals, ends = run.requests["arrival_ps"], run.requests["finish_ps"]
    events = sorted([(at, 1) for at in arrivals.tolist()] + [(at, -1) for at in ends.tolist()])
    area = number = last = 0
    for at, by in events:
        area, number, last = area + number * (at - last), number + by, at
    assert number == 0
    assert area == int((ends - arrivals).sum())
    horizon, rate = last, len(requests) / last
    assert area / horizon == pytest.approx(rate * (ends - arrivals).mean())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_run_takes_at_least_its_work(rig, instance_of, serving_help, count):
    """Iterations one after the other on each instance: their times add up to what it was busy."""
    requests = serving_help.poisson(np.random.default_rng(count), 100, 2000)
    time = lambda works: 1000 + 10 * sum(work.new_tokens for work in works)  # noqa: E731
    run = rig([instance_of(time=time) for _ in range(count)]).serve(requests)
    took = run.iterations["end_ps"] - run.iterations["start_ps"]
    tokens = run.iterations["prefill_tokens"] + run.iterations["decodes"]
    assert (took == 1000 + 10 * tokens).all()
    makespan = run.token_ps.max() - run.requests["arrival_ps"].min()
    assert makespan >= took.sum() / count
    for index in range(count):
        own = run.iterations["instance"] == index
        starts, ends = run.iterations["start_ps"][own], run.iterations["end_ps"][own]
        assert (starts[1:] >= ends[:-1]).all()


@pytest.mark.parametrize("pp", [1, 3])
def test_no_gap_is_shorter_than_the_fastest_iteration(rig, instance_of, serving_help, pp):
    requests = serving_help.poisson(np.random.default_rng(pp), 100, 3000)
    time = lambda works: (1000 + 10 * sum(work.new_tokens for work in works)) // pp  # noqa: E731
    run = rig([instance_of(time=time, pp=pp)]).serve(requests)
    fastest = (run.iterations["end_ps"] - run.iterations["start_ps"]).min()
    for request in requests:
        gaps = np.diff([request.scheduled_ps, *request.token_ps])
        assert (gaps >= fastest).all()


@pytest.mark.parametrize("pp", [1, 2])
def test_faster_iterations_never_hurt_one_request(rig, instance_of, serving_help, pp):
    ends = []
    for time in (500, 400, 100, 1):
        run = rig([instance_of(time=time, pp=pp, limits={"max_tokens": 32})]).serve(
            serving_help.deal((7, 100, 20))
        )
        ends.append(int(run.token_ps[-1]))
    assert ends == sorted(set(ends), reverse=True)


@pytest.mark.parametrize("host_us", [0.0, 2.5])
def test_the_host_is_part_of_every_iteration(rig, instance_of, serving_help, host_us):
    run = rig([instance_of(time=10_000)], host_us=host_us).serve(serving_help.deal((0, 4, 5)))
    assert run.token_ps.tolist() == [round(10_000 + host_us * US) * (i + 1) for i in range(5)]
