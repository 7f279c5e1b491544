"""Chunked prefill, by hand: iterations of 10 ps."""


def test_decodes_go_first_and_a_prompt_takes_the_tokens_they_leave(bench, requests_of):
    requests = requests_of((0, 3, 4), (1, 10, 2))
    batches = bench("chunked_prefill", limits={"max_tokens": 6}).run(requests)
    assert batches == [
        (0, {0: 3}),
        (10, {0: 1, 1: 5}),
        (20, {0: 1, 1: 5}),
        (30, {0: 1, 1: 1}),
    ]
    assert list(requests[0].token_ps) == [10, 20, 30, 40]
    assert list(requests[1].token_ps) == [30, 40]


def test_chunk_tokens_bound_a_prompt_so_that_others_share_the_iteration(bench, requests_of):
    requests = requests_of((0, 9, 1), (0, 3, 1))
    batches = bench("chunked_prefill", limits={"max_tokens": 8, "chunk_tokens": 4}).run(requests)
    assert batches == [(0, {0: 4, 1: 3}), (10, {0: 4}), (20, {0: 1})]


def test_the_youngest_is_preempted_and_none_is_admitted_in_that_iteration(
    bench, requests_of, blocks_of
):
    requests = requests_of((0, 4, 3), (0, 4, 3), (0, 2, 1))
    batches = bench("chunked_prefill", size=blocks_of(9)).run(requests)
    assert batches == [
        (0, {0: 4, 1: 4}),  # 8 of 9 blocks; request 2 needs 2
        (10, {0: 1}),  # takes the last one; 1 finds none and is preempted itself
        (20, {0: 1}),  # 6 blocks; 1 needs 5 now, and 2 does not overtake it
        (30, {1: 5, 2: 2}),
        (40, {1: 1}),
    ]
    assert [r.num_preemptions for r in requests] == [0, 1, 0]
    assert list(requests[1].token_ps) == [10, 40, 50]


def test_a_preempted_request_is_not_admitted_in_the_same_iteration(bench, requests_of, blocks_of):
    requests = requests_of((0, 4, 3), (0, 4, 3))
    limits, kv = {"chunk_tokens": 2}, {"reserve": "chunk"}
    batches = bench("chunked_prefill", size=blocks_of(9), limits=limits, kv=kv).run(requests)
    assert batches == [
        (0, {0: 2, 1: 2}),
        (10, {0: 2, 1: 2}),
        (20, {0: 1}),  # 1 is preempted; there would be room for its first chunk
        (30, {0: 1, 1: 2}),
        (40, {1: 2}),
        (50, {1: 1}),
        (60, {1: 1}),
    ]


def test_who_must_wait_for_kv_holds_up_all_behind_it(bench, requests_of, blocks_of):
    requests = requests_of((0, 8, 1), (1, 6, 1))
    run = bench(
        "chunked_prefill",
        stages=2,
        size=blocks_of(9),
        limits={"max_tokens": 5, "max_requests": 4},
        kv={"reserve": "chunk"},
    ).run(requests)
    assert run[:2] == [(0, {0: 5}), (5, {0: 3})]
    assert [(start, batch) for start, batch in run if 1 in batch] == [(15, {1: 5}), (20, {1: 1})]
