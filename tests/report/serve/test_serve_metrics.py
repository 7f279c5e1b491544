import math
import random
from itertools import pairwise

import numpy as np
import pytest
from serve_cases import (
    MS,
    done,
    instance,
    interrupted_run,
    iteration,
    make_run,
    move,
    rejected,
    small_run,
    unfinished,
)

from npusim.report.serve.instances import busy_ps, last_ps
from npusim.report.serve.metrics import distribution, request_times, serve_metrics, token_gaps_ps
from npusim.spec.serving import Slo


def percentile(values, percent):
    """Linear between the two nearest ranks, by hand."""
    ranked = sorted(values)
    at = percent / 100 * (len(ranked) - 1)
    low, part = math.floor(at), at - math.floor(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + part * (ranked[high] - ranked[low])


def test_latencies_of_two_requests():
    found = serve_metrics(small_run())
    assert found["ttft"] == {
        "count": 2,
        "mean_ps": 42_500_000_000,  # 30 and 55 ms
        "p50_ps": 42_500_000_000,
        "p90_ps": 52_500_000_000,
        "p99_ps": 54_750_000_000,
        "max_ps": 55 * MS,
    }
    assert found["tbt"]["count"] == 3  # 10, 10, 20 ms
    assert (found["tbt"]["p50_ps"], found["tbt"]["max_ps"]) == (10 * MS, 20 * MS)
    assert found["tpot"]["mean_ps"] == 15 * MS  # 10 and 20
    assert found["latency"]["mean_ps"] == (50 + 75) * MS // 2
    assert found["queueing"]["mean_ps"] == (10 + 25) * MS // 2


def test_throughput_is_by_the_makespan():
    found = serve_metrics(small_run())
    assert found["makespan_ps"] == 80 * MS
    assert found["output_tokens_s"] == pytest.approx(5 / 0.080)
    assert found["total_tokens_s"] == pytest.approx(155 / 0.080)
    assert found["requests_s"] == pytest.approx(2 / 0.080)
    assert found["output_tokens_per_mean_latency_s"] == pytest.approx(5 / 0.0625)
    assert found["prefix_hit_fraction"] == pytest.approx(25 / 150)


def test_the_makespan_begins_with_the_first_arrival():
    found = serve_metrics(make_run([done(100, 110, (120, 150))]))
    assert found["makespan_ps"] == 50 * MS


def test_parts_of_the_latency_add_up():
    run = small_run()
    times = request_times(run)
    parts = sum(times[f"{name}_ps"] for name in ("queueing", "prefill", "handover", "decode"))
    assert parts[:2].tolist() == times["latency_ps"][:2].tolist()
    assert times["handover_ps"][:2].tolist() == [5 * MS, 4 * MS]
    assert serve_metrics(run)["where"] == {
        "queueing_ps": 17_500_000_000,
        "prefill_ps": 25 * MS,
        "handover_ps": 4_500_000_000,
        "decode_ps": 15_500_000_000,
    }


def test_a_handover_beside_the_prefill_or_after_the_last_token_costs_no_more_than_there_is():
    requests = [done(0, 0, (30, 40)), done(0, 0, (30,))]
    moves = [move(0, 0, 1, 10, 28, 1), move(1, 0, 1, 30, 90, 1), move(0, 0, 0, 32, 39, 1, kind=1)]
    times = request_times(make_run(requests, transfers=moves))
    assert times["handover_ps"].tolist() == [0, 0]


def test_requests_are_counted_by_what_became_of_them():
    run = make_run(
        [done(0, 1, (2,)), rejected(0), unfinished(3), unfinished(4, (5, 6))], partial="x"
    )
    found = serve_metrics(run)
    names = ("count", "done", "rejected", "unfinished")
    assert [found["requests"][name] for name in names] == [4, 1, 1, 2]
    assert found["ttft"]["count"] == 1 and found["tbt"]["count"] == 0
    assert found["output_tokens"] == 1


@pytest.mark.parametrize(
    "requests", [[], [rejected(0)], [unfinished(0, (1, 2))], [done(0, 0, (0,))]]
)
def test_few_or_no_requests_give_none_not_an_error(requests):
    found = serve_metrics(make_run(requests), Slo(ttft_ms=1, tbt_ms=1))
    assert found["tbt"]["mean_ps"] is None and found["output_tokens_s"] is None
    assert found["goodput"]["requests_s"] is None


def test_no_instance_ran_an_iteration():
    (row,) = serve_metrics(make_run([done(0, 1, (2,))]))["instances"]
    assert row["mean_requests"] is None and row["kv_mean_fraction"] is None
    assert row["busy_fraction"] == 0


def test_goodput_needs_both_goals_of_a_request():
    goals = Slo(ttft_ms=30, tbt_ms=10)
    found = serve_metrics(small_run(), goals)["goodput"]
    assert found["requests"] == 1
    assert found["requests_s"] == pytest.approx(1 / 0.080)
    assert found["fraction"] == pytest.approx(1 / 3)  # the rejected one has missed them
    assert serve_metrics(small_run(), Slo(ttft_ms=29.999))["goodput"]["requests"] == 0
    assert serve_metrics(small_run(), Slo(tbt_ms=20))["goodput"]["requests"] == 2
    assert serve_metrics(small_run())["goodput"] is None


def test_requests_of_one_token_meet_any_goal_of_gaps():
    run = make_run([done(0, 0, (5,)), done(0, 0, (5, 9))])
    assert serve_metrics(run, Slo(tbt_ms=1))["goodput"]["requests"] == 1


def test_unfinished_requests_are_judged_unless_the_run_is_partial():
    requests = [done(0, 0, (5,)), unfinished(1)]
    assert serve_metrics(make_run(requests), Slo(ttft_ms=9))["goodput"]["fraction"] == 0.5
    partial = make_run(requests, partial="interrupted")
    assert serve_metrics(partial, Slo(ttft_ms=9))["goodput"]["fraction"] == 1.0


def test_instances_busy_batches_and_kv():
    first, second = serve_metrics(small_run())["instances"]
    assert (first["busy_ps"], first["busy_fraction"]) == (50 * MS, 50 / 80)
    assert (first["prefill_tokens"], first["max_waiting"]) == (125, 1)
    assert first["kv_mean_fraction"] == pytest.approx((50 * 20 + 30 * 30) / 50 / 100)
    assert (first["kv_peak_blocks"], first["kv_peak_fraction"]) == (50, 0.5)
    assert first["prefix_hit_fraction"] == pytest.approx(25 / 150)
    assert (second["busy_ps"], second["decodes"], second["preemptions"]) == (25 * MS, 3, 1)
    assert second["kv_peak_fraction"] == 0.8 and second["prefix_hit_fraction"] is None


def test_pipelined_iterations_count_their_union():
    assert busy_ps(np.array([0, 2, 3, 10]), np.array([6, 4, 8, 12])) == 10
    run = make_run([done(0, 0, (8,))], [iteration(0, 6, kv_blocks=10), iteration(4, 8)])
    (row,) = serve_metrics(run)["instances"]
    assert row["busy_fraction"] == 1.0
    assert row["kv_mean_fraction"] == pytest.approx(10 * 4 / 8 / 100)


def test_time_with_full_kv_memory_and_requests_that_wait():
    rows = [
        iteration(0, 3, kv_blocks=90, waiting=1),
        iteration(3, 4, kv_blocks=89, waiting=1),
        iteration(4, 10, kv_blocks=100, waiting=0),
    ]
    (row,) = serve_metrics(make_run([done(0, 0, (10,))], rows))["instances"]
    assert row["kv_full_fraction"] == 0.3


def test_roles_sum_and_weigh_their_instances():
    instances = [
        instance("p0", "prefill", (0,)),
        instance("d0", "decode", (1, 2, 3)),
        instance("d1", "decode", (4,)),
    ]
    rows = [
        iteration(0, 10, instance=0, prefill_tokens=5, requests=2),
        iteration(0, 5, instance=1, decodes=4, requests=4),
        iteration(0, 10, instance=2, decodes=1, requests=1),
    ]
    run = make_run([done(0, 0, (10,))], rows, instances=instances)
    prefill, decode = serve_metrics(run)["roles"]
    assert (prefill["role"], prefill["num_cores"], prefill["busy_fraction"]) == ("prefill", 1, 1.0)
    assert (decode["num_instances"], decode["num_cores"], decode["decodes"]) == (2, 4, 5)
    assert decode["busy_fraction"] == pytest.approx((0.5 * 3 + 1.0) / 4)
    assert decode["mean_requests"] == 2.5


def test_moves_by_kind():
    run = make_run(
        [done(0, 0, (1,))],
        transfers=[
            move(0, 0, 1, 0, 2, 4_000_000),
            move(0, 0, 1, 5, 9, 2_000_000),
            move(0, 1, 1, 1, 2, 8, kind=2),
        ],
    )
    assert serve_metrics(run)["transfers"] == [
        {
            "kind": "transfer",
            "count": 2,
            "bytes": 6_000_000,
            "mean_ps": 3 * MS,
            "max_ps": 4 * MS,
            "mean_gb_s": 1.0,
        },
        {
            "kind": "swap_in",
            "count": 1,
            "bytes": 8,
            "mean_ps": MS,
            "max_ps": MS,
            "mean_gb_s": pytest.approx(8e-6),
        },
    ]


@pytest.fixture(scope="module")
def random_run():
    draw = random.Random(7)
    requests = []
    for _ in range(200):
        at, tokens = draw.randint(0, 1000), []
        at_token = at + draw.randint(1, 50)
        for _ in range(draw.randint(1, 12)):
            at_token += draw.randint(1, 30)
            tokens.append(at_token)
        kind = draw.random()
        requests.append(
            done(at, at + 1, tuple(tokens))
            if kind < 0.8
            else rejected(at)
            if kind < 0.9
            else unfinished(at, tuple(tokens))
        )
    return make_run(sorted(requests, key=lambda row: row["arrival_ps"])), requests


def test_pooled_gaps_and_percentiles_against_a_loop(random_run):
    run, requests = random_run
    ended = [row["tokens"] for row in requests if row["status"] == 1]
    gaps = [(b - a) * MS for tokens in ended for a, b in pairwise(tokens)]
    assert sorted(token_gaps_ps(run, run.requests["status"] == 1).tolist()) == sorted(gaps)
    found = serve_metrics(run)["tbt"]
    assert found["count"] == len(gaps)
    assert found["mean_ps"] == round(sum(gaps) / len(gaps))
    for percent in (50, 90, 99):
        assert found[f"p{percent}_ps"] == pytest.approx(percentile(gaps, percent), abs=1)


def test_goodput_against_a_loop(random_run):
    run, requests = random_run
    good = 0
    for row in requests:
        tokens = row["tokens"]
        if row["status"] == 1 and (tokens[0] * MS - row["arrival_ps"]) <= 40 * MS:
            mean = (tokens[-1] - tokens[0]) / max(1, len(tokens) - 1)
            good += mean <= 15.5
    assert 0 < good < len(requests)
    assert serve_metrics(run, Slo(ttft_ms=40, tbt_ms=15.5))["goodput"]["requests"] == good


def test_a_distribution_of_one_value():
    assert set(distribution(np.array([7])).values()) == {1, 7}


def test_a_second_handover_after_a_preemption_is_part_of_decode():
    requests = [done(0, 0, (10, 90))]
    moves = [move(0, 0, 1, 10, 15, 1), move(0, 0, 1, 70, 80, 1)]
    assert request_times(make_run(requests, transfers=moves))["handover_ps"].tolist() == [5 * MS]


def test_an_iteration_under_way_when_a_run_was_interrupted():
    run = interrupted_run()
    found = serve_metrics(run)
    assert last_ps(run) == 10 * MS and found["makespan_ps"] == 10 * MS
    (row,) = found["instances"]
    assert (row["num_iterations"], row["busy_fraction"]) == (3, 1.0)
    assert row["kv_mean_fraction"] == pytest.approx((2 * 4 + 3 * 6) / 10 / 100)
