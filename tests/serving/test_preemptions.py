"""Preemptions: from when until when a request was away, and what swapping its KV takes."""

import numpy as np

from npusim.serve_trace import SWAP_IN, SWAP_OUT
from npusim.serving.preemptions import PreemptionLog
from npusim.serving.request import Request

US = 1_000_000  # ps


def test_a_row_from_each_preemption_to_the_next_admission():
    log = PreemptionLog()
    first, second = Request(0, 0, 5, 5), Request(1, 0, 5, 5)
    log.end(first, 1)  # admitted for the first time
    log.begin(first, 3, 10)
    log.begin(second, 3, 12)
    log.end(first, 20)
    log.end(first, 30)  # admitted where its KV has gone: it was not away
    log.begin(first, 4, 40)
    found = {name: column.tolist() for name, column in log.columns.items()}
    assert found == {
        "request": [0, 1, 0],
        "instance": [3, 3, 4],
        "start_ps": [10, 12, 40],
        "end_ps": [20, -1, -1],
    }


def test_what_was_swapped_out_comes_back_before_others_come(rig, instance_of, serving_help):
    """A decode instance with room for two: the one that had to go is not passed by newcomers."""
    kv = {"preemption": "swap", "swap_gb_s": 1e6}
    instances = [
        instance_of("prefill", time=10 * US),
        instance_of("decode", time=3 * US, blocks=24, swap=100, kv=kv),
    ]
    requests = serving_help.deal(*((15 * i * US, 8, 12) for i in range(8)))
    run = rig(instances).serve(requests)
    assert run.requests["preemptions"].sum() > 0
    assert (np.diff(run.requests["finish_ps"]) > 0).all()


def test_a_swap_delays_the_iteration_that_needs_the_room(rig, instance_of, serving_help):
    """Room for 11: at 20 request 1 goes, 6 tokens of 10 bytes at 10 bytes a us, and comes back."""
    kv = {"preemption": "swap", "swap_gb_s": 0.01}
    run = rig([instance_of(time=10 * US, blocks=11, swap=100, kv=kv)]).serve(
        serving_help.deal((0, 4, 4), (0, 5, 4))
    )
    # [0 10) 4 + 5; [10 20) 5 + 6 tokens held; at 20 1 leaves with 6, 6 long: 0 [20 36), [36 46)
    # 1 comes back with 6 + 1 tokens in 6 us: [46 62), [62 72)
    assert serving_help.per_token(run) == [
        [10 * US, 20 * US, 36 * US, 46 * US], [10 * US, 20 * US, 62 * US, 72 * US],
    ]  # fmt: skip
    assert run.transfers["kind"].tolist() == [SWAP_OUT, SWAP_IN]
    assert run.transfers["start_ps"].tolist() == [20 * US, 46 * US]
    assert run.transfers["bytes"].tolist() == [60, 60]
