import pytest
from serve_cases import (
    MS,
    done,
    instance,
    iteration,
    make_run,
    move,
    rejected,
    setup,
    small_run,
    unfinished,
)

from npusim.report.serve.metrics import serve_metrics
from npusim.report.serve.result import serve_result
from npusim.report.serve.sentence import LEVERS
from npusim.report.serve.summary import summarize_serve
from npusim.spec.serving import Slo

TWO = [instance("p", "prefill", (0,)), instance("d", "decode", (1,))]


def summary_of(run, slo=None, **serving):
    return summarize_serve(serve_result(setup(**serving), run, serve_metrics(run, slo)))


def table(summary, title):
    (found,) = [t for t in summary.tables if t.title.startswith(title)]
    return {row[0].strip(): row[1:] for row in found.rows}


def case(part):
    """One request whose latency is mostly `part`, and its iterations."""
    tokens = {
        "queueing": done(0, 90, (95, 99)),
        "prefill": done(0, 0, (90, 99)),
        "handover": done(0, 0, (10, 99), decode_instance=1),
        "decode": done(0, 0, (10, 99)),
    }[part]
    moves = [move(0, 0, 1, 10, 90, 5)] if part == "handover" else []
    return make_run([tokens], [iteration(0, 99, requests=1)], moves, TWO)


@pytest.mark.parametrize(
    ("part", "title"),
    [
        ("queueing", "Queue-bound: 91 % of the mean latency of 99.000 ms is queueing"),
        ("prefill", "Prefill-bound: 91 %"),
        ("handover", "Transfer-bound: 81 %"),
        ("decode", "Decode-bound: 90 %"),
    ],
)
def test_the_longest_part_of_the_latency_binds(part, title):
    sentence = summary_of(case(part)).sentence
    assert sentence.startswith(title)
    assert "; prefill was busy 100 %, decode 0.0 % of the makespan. Lever: " in sentence


@pytest.mark.parametrize("part", LEVERS)
def test_every_part_has_a_lever(part):
    assert summary_of(case(part)).sentence.endswith(".")


@pytest.mark.parametrize(
    ("serving", "rows", "lever"),
    [
        ({"limits": {"max_requests": 4}}, {"requests": 4}, "batches are full at 4 requests"),
        ({}, {"requests": 4}, "more instances"),
    ],
)
def test_levers_of_a_queue(serving, rows, lever):
    run = make_run([done(0, 90, (95, 99))], [iteration(0, 99, **rows)])
    assert lever in summary_of(run, **serving).sentence


def test_idle_decode_has_room_for_more():
    run = make_run([done(0, 0, (10, 99))], [iteration(0, 30, requests=1)])
    assert "there is room for more requests" in summary_of(run).sentence


def test_kv_memory_binds_when_requests_are_preempted():
    sentence = summary_of(small_run(), Slo(ttft_ms=30, tbt_ms=10)).sentence
    assert sentence.startswith("KV-bound: 33 % of requests were preempted")
    assert "33 % of requests meet TTFT <= 30 ms and mean TBT <= 10 ms" in sentence


@pytest.mark.parametrize(("share", "binds"), [(50, False), (51, True)])
def test_kv_memory_binds_when_requests_wait_for_it_most_of_the_time(share, binds):
    rows = [
        iteration(0, share, requests=1, waiting=1, kv_blocks=95),
        iteration(share, 100, requests=1),
    ]
    run = make_run([done(0, 0, (10, 100))], rows)
    assert summary_of(run).sentence.startswith("KV-bound") == binds
    cached = summary_of(run, kv={"prefix_cache": True}).sentence
    assert not cached.startswith("KV-bound")  # its blocks can be taken at any time


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ([], "Nothing was served: there are no requests."),
        ([rejected(0), unfinished(1)], "No request was done: 1 rejected, 1 unfinished of 2."),
    ],
)
def test_nothing_done_is_said(requests, text):
    summary = summary_of(make_run(requests), Slo(ttft_ms=1))
    assert summary.sentence == text
    assert table(summary, "Served")["done"] == ["0"]


def test_a_partial_run_says_so_first():
    assert summary_of(small_run(partial="interrupted")).sentence.startswith(
        "Partial (interrupted). KV"
    )


def test_tables_say_what_the_metrics_say():
    summary = summary_of(small_run(notes=["a note"]), Slo(ttft_ms=30))
    served = table(summary, "Served")
    assert served["output tokens"] == ["5 (62.5/s)"]
    assert served["iterations"] == ["5, timed by table"]
    assert served["goodput"] == ["1 requests, 33 % (12.500/s)"]
    assert table(summary, "Latencies")["TTFT"][0] == "42.500 ms"
    assert table(summary, "Where")["handover of KV to decode"] == ["4.500 ms", "7.2 %"]
    assert table(summary, "Instances")["decode0"][1] == "31 %"
    assert table(summary, "Moves of KV")["transfer"][:2] == ["2", "2.34 KiB"]
    assert summary.notes == ["a note"]


def test_many_instances_are_cut_and_summed_by_role():
    instances = [instance(f"p{i}", "prefill", (i,)) for i in range(14)]
    run = make_run([done(0, 0, (10,))], [iteration(0, 5, instance=3)], instances=instances)
    assert run.requests["finish_ps"][0] == 10 * MS
    summary = summary_of(run)
    assert len(table(summary, "Instances (14, 12 shown)")) == 12
    assert table(summary, "Roles")["prefill (14)"][0] == "14"


@pytest.mark.parametrize(
    ("rows", "serving", "lever"),
    [
        ({}, {}, "moves wait for one another"),
        ({"kv_blocks": 95}, {}, "decode has no room for more KV"),
        ({"requests": 8}, {"limits": {"max_requests": 8}}, "decode batches are full at 8"),
    ],
)
def test_levers_of_kv_that_waits_longer_than_it_moves(rows, serving, lever):
    moves = [move(0, 0, 1, 80, 90, 5)]
    iterations = [iteration(0, 99, instance=1, **rows)]
    run = make_run([done(0, 0, (10, 99), decode_instance=1)], iterations, moves, TWO)
    instances = [{"role": "prefill"}, {"role": "decode"} | serving]
    assert lever in summary_of(run, instances=instances).sentence


def test_where_nothing_moves_there_is_no_handover():
    summary = summary_of(make_run([done(0, 0, (10, 20))]))
    assert list(table(summary, "Where")) == ["queueing before the first batch", "prefill", "decode"]


@pytest.mark.parametrize(
    ("most", "lever"), [(17, "batches have 4.0 requests of at most 17"), (16, "more instances")]
)
def test_small_batches_have_room_for_more(most, lever):
    run = make_run([done(0, 0, (10, 99))], [iteration(0, 99, requests=4)])
    assert lever in summary_of(run, limits={"max_requests": most}).sentence


@pytest.mark.parametrize(
    ("most", "lever"), [(68, "batches have 4.0 requests of at most 17"), (64, "more instances")]
)
def test_a_batch_of_an_instance_with_stages_may_have_a_share(most, lever):
    run = make_run([done(0, 0, (10, 99))], [iteration(0, 99, requests=4)])
    staged = [{"role": "both", "parallel": {"pp": 4}}]
    assert lever in summary_of(run, instances=staged, limits={"max_requests": most}).sentence


def test_batches_of_an_instance_with_stages_are_full_at_a_share():
    run = make_run([done(0, 90, (95, 99))], [iteration(0, 99, requests=4)])
    staged = [{"role": "both", "parallel": {"pp": 2}}]
    sentence = summary_of(run, instances=staged, limits={"max_requests": 8}).sentence
    assert "batches are full at 4 requests" in sentence
