"""One instance by hand: iterations one after the other, pipeline stages one behind the other."""

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from npusim.serve_trace import DONE, ITERATION_COLUMNS
from npusim.serving.iteration.execution import TimedExecution
from npusim.serving.request import Request


def launched_in_turn(stage_times, host_ps=0):
    """Starts, frees and ends of iterations launched as soon as the first stage is free."""
    env, log = simpy.Environment(), []
    times = iter(stage_times)
    execution = TimedExecution(env, lambda works: next(times), host_ps)

    def run():
        for index in range(len(stage_times)):
            row = [env.now, None, None]
            log.append(row)
            free, done = execution.launch([])
            done.callbacks.append(lambda _, row=row: row.__setitem__(2, env.now))
            yield free
            log[index][1] = env.now

    env.process(run())
    env.run()
    return [tuple(row) for row in log]


def test_one_stage_is_free_when_the_iteration_is_done():
    assert launched_in_turn([(10,), (5,), (7,)]) == [(0, 10, 10), (10, 15, 15), (15, 22, 22)]


def test_three_stages_wait_for_the_slowest_before_them():
    #  stage 0  [0 2) [2 4) [4 14)
    #  stage 1  [2 7) [7 9) [14 15)      the second waits for the first till 7
    #  stage 2  [7 8) [9 13) [15 16)
    assert launched_in_turn([(2, 5, 1), (2, 2, 4), (10, 1, 1)]) == [
        (0, 2, 8), (2, 4, 13), (4, 14, 16),
    ]  # fmt: skip


def test_the_host_comes_before_the_first_stage():
    assert launched_in_turn([(10,), (10,)], host_ps=3) == [(0, 13, 13), (13, 26, 26)]
    assert launched_in_turn([(4, 6), (4, 6)], host_ps=3) == [(0, 7, 13), (7, 14, 20)]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 12))
def test_equal_iterations_end_after_the_sum_and_the_slowest_stage_each(stages, count):
    ends = [end for _, _, end in launched_in_turn([tuple(stages)] * count)]
    assert ends == [sum(stages) + i * max(stages) for i in range(count)]


@given(st.lists(st.tuples(*[st.integers(1, 30)] * 3), min_size=1, max_size=10))
def test_stages_are_a_flow_shop(times):
    """C[i][s] = max(C[i - 1][s], C[i][s - 1]) + t: the permutation flow shop's recurrence."""
    before, ends = [0, 0, 0], []
    for row in times:
        for stage, duration in enumerate(row):
            before[stage] = max(before[stage], before[stage - 1] if stage else 0) + duration
        ends.append(before[-1])
    assert [end for _, _, end in launched_in_turn(times)] == ends


def test_one_request_token_by_token(rig, instance_of, serving_help):
    run = rig([instance_of(time=10)]).serve(serving_help.deal((3, 7, 4)))
    assert serving_help.per_token(run) == [[13, 23, 33, 43]]
    assert run.iterations["start_ps"].tolist() == [3, 13, 23, 33]
    assert run.iterations["prefill_tokens"].tolist() == [7, 0, 0, 0]
    assert run.iterations["decodes"].tolist() == [0, 1, 1, 1]
    assert run.iterations["context_tokens"].tolist() == [0, 7, 8, 9]
    assert run.iterations["kv_blocks"].tolist() == [7, 8, 9, 10]
    assert set(run.iterations) == set(ITERATION_COLUMNS)
    assert {name: column[0] for name, column in run.requests.items()} == {
        "request": 0, "arrival_ps": 3, "scheduled_ps": 3, "first_token_ps": 13, "finish_ps": 43,
        "prompt_tokens": 7, "output_tokens": 4, "generated_tokens": 4, "cached_tokens": 0,
        "preemptions": 0, "priority": 0, "instance": 0, "decode_instance": 0, "status": DONE,
    }  # fmt: skip


