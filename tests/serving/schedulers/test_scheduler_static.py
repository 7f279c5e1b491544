"""Static batching, by hand: iterations of 10 ps."""

MS = 1_000_000_000


def test_a_batch_is_gathered_prefilled_together_and_decoded_until_all_are_done(bench, requests_of):
    requests = requests_of((0, 4, 2), (3, 2, 3), (7, 3, 1), (8, 3, 1))
    batches = bench("static", limits={"batch_size": 2}).run(requests)
    assert batches == [
        (3, {0: 4, 1: 2}),
        (13, {0: 1, 1: 1}),
        (23, {1: 1}),
        (33, {2: 3, 3: 3}),
    ]
    assert [r.finish_ps for r in requests] == [23, 33, 43, 43]


def test_prompts_take_several_iterations_before_anyone_decodes(bench, requests_of):
    requests = requests_of((0, 4, 2), (0, 10, 2), (0, 3, 2))
    batches = bench("static", limits={"batch_size": 3, "max_tokens": 6}).run(requests)
    assert batches == [
        (0, {0: 4}),
        (10, {1: 6}),
        (20, {1: 4}),
        (30, {2: 3}),
        (40, {0: 1, 1: 1, 2: 1}),
    ]


def test_it_waits_no_longer_than_wait_ms_after_the_first_came(bench, requests_of):
    requests = requests_of((5, 4, 1), (10, 4, 1), (9 * MS, 4, 1))
    batches = bench("static", limits={"batch_size": 8, "wait_ms": 2.0}).run(requests)
    assert batches == [(5 + 2 * MS, {0: 4, 1: 4}), (9 * MS, {2: 4})]  # closed: the last is alone


def test_without_wait_ms_only_a_full_batch_or_the_end_of_traffic_starts_one(bench, requests_of):
    requests = requests_of((0, 4, 1), (100, 4, 1), (200, 4, 1))
    batches = bench("static", limits={"batch_size": 2}).run(requests)
    assert batches == [(100, {0: 4, 1: 4}), (200, {2: 4})]


def test_who_finds_no_kv_at_the_start_is_left_to_the_next_batch(bench, requests_of, blocks_of):
    requests = requests_of((0, 4, 2), (0, 4, 3), (0, 2, 1))
    batches = bench(
        "static", size=blocks_of(10), limits={"batch_size": 3}, kv={"reserve": "output"}
    ).run(requests)
    assert batches == [
        (0, {0: 4}),  # 5 blocks; 1 would need 6 more
        (10, {0: 1}),
        (20, {1: 4, 2: 2}),
        (30, {1: 1}),
        (40, {1: 1}),
    ]


def test_a_preempted_member_rejoins_its_batch(bench, requests_of, blocks_of):
    requests = requests_of((0, 4, 3), (0, 4, 3), (1, 1, 1))
    batches = bench("static", size=blocks_of(9), limits={"batch_size": 2}).run(requests)
    assert batches == [
        (0, {0: 4, 1: 4}),
        (10, {0: 1}),  # 1 is preempted
        (20, {0: 1}),
        (30, {1: 5}),
        (40, {1: 1}),
        (50, {2: 1}),
    ]
