"""Continuous batching with prompts first, by hand: iterations of 10 ps."""


def test_prompts_interrupt_decodes(bench, requests_of):
    requests = requests_of((0, 4, 4), (5, 4, 2), (15, 3, 2))
    batches = bench("prefill_first", limits={"max_tokens": 8}).run(requests)
    assert batches == [
        (0, {0: 4}),
        (10, {1: 4}),
        (20, {2: 3}),
        (30, {0: 1, 1: 1, 2: 1}),
        (40, {0: 1}),
        (50, {0: 1}),
    ]
    assert list(requests[0].token_ps) == [10, 40, 50, 60]


def test_only_whole_prompts_join_in_order(bench, requests_of):
    requests = requests_of((0, 5, 1), (0, 4, 1), (0, 3, 1))
    batches = bench("prefill_first", limits={"max_tokens": 8}).run(requests)
    assert batches == [(0, {0: 5}), (10, {1: 4, 2: 3})]


def test_a_prompt_longer_than_an_iteration_goes_on_before_decodes(bench, requests_of):
    requests = requests_of((0, 2, 3), (5, 20, 1), (5, 2, 1))
    batches = bench("prefill_first", limits={"max_tokens": 8}).run(requests)
    assert batches == [
        (0, {0: 2}),
        (10, {1: 8}),
        (20, {1: 8}),
        (30, {1: 4, 2: 2}),
        (40, {0: 1}),
        (50, {0: 1}),
    ]


def test_a_swapped_request_comes_back_with_decodes_before_new_prompts(
    bench, requests_of, blocks_of
):
    requests = requests_of((0, 4, 4), (0, 4, 3), (15, 1, 1))
    batches = bench("prefill_first", size=blocks_of(9, swap=9), kv={"preemption": "swap"}).run(
        requests
    )
    assert batches == [
        (0, {0: 4, 1: 4}),
        (10, {0: 1}),  # 1 finds no block and is swapped out with its 4
        (20, {0: 1}),  # 1 needs 5 blocks; 2 does not overtake it
        (30, {0: 1}),
        (40, {1: 1}),
        (50, {2: 1}),
        (60, {1: 1}),
    ]
    assert requests[1].num_preemptions == 1
