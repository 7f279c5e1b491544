"""Several instances by hand: routing, KV from prefill to decode, what is refused, several chips."""

import numpy as np
import pytest

from npusim.errors import SpecError
from npusim.serve_trace import DONE, REJECTED
from npusim.serving.request import Request
from npusim.spec.serving import KvLink

US = 1_000_000  # ps; what a token takes on the link of a rig
TOKEN_BYTES = 10


def moves(run):
    """(request, source, destination, start, end, tokens) of each."""
    names = ("request", "source", "destination", "start_ps", "end_ps", "bytes")
    rows = zip(*(run.transfers[name].tolist() for name in names), strict=True)
    return [(*row[:-1], row[-1] // TOKEN_BYTES) for row in rows]


@pytest.fixture
def pair(instance_of):
    """A prefill and a decode instance: [(settled, time), …]."""

    def make(prefill=None, decode=None):
        return [
            instance_of("prefill", **{"time": 10 * US, **(prefill or {})}),
            instance_of("decode", **{"time": 3 * US, **(decode or {})}),
        ]

    return make


def test_prefill_then_the_move_then_decode(rig, pair, serving_help):
    run = rig(pair()).serve(serving_help.deal((0, 4, 3)))
    # prompt [0 10), 4 tokens move [10 14), decodes [14 17) [17 20)
    assert moves(run) == [(0, 0, 1, 10 * US, 14 * US, 4)]
    assert serving_help.per_token(run) == [[10 * US, 17 * US, 20 * US]]
    assert run.iterations["instance"].tolist() == [0, 1, 1]
    assert (run.requests["instance"], run.requests["decode_instance"]) == ([0], [1])


def test_an_instance_sends_one_request_at_a_time(rig, pair, serving_help):
    run = rig(pair()).serve(serving_help.deal((0, 4, 2), (0, 6, 2)))
    # both prompts [0 10); request 0 moves [10 14), 1 after it [14 20)
    assert moves(run) == [(0, 0, 1, 10 * US, 14 * US, 4), (1, 0, 1, 14 * US, 20 * US, 6)]
    # 0 decodes [14 17), 1 [20 23)
    assert serving_help.per_token(run) == [[10 * US, 17 * US], [10 * US, 23 * US]]


def test_two_sources_send_side_by_side(rig, pair, instance_of, serving_help):
    run = rig([*pair(), instance_of("prefill", time=10 * US)]).serve(
        serving_help.deal((0, 4, 2), (0, 6, 2))
    )
    assert moves(run) == [(0, 0, 1, 10 * US, 14 * US, 4), (1, 2, 1, 10 * US, 16 * US, 6)]


def test_kv_is_held_on_both_sides_until_it_has_arrived(rig, pair, serving_help):
    """The prefill instance has room for one prompt: the next begins when the first has moved."""
    run = rig(pair(prefill={"blocks": 4})).serve(serving_help.deal((0, 4, 2), (0, 4, 2)))
    starts = run.iterations["start_ps"][run.iterations["instance"] == 0]
    assert starts.tolist() == [0, 14 * US]
    # and the decode one has 4 + 4 blocks before the first decode of request 1
    assert moves(run) == [(0, 0, 1, 10 * US, 14 * US, 4), (1, 0, 1, 24 * US, 28 * US, 4)]


def test_a_move_waits_for_room_on_the_other_side(rig, pair, serving_help):
    """Room for 6 tokens: request 0 grows from 4 to 6, and 1 comes when it is done."""
    run = rig(pair(decode={"blocks": 6})).serve(serving_help.deal((0, 4, 3), (0, 5, 2)))
    # 0: moves [10 14), decodes [14 17) [17 20); 1: moves [20 25), decodes [25 28)
    assert moves(run) == [(0, 0, 1, 10 * US, 14 * US, 4), (1, 0, 1, 20 * US, 25 * US, 5)]
    assert serving_help.per_token(run)[1] == [10 * US, 28 * US]


def test_a_decode_instance_takes_max_requests(rig, pair, serving_help):
    run = rig(pair(decode={"limits": {"max_requests": 1}})).serve(
        serving_help.deal((0, 4, 2), (0, 4, 2))
    )
    assert [row[3] for row in moves(run)] == [10 * US, 17 * US]


def test_a_static_batch_on_a_decode_instance_is_what_there_is_room_for(rig, pair, serving_help):
    """A batch of 8 is asked for, three have room: they decode together, then the next three."""
    decode = {"scheduler": "static", "limits": {"batch_size": 8}, "blocks": 30}
    run = rig(pair(decode=decode)).serve(serving_help.deal(*((i, 8, 3) for i in range(9))))
    ends = run.requests["finish_ps"].reshape(3, 3)
    assert (ends == ends[:, :1]).all() and (np.diff(ends[:, 0]) > 0).all()


def test_one_token_never_moves(rig, pair, serving_help):
    run = rig(pair()).serve(serving_help.deal((0, 4, 1)))
    assert moves(run) == [] and serving_help.per_token(run) == [[10 * US]]
    assert (run.requests["instance"], run.requests["decode_instance"]) == ([0], [0])


def test_layer_by_layer_moves_beside_the_prompt(rig, pair, serving_help):
    """4 layers in 40: the first leaves at 10; 8 bytes are there at 18, but not before the last
    layer, which leaves at 40 and takes 2."""
    run = rig(pair(prefill={"time": 40 * US}), transfer="layer").serve(serving_help.deal((0, 8, 2)))
    assert moves(run) == [(0, 0, 1, 10 * US, 42 * US, 8)]
    assert serving_help.per_token(run) == [[40 * US, 45 * US]]


def test_layer_by_layer_is_bound_by_a_slow_link(rig, pair, serving_help):
    run = rig(pair(prefill={"time": 4 * US}), transfer="layer").serve(serving_help.deal((0, 8, 2)))
    assert moves(run) == [(0, 0, 1, 1 * US, 9 * US, 8)]  # from the first layer on, 8 long


def test_layer_by_layer_a_move_that_had_to_wait_begins_when_there_is_room(rig, pair, serving_help):
    run = rig(pair(decode={"blocks": 6}), transfer="layer").serve(
        serving_help.deal((0, 4, 3), (0, 5, 2))
    )
    # 0: first layer at 2.5, last there at 11; decodes [11 14) [14 17); then all of 1
    assert moves(run) == [(0, 0, 1, 2_500_000, 11 * US, 4), (1, 0, 1, 17 * US, 22 * US, 5)]


def test_one_that_loses_its_kv_on_a_decode_instance_is_prefilled_anew(rig, pair, serving_help):
    """Room for 11 tokens: each comes with room for 5, and at 12 the younger one has to go."""
    run = rig(pair(decode={"blocks": 11})).serve(serving_help.deal((0, 4, 4), (0, 4, 4)))
    assert run.requests["preemptions"].tolist() == [0, 1]
    # 0 arrives at 14 and decodes [14 17) [17 20) [20 23); 1 arrives at 18 with room for 5, and at
    # 20 0 needs 7: 1 is prefilled again, 4 + 1 tokens [20 30), and moves [30 35)
    assert moves(run) == [
        (0, 0, 1, 10 * US, 14 * US, 4), (1, 0, 1, 14 * US, 18 * US, 4),
        (1, 0, 1, 30 * US, 35 * US, 5),
    ]  # fmt: skip
    assert run.iterations["prefill_tokens"].tolist() == [8, 0, 0, 0, 5, 0, 0]
    assert serving_help.per_token(run) == [
        [10 * US, 17 * US, 20 * US, 23 * US], [10 * US, 30 * US, 38 * US, 41 * US],
    ]  # fmt: skip


def test_what_can_never_be_held_is_refused_and_counted(rig, instance_of, serving_help):
    requests = serving_help.deal((0, 4, 3), (0, 5, 3), (0, 4, 4))
    run = rig([instance_of(blocks=6)]).serve(requests)
    # 4 + 3 - 1 = 6 tokens fit, 7 do not
    assert run.requests["status"].tolist() == [DONE, REJECTED, REJECTED]
    assert run.requests["generated_tokens"].tolist() == [3, 0, 0]
    assert run.requests["instance"].tolist() == [0, -1, -1]


def test_what_can_never_be_held_is_an_error_when_the_scenario_says_so(
    rig, instance_of, serving_help
):
    bench = rig([instance_of(blocks=6)], too_long="error")
    with pytest.raises(SpecError, match=r"request 0 needs KV for 7 tokens, an instance holds 6"):
        bench.serve(serving_help.deal((0, 5, 3)))


@pytest.mark.parametrize("side", ["prefill", "decode"])
def test_a_request_has_to_fit_both_sides(rig, pair, serving_help, side):
    run = rig(pair(**{side: {"blocks": 5}})).serve(
        serving_help.deal((0, 6, 1), (0, 5, 1), (0, 5, 2), (0, 4, 2), (0, 6, 2))
    )
    fits = {"prefill": [0, 1, 1, 1, 0], "decode": [1, 1, 0, 1, 0]}[side]
    assert (run.requests["status"] == DONE).tolist() == [bool(fit) for fit in fits]


def test_requests_in_turn(rig, instance_of, serving_help):
    run = rig([instance_of() for _ in range(3)]).serve(
        serving_help.deal(*((i, 1 + i % 2, 1) for i in range(7)))
    )
    assert run.requests["instance"].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_in_turn_among_those_that_can_hold_it(rig, instance_of, serving_help):
    run = rig([instance_of(blocks=4), instance_of(), instance_of()]).serve(
        serving_help.deal(*((i, 9, 1) for i in range(4)))
    )
    assert set(run.requests["instance"].tolist()) == {1, 2}


def test_the_least_loaded_takes_the_next(rig, instance_of, serving_help):
    """Loads at arrival: (0 0), (100 0), (100 30), (100 60), (100 120), then all is done."""
    run = rig([instance_of(time=1000), instance_of(time=1000)], routing="least_loaded").serve(
        serving_help.deal((0, 100, 1), (1, 30, 1), (2, 30, 1), (3, 60, 1), (4, 10, 1), (9000, 5, 1))
    )
    assert run.requests["instance"].tolist() == [0, 1, 1, 1, 0, 0]


def test_decodes_are_a_load_of_one_each(rig, instance_of, serving_help):
    run = rig([instance_of(time=10), instance_of(time=10)], routing="least_loaded").serve(
        serving_help.deal((0, 1, 50), (1, 200, 2), (100, 1, 1), (200, 1, 1))
    )
    assert run.requests["instance"].tolist() == [0, 1, 1, 1]


def test_decode_instances_are_chosen_by_load_too(rig, pair, instance_of, serving_help):
    run = rig([*pair(), instance_of("decode", time=3 * US)], routing="least_loaded").serve(
        serving_help.deal((0, 4, 30), (20 * US, 4, 30), (40 * US, 4, 30))
    )
    assert run.requests["decode_instance"].tolist() == [1, 2, 2]  # of 1 and 1, that with less KV


def shared(request_id, arrival_ps, prefix, prompt_tokens=40):
    return Request(
        request_id, arrival_ps, prompt_tokens, 1, prefix=(prefix,), prefix_block_tokens=32
    )


def test_a_prefix_draws_requests_to_the_cache_that_has_it(rig, instance_of, serving_help):
    kv = {"prefix_cache": True}
    bench = rig([instance_of(time=10, tokens=16, kv=kv) for _ in range(2)], routing="prefix_aware")
    # both busy with nothing: 7 → instance 0; 8 comes while 0 works → 1; then each to its own
    run = bench.serve(
        [shared(0, 0, 7), shared(1, 5, 8), shared(2, 100, 8), shared(3, 200, 7), shared(4, 300, 8)]
    )
    assert run.requests["instance"].tolist() == [0, 1, 1, 0, 1]
    assert run.requests["cached_tokens"].tolist() == [0, 0, 32, 32, 32]


def test_load_outweighs_a_short_prefix(rig, instance_of, serving_help):
    kv = {"prefix_cache": True}
    bench = rig([instance_of(time=10, tokens=16, kv=kv) for _ in range(2)], routing="prefix_aware")
    # at 21 instance 0 has 100 to do; its 32 tokens of prefix 7 do not make up for them
    run = bench.serve([shared(0, 0, 7), shared(1, 20, 9, 100), shared(2, 21, 7)])
    assert run.requests["instance"].tolist() == [0, 0, 1]


def test_a_prefix_that_is_all_but_one_token_is_a_load_of_one(rig, instance_of, serving_help):
    """33 tokens, 32 of them cached: its first iteration is like a decode, and no more to do."""
    kv = {"prefix_cache": True}
    bench = rig([instance_of(time=10, tokens=16, kv=kv)])
    loads = []
    bench.on_done = lambda instance: loads.append(instance.load.tokens)
    requests = [shared(0, 0, 7, 33), shared(1, 100, 7, 33)]
    requests[1].output_tokens = 3
    bench.serve(requests)
    assert loads == [0, 1, 1, 0]


def test_bytes_over_the_link_by_the_ranks_of_the_smaller_side(rig, pair, serving_help):
    """Ranks that are chips: min(tp) of them work side by side, the last byte rounded up."""
    bench = rig(pair({"tp": 4}, {"tp": 2}))
    bench.setup.hardware.kernels = object()
    run = bench.serve(serving_help.deal((0, 7, 2)))
    assert moves(run) == [(0, 0, 1, 10 * US, 13_500_000, 7)]  # 35 bytes on each of two


def test_latency_of_the_link(rig, pair, serving_help):
    bench = rig(pair())
    bench.setup.scenario.serving = bench.setup.scenario.serving.model_copy(
        update={"kv_link": KvLink(gb_s=0.02, latency_us=5.0)}
    )
    assert moves(bench.serve(serving_help.deal((0, 4, 2)))) == [(0, 0, 1, 10 * US, 17 * US, 4)]


def test_prefill_instances_of_one_chip_take_turns_on_its_links(rig, instance_of, serving_help):
    """Both prompts end at 10 us; 40 bytes at 0.01 GB/s take 4 us, one move after the other. From a
    chip of its own the third goes to the same chip, whose links take one at a time as well."""
    senders = [instance_of("prefill", time=10 * US, chip=chip) for chip in (0, 0, 1)]
    run = rig([*senders, instance_of("decode", time=US, chip=2)]).serve(
        serving_help.deal((0, 4, 2), (0, 4, 2), (0, 4, 2))
    )
    assert [(start, end) for _, _, _, start, end, _ in moves(run)] == [
        (10 * US, 14 * US), (14 * US, 18 * US), (18 * US, 22 * US),
    ]  # fmt: skip


def test_why_requests_were_rejected_is_noted(rig, instance_of, serving_help):
    run = rig([instance_of(blocks=8)]).serve(serving_help.deal((0, 4, 2), (0, 9, 2), (0, 20, 2)))
    assert run.notes[0] == "rejected: request 1 needs KV for 10 tokens, an instance holds 8"


def test_what_a_rejected_request_found_too_small_is_told(rig, pair, instance_of, serving_help):
    """Of a ring's instance the ring, whatever its scratchpads hold beside; of roles the one that
    cannot hold it, and what it needs there."""
    ring = instance_of(blocks=6, ring=9, kv={"layout": "sram_ring"})
    run = rig([ring]).serve(serving_help.deal((0, 9, 2)))
    assert run.notes[0] == "rejected: request 0 needs KV for 10 tokens, an instance holds 9"
    run = rig(pair(prefill={"blocks": 8})).serve(serving_help.deal((0, 9, 2)))
    assert run.notes[0] == "rejected: request 0 needs KV for 9 tokens, an instance holds 8"
    run = rig(pair(decode={"blocks": 9})).serve(serving_help.deal((0, 9, 2)))
    assert run.notes[0] == "rejected: request 0 needs KV for 10 tokens, an instance holds 9"


def test_a_missing_link_is_named(rig, pair, serving_help):
    bench = rig(pair(prefill={"chip": 0}, decode={"chip": 1}))
    bench.setup.scenario.serving = bench.setup.scenario.serving.model_copy(update={"kv_link": None})
    with pytest.raises(SpecError, match=r"serving.kv_link: is missing; KV goes from chip 0 to 1"):
        bench.serve(serving_help.deal((0, 4, 2)))


def test_fused_and_divided_instances_side_by_side(rig, pair, instance_of, serving_help):
    """A request that a `both` instance takes stays, also when no decode instance could hold it."""
    run = rig([instance_of(time=10 * US), *pair(decode={"blocks": 5})]).serve(
        serving_help.deal((0, 4, 2), (1, 4, 2), (2, 9, 2), (3, 9, 2))
    )
    assert run.requests["instance"].tolist() == [0, 1, 0, 0]
    assert run.requests["decode_instance"].tolist() == [0, 2, 0, 0]


def test_all_bytes_of_a_run_cross(rig, pair, serving_help):
    requests = serving_help.poisson(np.random.default_rng(5), 60, 20 * US)
    run = rig(pair()).serve(requests)
    moved = run.requests["output_tokens"] > 1
    assert run.transfers["bytes"].sum() == TOKEN_BYTES * run.requests["prompt_tokens"][moved].sum()
