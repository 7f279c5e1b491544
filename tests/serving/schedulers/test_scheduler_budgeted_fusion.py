"""The study's budgeted fusion, by hand: iterations of 10 ps."""

import pytest


def test_a_prompt_uses_only_the_units_that_decodes_leave(bench, requests_of):
    requests = requests_of((0, 4, 4), (0, 4, 3), (0, 8, 1))
    limits = {"budget": 6, "chunk_cost": 3, "chunk_tokens": 4}
    batches = bench("budgeted_fusion", limits=limits).run(requests)
    assert batches == [
        (0, {0: 4, 1: 4}),  # 3 + 3
        (10, {0: 1, 1: 1, 2: 4}),  # 1 + 1 + 3
        (20, {0: 1, 1: 1, 2: 4}),
        (30, {0: 1}),
    ]


def test_a_prompt_waits_until_decodes_leave_room_for_a_chunk(bench, requests_of):
    requests = requests_of((0, 1, 2), (0, 1, 5), (0, 2, 1))
    limits = {"budget": 5, "chunk_cost": 4, "chunk_tokens": 1}
    batches = bench("budgeted_fusion", limits=limits).run(requests)
    assert batches == [
        (0, {0: 1}),
        (10, {0: 1, 1: 1}),
        (20, {1: 1, 2: 1}),
        (30, {1: 1, 2: 1}),
        (40, {1: 1}),
        (50, {1: 1}),
    ]


def test_decodes_go_first_then_new_decodes_then_unfinished_prompts_then_new_ones(
    bench, requests_of
):
    seen = []
    run = bench("budgeted_fusion", limits={"budget": 8, "chunk_cost": 2, "chunk_tokens": 2})
    run.on_batch = lambda works: seen.append([w.request.request_id for w in works])
    run.run(requests_of((0, 6, 2), (0, 2, 5), (15, 2, 2), (25, 4, 1)))
    assert seen[3] == [1, 0, 2, 3]  # 1 has decoded before; 0 and 2 begin; 3 is new
    assert run.batches[3] == (30, {1: 1, 0: 1, 2: 1, 3: 2})


def test_chunks_that_cost_more_than_the_budget_run_alone(bench, requests_of):
    requests = requests_of((0, 4, 2), (0, 4, 1))
    limits = {"budget": 2, "chunk_cost": 5, "chunk_tokens": 4}
    batches = bench("budgeted_fusion", limits=limits).run(requests)
    assert batches == [(0, {0: 4}), (10, {0: 1}), (20, {1: 4})]


@pytest.mark.parametrize(("budget", "cost"), [(5, 4), (8, 4), (8, 5), (3, 1)])
def test_those_that_decode_never_need_more_than_the_budget(bench, requests_of, budget, cost):
    run = bench("budgeted_fusion", limits={"budget": budget, "chunk_cost": cost})
    most = []

    def count(works):
        running = run.queues.running.values()
        most.append(sum(r.generated_tokens > 0 for r in running))
        assert sum(1 if w.decodes else cost for w in works) <= budget
        waiting = [r for r in running if r.generated_tokens and not r.in_flight]
        assert not waiting, "a decode was left out"

    run.on_batch = count
    run.run(requests_of(*[(i, 100 + i, 3 + i % 17) for i in range(40)]))
    assert max(most) <= budget
