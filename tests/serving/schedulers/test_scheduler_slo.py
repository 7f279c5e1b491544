"""SLO-aware priority, by hand; times in ms, iterations of 10 ms unless a test says otherwise."""

import pytest

from npusim.serving.request import Request
from npusim.serving.schedulers.pace import Pace

MS = 1_000_000_000


def in_ms(batches):
    return [(start // MS, batch) for start, batch in batches]


def ms(*rows):
    return [(arrival * MS, *rest) for arrival, *rest in rows]


def test_without_an_slo_the_most_urgent_class_goes_first(bench, requests_of):
    requests = requests_of(*ms((0, 4, 1, 1), (0, 4, 1, 2), (0, 4, 1, 0), (0, 4, 1, 1)))
    batches = bench("slo", time=10 * MS, limits={"max_tokens": 4}).run(requests)
    assert in_ms(batches) == [(0, {2: 4}), (10, {0: 4}), (20, {3: 4}), (30, {1: 4})]


def test_least_slack_first_a_long_prompt_before_a_short_one_that_came_earlier(bench, requests_of):
    """1 ms a token: at 4 ms, 1 has 104 - 10 - 4 ms to spare, 2 has 105 - 30 - 4."""
    requests = requests_of(*ms((0, 4, 1), (2, 10, 1), (3, 30, 1)))
    run = bench(
        "slo",
        time=lambda works: MS * sum(w.new_tokens for w in works),
        limits={"max_tokens": 30},
        slo={"ttft_ms": 102.0},
    )
    assert in_ms(run.run(requests)) == [(0, {0: 4}), (4, {2: 30}), (34, {1: 10})]


def test_who_is_late_goes_behind_those_that_can_still_make_it(bench, requests_of):
    requests = requests_of(*ms((0, 4, 1), (0, 4, 1), (0, 4, 1), (15, 4, 1)))
    run = bench("slo", time=10 * MS, limits={"max_tokens": 4}, slo={"ttft_ms": 22.0})
    # at 20, 2 would be out at 30, due at 22; 3 is due at 37
    assert in_ms(run.run(requests)) == [(0, {0: 4}), (10, {1: 4}), (20, {3: 4}), (30, {2: 4})]


def test_late_requests_move_up_a_class_and_do_not_starve(bench, requests_of):
    """Twice as many urgent requests as can be served: the one that is not urgent has its turn when
    it is late by 4 x 20 ms, at 100, as those of class 0 that are late, by less, are behind it."""
    urgent = [(5 * i, 4, 1, 0) for i in range(60)]
    requests = requests_of(*ms((0, 4, 1, 1), *urgent))
    run = bench("slo", time=10 * MS, limits={"max_tokens": 4}, slo={"ttft_ms": 20.0})
    run.run(requests)
    assert requests[0].finish_ps < 200 * MS
    strict = bench("slo", time=10 * MS, limits={"max_tokens": 4})
    requests = requests_of(*ms((0, 4, 1, 1), *urgent))
    strict.run(requests)
    assert requests[0].finish_ps == 610 * MS


def decodes_and_prompts_ps(works):
    """10 ms for decodes and 1 ms a prompt token."""
    prompt = sum(work.new_tokens for work in works if not work.decodes)
    decodes = any(work.decodes for work in works)
    return MS * (10 * decodes + prompt)


def test_prompts_are_cut_so_that_decodes_keep_their_tbt(bench, requests_of):
    """30 ms leave room for 20 tokens."""
    requests = requests_of(*ms((0, 4, 9), (12, 60, 1)))
    run = bench(
        "slo", time=decodes_and_prompts_ps, limits={"max_tokens": 100}, slo={"tbt_ms": 30.0}
    )
    batches = in_ms(run.run(requests))
    assert batches[:2] == [(0, {0: 4}), (4, {0: 1})]
    # at 14 the next token of 0 is due at 4 + 2 x 30: 50 ms, of which 40 for the prompt
    assert batches[2:5] == [(14, {0: 1, 1: 40}), (64, {0: 1, 1: 20}), (94, {0: 1})]
    gaps = [b - a for a, b in zip(requests[0].token_ps, requests[0].token_ps[1:], strict=False)]
    assert sum(gaps) / len(gaps) <= 30 * MS


def test_beside_a_late_decode_prompts_may_take_a_tbt(bench, requests_of):
    """At 4 ms it is not known yet what decodes take: the prompt gets all 30 ms, a token is late."""
    requests = requests_of(*ms((0, 4, 9), (3, 90, 1)))
    run = bench("slo", time=decodes_and_prompts_ps, slo={"tbt_ms": 30.0})
    batches = in_ms(run.run(requests))
    assert batches[1] == (4, {0: 1, 1: 30})
    # at 44 a prompt token is thought to take 1 + (40 / 30 - 1) / 4 ms; the next one is due at 64
    assert batches[2] == (44, {0: 1, 1: 27})


def test_a_tbt_that_cannot_be_kept_still_lets_prompts_go_on(bench, requests_of):
    requests = requests_of(*ms((0, 4, 30), (12, 64, 1)))
    run = bench("slo", time=10 * MS, slo={"tbt_ms": 5.0})
    batches = run.run(requests)
    assert [batch[1] for _, batch in batches if 1 in batch] == [16, 16, 16, 16]


def test_the_least_urgent_is_preempted_not_the_youngest(bench, requests_of, blocks_of):
    requests = requests_of((0, 4, 3, 1), (0, 4, 3, 0))
    batches = bench("slo", size=blocks_of(9)).run(requests)
    assert batches == [(0, {1: 4, 0: 4}), (10, {1: 1}), (20, {1: 1}), (30, {0: 5}), (40, {0: 1})]


def test_of_one_class_the_one_with_most_slack_is_preempted(bench, requests_of, blocks_of):
    """At 20 ms request 0 is a token ahead: its next one is due at 10 + 2 x 1000, 1's at 1020."""
    requests = requests_of(*ms((0, 4, 6), (5, 4, 3)))
    run = bench("slo", time=10 * MS, size=blocks_of(9), slo={"ttft_ms": 100.0, "tbt_ms": 1000.0})
    batches = in_ms(run.run(requests))
    assert batches[:5] == [
        (0, {0: 4}),
        (10, {0: 1, 1: 4}),
        (20, {1: 1}),
        (30, {1: 1}),
        (40, {0: 6}),
    ]
    assert [r.num_preemptions for r in requests] == [1, 0]


def test_a_waiting_prompt_without_room_does_not_stop_unfinished_ones(bench, requests_of, blocks_of):
    requests = requests_of((0, 8, 1, 1), (5, 6, 1, 0))
    run = bench("slo", size=blocks_of(9), limits={"max_tokens": 4})
    assert run.run(requests) == [(0, {0: 4}), (10, {0: 4}), (20, {1: 4}), (30, {1: 2})]


def work(new_tokens, decodes):
    class Row:
        pass

    row = Row()
    row.new_tokens, row.decodes = new_tokens, decodes
    return row


def test_pace_learns_decodes_and_what_a_prompt_token_adds():
    pace = Pace()
    assert pace.prompt_tokens(1000) is None
    assert pace.prompt_ps(10) == 0
    pace.observe([work(1, True)], 100)
    pace.observe([work(1, True), work(50, False)], 600)
    assert pace.prompt_ps(7) == 70
    assert pace.prompt_tokens(599) == 49
    assert pace.prompt_tokens(600) == 50
    assert pace.prompt_tokens(99) == 0
    pace.observe([work(1, True)], 140)
    assert pace.prompt_tokens(600) == 49  # decodes: 100 + (140 - 100) / 4


@pytest.mark.parametrize(("now_ms", "place"), [(1, (1, 0)), (2, (1, 1)), (4, (1, 1)), (5, (0, 1))])
def test_due_exactly_now_is_in_time_and_a_class_is_gained_after_four_ttft(bench, now_ms, place):
    run = bench("slo", slo={"ttft_ms": 1.0})
    run.scheduler._now_ps = now_ms * MS
    assert run.scheduler._rank(Request(0, 0, 4, 1, priority=1))[:2] == place
