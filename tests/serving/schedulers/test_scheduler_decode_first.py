"""Continuous batching with decodes first, by hand: iterations of 10 ps."""


def test_whole_prompts_join_the_decodes_with_the_tokens_left(bench, requests_of):
    requests = requests_of((0, 4, 4), (5, 4, 2), (5, 4, 1))
    batches = bench("decode_first", limits={"max_tokens": 8}).run(requests)
    assert batches == [
        (0, {0: 4}),
        (10, {0: 1, 1: 4}),  # 3 tokens are left: less than prompt 2
        (20, {0: 1, 1: 1, 2: 4}),
        (30, {0: 1}),
    ]
    assert list(requests[0].token_ps) == [10, 20, 30, 40]


def test_a_prompt_longer_than_what_decodes_leave_takes_that_in_each_iteration(bench, requests_of):
    requests = requests_of((0, 3, 4), (5, 12, 1), (5, 2, 1))
    batches = bench("decode_first", limits={"max_tokens": 8}).run(requests)
    assert batches == [
        (0, {0: 3}),
        (10, {0: 1, 1: 7}),
        (20, {0: 1, 1: 5, 2: 2}),
        (30, {0: 1}),
    ]


def test_when_decodes_leave_nothing_prompts_start_as_soon_as_one_ends(bench, requests_of):
    requests = requests_of((0, 1, 2), (0, 1, 3), (5, 2, 1))
    batches = bench("decode_first", limits={"max_tokens": 2}).run(requests)
    assert batches == [
        (0, {0: 1, 1: 1}),
        (10, {0: 1, 1: 1}),
        (20, {1: 1, 2: 1}),
        (30, {2: 1}),
    ]


def test_a_decode_goes_before_an_unfinished_prompt_that_was_admitted_earlier(bench, requests_of):
    run = bench("decode_first", limits={"max_tokens": 4})
    prompt, decode = requests_of((0, 9, 1), (0, 5, 3))
    for request in (prompt, decode):
        run.queues.waiting.append(request)
        assert run.queues.admit(request, 5)
    decode.computed_tokens, decode.generated_tokens = 5, 1
    works = run.scheduler.next_batch(0)
    assert [(work.request, work.new_tokens) for work in works] == [(decode, 1), (prompt, 3)]
