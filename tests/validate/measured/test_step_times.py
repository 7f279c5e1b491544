"""Iteration times: few simulated, the rest interpolated, exactly where the time is linear."""

import pytest

from npusim.validate.measured.rows import Served
from npusim.validate.measured.steps import StepTimes

BF16 = ("bf16", "bf16", "bf16")


class Linear(StepTimes):
    """Simulates nothing: 3 + 2 a request + 0.5 a token of a request's context or prompt."""

    def _simulated_s(self, phase: str, batch: int, tokens: int) -> float:
        self._known[phase, batch, tokens] = 0.0
        return 3 + 2 * batch + 0.5 * tokens


@pytest.fixture
def linear() -> Linear:
    return Linear(Served("a100_sxm_80", "llama-3.2-1b", BF16))


@pytest.mark.parametrize("batch", [1, 2, 3, 31, 512, 700])
@pytest.mark.parametrize("context", [64, 100.5, 256, 5000])
def test_decode_is_exact_where_linear(linear, batch, context):
    assert linear.decode_s(batch, context) == pytest.approx(3 + 2 * batch + 0.5 * context)


@pytest.mark.parametrize("prompts", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("tokens", [128, 2048, 4096])
def test_prefill_is_exact_where_linear(linear, prompts, tokens):
    assert linear.prefill_s(prompts, tokens) == pytest.approx(3 + 2 * prompts + 0.5 * tokens)


def test_a_very_long_prefill_needs_one_point(linear):
    assert linear.prefill_s(3, 20_000) == pytest.approx(3 * (3 + 2 + 0.5 * 20_000))
    assert sorted(linear._known) == [("prefill", 1, 20_000)]


def test_a_long_prefill_needs_two_points(linear):
    linear.prefill_s(64, 2048)
    assert sorted(linear._known) == [("prefill", 1, 2048), ("prefill", 2, 2048)]


def test_decodes_in_a_row_are_summed(linear):
    expected = sum(3 + 2 * 4 + 0.5 * (100 + i) for i in range(37))
    assert linear.decodes_s(4, 100, 37) == pytest.approx(expected)


def test_stages_work_on_parts_of_a_batch():
    whole = Linear(Served("a100_sxm_80", "llama-3.2-1b", BF16))
    staged = Linear(Served("a100_sxm_80", "llama-3.2-1b", BF16, pp=4))
    message_s = staged._hand_overs_s(4)
    assert message_s > 0
    assert staged.decode_s(16, 128) == pytest.approx(whole.decode_s(4, 128) + message_s)


def test_two_layers_tell_all():
    """Against every layer simulated: kernels follow one another, so nothing but the order of
    memory's banks differs."""
    steps = StepTimes(Served("a100_sxm_80", "llama-3.2-1b", BF16))
    from npusim.spec.scenario import LlmWorkload

    workload = LlmWorkload(kind="llm", phase="decode", batch=2, context_tokens=128)
    whole = steps._some_layers_s(workload, steps.model.num_layers)
    assert steps._all_layers_s(workload) == pytest.approx(whole, rel=1e-4)


def test_kv_tokens_are_what_weights_leave():
    steps = StepTimes(Served("a100_sxm_80", "llama-2-7b", BF16))
    free = 80 * 2**30 - int(3.7 * 2**30) - 2 * 6_738_415_616
    assert steps.kv_tokens(1.0) == free // (2 * 2 * 4096 * 32)