def test_who_comes_during_an_iteration_is_in_the_next(rig, instance_of, serving_help):
    time = lambda works: 10 * len(works)  # noqa: E731
    run = rig([instance_of(time=time)]).serve(serving_help.deal((0, 4, 3), (5, 4, 2), (100, 1, 1)))
    # 0: [0 10) | 0 + 1: [10 30) | 0 + 1: [30 50) | nothing | 2: [100 110)
    assert serving_help.per_token(run) == [[10, 30, 50], [30, 50], [110]]
    assert run.requests["scheduled_ps"].tolist() == [0, 10, 100]
    assert run.iterations["waiting"].tolist() == [0, 0, 0, 0]


def test_a_batch_a_stage_and_no_request_in_two_of_them(rig, instance_of, serving_help):
    """Two requests on two stages of 5: their iterations alternate, each 10 long."""
    bench = rig([instance_of(time=(5, 5), pp=2, limits={"max_requests": 2})])
    run = bench.serve(serving_help.deal((0, 4, 3), (1, 4, 3)))
    assert serving_help.per_token(run) == [[10, 20, 30], [15, 25, 35]]
    assert bench.batches == [
        (0, 0, {0: 4}), (5, 0, {1: 4}), (10, 0, {0: 1}), (15, 0, {1: 1}), (20, 0, {0: 1}),
        (25, 0, {1: 1}),
    ]  # fmt: skip
    assert run.iterations["free_ps"].tolist() == [5, 10, 15, 20, 25, 30]
    assert run.iterations["end_ps"].tolist() == [10, 15, 20, 25, 30, 35]


def test_chunks_of_a_prompt_follow_one_another_through_the_stages(rig, instance_of, serving_help):
    limits = {"max_tokens": 4, "max_requests": 2}
    run = rig([instance_of(time=(5, 5), pp=2, limits=limits)]).serve(serving_help.deal((0, 8, 2)))
    # the chunks [0 10) and [5 15), then a decode
    assert run.iterations["start_ps"].tolist() == [0, 5, 15]
    assert serving_help.per_token(run) == [[15, 25]]


@pytest.mark.parametrize("pp", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_never_more_batches_under_way_than_stages(rig, instance_of, serving_help, pp, seed):
    rng = np.random.default_rng(seed)
    time = lambda works: tuple(int(t) for t in rng.integers(1, 20, pp))  # noqa: E731
    bench = rig([instance_of(time=time, pp=pp, limits={"max_tokens": 32, "max_requests": 10})])
    run = bench.serve(serving_help.poisson(np.random.default_rng(seed), 40, 30))
    starts, ends = run.iterations["start_ps"], run.iterations["end_ps"]
    under_way = [(starts <= at).sum() - (ends <= at).sum() for at in starts]
    assert max(under_way) == pp
    assert (run.iterations["free_ps"][:-1] <= starts[1:]).all()
    assert (np.diff(ends) >= 0).all()


def test_a_request_decodes_only_when_its_last_token_is_out(rig, instance_of, serving_help):
    bench = rig([instance_of(time=(4, 4, 4), pp=3, limits={"max_requests": 6})])
    run = bench.serve(serving_help.deal(*((i, 5, 6) for i in range(6))))
    tokens = serving_help.per_token(run)
    for start, _, news in bench.batches:
        for request in news:
            before = [at for at in tokens[request] if at <= start]
            launched = sum(request in old for at, _, old in bench.batches if at < start)
            assert launched == len(before)


def test_a_last_chunk_of_one_token_fills_a_block_that_others_find(rig, instance_of):
    """8 tokens as 7 and 1: both blocks of 4 are there for a longer prompt that begins with them."""
    limits = {"max_tokens": 7}
    kv = {"prefix_cache": True}
    first = Request(0, 0, 8, 1, prefix=(1,), prefix_block_tokens=8)
    later = Request(1, 100, 9, 1, prefix=(1,), prefix_block_tokens=8)
    run = rig([instance_of(time=10, blocks=9, tokens=4, limits=limits, kv=kv)]).serve(
        [first, later]
    )
    assert run.iterations["end_ps"].tolist() == [10, 20, 110]
    assert run.requests["cached_tokens"].tolist() == [0, 8]
