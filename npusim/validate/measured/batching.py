"""Iteration times → what a server prints of a whole run: static batches, and in-flight batching.

Assumes equal lengths of all requests and no time between iterations.
"""

from collections import deque
from dataclasses import dataclass

from npusim.errors import CapacityError
from npusim.validate.measured.steps import StepTimes

KV_FRACTION = 0.9  # of what weights leave free: TensorRT-LLM's default free_gpu_memory_fraction
MAX_BATCH = 2048  # TensorRT-LLM's default max_batch_size
MAX_TOKENS = 8192  # TensorRT-LLM's default max_num_tokens


def static_s(steps: StepTimes, batch: int, prompt: int, outputs: int) -> float:
    """A batch that is prefilled together and decoded together; in waves where its KV (the last
    token leaves none) does not fit the memory at once. Raises CapacityError when one does not."""
    tokens = prompt + outputs - 1
    at_once = min(batch, steps.kv_tokens(1.0) // tokens)
    if at_once < 1:
        raise CapacityError(f"no request of {tokens} tokens fits")
    full, rest = divmod(batch, at_once)
    waves = [at_once] * full + ([rest] if rest else [])
    return sum(_wave_s(steps, wave, prompt, outputs) for wave in waves)


def _wave_s(steps: StepTimes, batch: int, prompt: int, outputs: int) -> float:
    most = max(1, MAX_TOKENS // prompt)
    full, rest = divmod(batch, most)
    prefill = full * steps.prefill_s(most, prompt) if full else 0.0
    prefill += steps.prefill_s(rest, prompt) if rest else 0.0
    return prefill + steps.decodes_s(batch, prompt, outputs - 1)


@dataclass
class InFlight:
    """Result of a run: seconds in all, and the means over requests."""

    total_s: float
    ttft_s: float
    itl_s: float


def in_flight(
    steps: StepTimes, requests: int, prompt: int, outputs: int, concurrency: int | None = None
) -> InFlight:
    """Continuous batching of `requests`: a new one enters when KV for its whole length is free
    (and, in a closed loop, when one of the `concurrency` users is), its prompt is computed beside
    the decodes of that iteration.

    Assumes that such an iteration takes as long as its decodes and its prompts one after the other.
    """
    slots = min(MAX_BATCH, steps.kv_tokens(KV_FRACTION) // (prompt + outputs))
    if slots < 1:
        raise CapacityError(f"no request of {prompt + outputs} tokens fits")
    users = concurrency or requests
    arrivals = deque([(0.0, min(users, requests))])
    running: deque[list[int]] = deque()  # [age in tokens, requests]
    now = ttft_sum = itl_sum = 0.0
    live = tokens = sent = done = 0
    sent = min(users, requests)
    most = max(1, MAX_TOKENS // prompt)
    while done < requests:
        entered = _admit(arrivals, min(slots - live, most))
        count = sum(number for _, number in entered)
        took = steps.decode_s(live, prompt + tokens / live) if live else 0.0
        took += steps.prefill_s(count, prompt) if count else 0.0
        now += took
        itl_sum += took * live
        for cohort in running:
            cohort[0] += 1
        tokens += live
        if count:
            ttft_sum += sum((now - since) * number for since, number in entered)
            running.append([1, count])
            live += count
            tokens += count
        while running and running[0][0] >= outputs:
            age, number = running.popleft()
            live -= number
            tokens -= age * number
            done += number
            new = min(number, requests - sent) if concurrency else 0
            if new:
                arrivals.append((now, new))
                sent += new
    return InFlight(now, ttft_sum / requests, itl_sum / (requests * max(1, outputs - 1)))


def _admit(arrivals: deque, room: int) -> list[tuple[float, int]]:
    """Takes up to `room` of the waiting requests, oldest first: [(since, how many)]."""
    entered = []
    while room > 0 and arrivals:
        since, number = arrivals.popleft()
        taken = min(number, room)
        entered.append((since, taken))
        room -= taken
        if taken < number:
            arrivals.appendleft((since, number - taken))
    return entered
