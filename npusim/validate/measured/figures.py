"""A row of measured.csv, its StepTimes and its serving stack → our figure in the row's unit."""

from collections.abc import Callable

from npusim.validate.measured.batching import InFlight, in_flight, static_s
from npusim.validate.measured.rows import Row
from npusim.validate.measured.stacks import Stack
from npusim.validate.measured.steps import StepTimes

UNIT_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

# Requests of a run of TensorRT-LLM's perf-overview.md, by (input, output) tokens; other lengths
# have OTHER_REQUESTS there.
REQUESTS = {
    (128, 128): 30_000,
    (128, 4096): 1_500,
    (1000, 2000): 1_500,
    (2048, 2048): 1_500,
    (5000, 500): 1_500,
    (20000, 2000): 1_000,
}
OTHER_REQUESTS = 3_000
ROUNDS = 10  # Assumes so many requests a user in NIM's closed loop, which does not state them
LARGEST_BATCH = 128  # of CENT's baseline


def latency(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Time of a static batch from its call to its last token."""
    return _static_s(row, steps, stack) / UNIT_S[row.unit]


def static_throughput(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Generated tokens per second of a static batch, prefill included, by all chips."""
    return int(row.batch) * row.output_tokens / _static_s(row, steps, stack)


def static_throughput_per_chip(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Generated tokens per second and chip of a static batch, prefill included."""
    return static_throughput(row, steps, stack) / row.num_chips


def _static_s(row: Row, steps: StepTimes, stack: Stack) -> float:
    batch = int(row.batch)
    return stack.added_s(batch) + static_s(steps, batch, row.input_tokens, row.output_tokens)


def throughput(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Generated tokens per second under an unlimited request rate, or in a closed loop."""
    done, requests = _run(row, steps)
    return requests * row.output_tokens / done.total_s


def decode_throughput(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Generated tokens per second of the largest batch whose KV fits, prefill left out."""
    fits = steps.kv_tokens(1.0) // (row.input_tokens + row.output_tokens - 1)
    batch = min(LARGEST_BATCH, fits)
    time_s = steps.decodes_s(batch, row.input_tokens, row.output_tokens)
    return batch * row.output_tokens / time_s


def first_token(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Time to the first token: the mean of a closed loop, or of a batch on an idle machine."""
    if row.batch.startswith("conc"):
        return _run(row, steps)[0].ttft_s / UNIT_S[row.unit]
    batch = int(row.batch)
    return (stack.added_s(batch) + steps.first_token_s(batch, row.input_tokens)) / UNIT_S[row.unit]


def token_gap(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Mean time between the tokens of a request."""
    return _run(row, steps)[0].itl_s / UNIT_S[row.unit]


def user_speed(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Tokens per second of one user, right behind the prompt."""
    return 1 / (stack.step_s + steps.decode_s(int(row.batch), row.input_tokens))


def prefill_rate(row: Row, steps: StepTimes, stack: Stack) -> float:
    """Prompt tokens per second of a batch on an idle machine."""
    batch = int(row.batch)
    return batch * row.input_tokens / steps.first_token_s(batch, row.input_tokens)


def _run(row: Row, steps: StepTimes) -> tuple[InFlight, int]:
    users = int(row.batch.removeprefix("conc")) if row.batch.startswith("conc") else None
    requests = REQUESTS.get((row.input_tokens, row.output_tokens), OTHER_REQUESTS)
    requests = ROUNDS * users if users else requests
    return in_flight(steps, requests, row.input_tokens, row.output_tokens, users), requests


FIGURES: dict[str, Callable[[Row, StepTimes, Stack], float]] = {
    "latency": latency,
    "output_tput": static_throughput,
    "output_tput_per_gpu": static_throughput_per_chip,
    "output_tput_total": throughput,
    "decode_tput": decode_throughput,
    "decode_speed_per_user": user_speed,
    "ttft": first_token,
    "itl": token_gap,
    "prefill_TPR": prefill_rate,
}
