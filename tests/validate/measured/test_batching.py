"""Batching loops against timelines worked out by hand."""

from dataclasses import dataclass

import pytest

from npusim.errors import CapacityError
from npusim.validate.measured.batching import in_flight, static_s


@dataclass
class Clock:
    """Steps of simple times: a prefill 10 a prompt, a decode step 1 (and `slope` a context token of
    each request). KV for `room` tokens."""

    room: int = 10**9
    slope: float = 0.0

    def prefill_s(self, prompts: int, tokens: int) -> float:
        return 10.0 * prompts

    def decode_s(self, batch: int, context: float) -> float:
        return 1.0 + self.slope * batch * context

    def decodes_s(self, batch: int, first_context: int, count: int) -> float:
        return sum(self.decode_s(batch, first_context + i) for i in range(count))

    def kv_tokens(self, memory_fraction: float) -> int:
        return self.room


def test_a_batch_that_fits_is_one_prefill_and_a_step_for_each_other_token():
    assert static_s(Clock(), batch=3, prompt=100, outputs=5) == 30 + 4


def test_the_last_token_needs_no_kv():
    assert static_s(Clock(room=3 * 104), batch=3, prompt=100, outputs=5) == 34
    assert static_s(Clock(room=3 * 104 - 1), batch=3, prompt=100, outputs=5) == (20 + 4) + (10 + 4)


def test_a_batch_beyond_the_kv_cache_runs_in_waves():
    # 2 + 2 + 1 requests
    assert static_s(Clock(room=2 * 104), batch=5, prompt=100, outputs=5) == 2 * 24 + 14


def test_a_request_that_fits_nowhere_is_refused():
    with pytest.raises(CapacityError, match="no request of 104 tokens"):
        static_s(Clock(room=103), batch=1, prompt=100, outputs=5)
    with pytest.raises(CapacityError, match="no request of 105 tokens"):
        in_flight(Clock(room=103), 1, 100, 5)


def test_one_user_sees_prefill_then_steps():
    run = in_flight(Clock(), requests=4, prompt=100, outputs=5, concurrency=1)
    assert run.total_s == 4 * (10 + 4)
    assert run.ttft_s == 10
    assert run.itl_s == 1


def test_two_users_enter_together_and_leave_together():
    run = in_flight(Clock(), requests=4, prompt=100, outputs=3, concurrency=2)
    assert run.total_s == 2 * (20 + 2)
    assert run.ttft_s == 20
    assert run.itl_s == 1


def test_a_prefill_beside_decodes_lengthens_their_gap():
    """Room for 8 prompts of 1,000 an iteration, 12 users: the first 8 wait for the prompts of the
    other 4 once. Outputs 3: iterations of 80; 1 + 40; 1; 1."""
    run = in_flight(Clock(), requests=12, prompt=1000, outputs=3, concurrency=None)
    assert run.total_s == 80 + 41 + 1 + 1
    assert run.ttft_s == pytest.approx((8 * 80 + 4 * 121) / 12)
    assert run.itl_s == pytest.approx((8 * (41 + 1) + 4 * (1 + 1)) / (12 * 2))


def test_requests_wait_for_kv_of_their_whole_length():
    """KV for two: the third enters in the iteration after they have left."""
    run = in_flight(Clock(room=2 * 103), requests=3, prompt=100, outputs=3)
    assert run.total_s == (20 + 1 + 1) + (10 + 1 + 1)
    assert run.ttft_s == pytest.approx((2 * 20 + (22 + 10)) / 3)


def test_context_grows_by_a_token_a_step():
    run = in_flight(Clock(slope=0.001), requests=1, prompt=100, outputs=4)
    assert run.total_s == pytest.approx(10 + 3 + 0.001 * (101 + 102 + 103))
