"""Iteration times → what a server prints of a whole run: static batches, and in-flight batching.

Assumes equal lengths of all requests and no time between iterations.
"""

from collections import deque
from collections.abc import Iterable
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


@dataclass(frozen=True)
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
    the decodes of that iteration. Raises CapacityError when one does not fit.

    Assumes that such an iteration takes as long as its decodes and its prompts one after the other.
    """
    slots = min(MAX_BATCH, steps.kv_tokens(KV_FRACTION) // (prompt + outputs))
    if slots < 1:
        raise CapacityError(f"no request of {prompt + outputs} tokens fits")
    queue = _Queue(requests, concurrency)
    running: deque[_Cohort] = deque()
    now = ttft_sum = itl_sum = 0.0
    while queue.done < requests:
        live = sum(cohort.size for cohort in running)
        entered = queue.admit(min(slots - live, max(1, MAX_TOKENS // prompt)))
        took = _iteration_s(steps, running, sum(size for _, size in entered), prompt)
        now += took
        itl_sum += took * live
        ttft_sum += sum((now - since) * size for since, size in entered)
        for cohort in running:
            cohort.age += 1
        if entered:
            running.append(_Cohort(1, sum(size for _, size in entered)))
        while running and running[0].age >= outputs:
            queue.leave(running.popleft().size, now)
    return InFlight(now, ttft_sum / requests, itl_sum / (requests * max(1, outputs - 1)))


@dataclass
class _Cohort:
    """`size` requests that entered together and have `age` tokens each."""

    age: int
    size: int


def _iteration_s(steps: StepTimes, running: Iterable[_Cohort], prompts: int, prompt: int) -> float:
    live = sum(cohort.size for cohort in running)
    took = steps.prefill_s(prompts, prompt) if prompts else 0.0
    if live:
        tokens = sum(cohort.age * cohort.size for cohort in running)
        took += steps.decode_s(live, prompt + tokens / live)
    return took


class _Queue:
    """Requests that wait: all at once, or in a closed loop one of each user."""

    def __init__(self, requests: int, users: int | None) -> None:
        first = min(users or requests, requests)
        self.waiting = deque([(0.0, first)])  # (since, how many)
        self.unsent = requests - first
        self.done = 0

    def admit(self, room: int) -> list[tuple[float, int]]:
        """Takes up to `room` of them, oldest first."""
        entered = []
        while room > 0 and self.waiting:
            since, size = self.waiting.popleft()
            taken = min(size, room)
            entered.append((since, taken))
            room -= taken
            if taken < size:
                self.waiting.appendleft((since, size - taken))
        return entered

    def leave(self, size: int, now: float) -> None:
        """Their users, if there are such, send the next ones."""
        self.done += size
        sent = min(size, self.unsent)
        if sent:
            self.waiting.append((now, sent))
            self.unsent -= sent
