"""CONTRACT 4, serving: a ServeRun, what became of every request, iteration and move of KV."""

from dataclasses import dataclass, field

import numpy as np

WAITING, DONE, REJECTED = range(3)
STATUS_NAMES = ("unfinished", "done", "rejected")
TRANSFER, SWAP_OUT, SWAP_IN = range(3)
MOVE_NAMES = ("transfer", "swap_out", "swap_in")
NONE = -1

REQUEST_COLUMNS = {
    "request": "number, by arrival",
    "arrival_ps": "arrival",
    "scheduled_ps": "first time in a batch; -1: never",
    "first_token_ps": "first token out; -1: never",
    "finish_ps": "last token out; -1: never",
    "prompt_tokens": "tokens in",
    "output_tokens": "tokens asked for",
    "generated_tokens": "tokens out",
    "cached_tokens": "prompt tokens found in a prefix cache",
    "preemptions": "times that its KV was dropped or swapped out",
    "priority": "class, 0 the most urgent",
    "instance": "index of the instance that prefilled it; -1: none",
    "decode_instance": "index of the instance that decoded it; -1: none",
    "status": "0 unfinished, 1 done, 2 rejected: no instance can ever hold it",
}
ITERATION_COLUMNS = {
    "instance": "index of the instance",
    "start_ps": "start",
    "end_ps": "all its tokens are out; -1: under way when a partial run ended",
    "free_ps": "the first pipeline stage may begin the next one; -1: the same",
    "prefill_tokens": "prompt tokens",
    "decodes": "requests that decode",
    "requests": "requests in the batch",
    "context_tokens": "sum over requests of the KV that is there before",
    "waiting": "requests of the instance that wait, after the batch was chosen",
    "kv_blocks": "KV blocks held, of requests and of the prefix cache",
    "preemptions": "requests preempted to make room for it",
}
TRANSFER_COLUMNS = {
    "request": "number",
    "source": "index of the instance it leaves",
    "destination": "index of the instance it goes to; the same: swapped",
    "start_ps": "start",
    "end_ps": "all of it is there",
    "bytes": "KV bytes",
    "kind": "index into MOVE_NAMES",
}
PREEMPTION_COLUMNS = {
    "request": "number",
    "instance": "index of the instance",
    "start_ps": "taken out of the batch, its KV dropped or swapped out",
    "end_ps": "in a batch again; -1: never",
}


@dataclass(frozen=True)
class InstanceRow:
    """An instance: its name, its place, what it can hold."""

    name: str
    role: str  # both, prefill, decode
    chip: int
    cores: tuple[int, ...]
    tp: int
    pp: int
    scheduler: str
    num_blocks: int
    block_tokens: int
    sram_blocks: int = 0
    kv_bytes_per_token: int = 0


@dataclass
class ServeRun:
    """What serve() returns. Times are integer ps; the first request of the traffic arrives at or
    after 0.

    * `requests`, `iterations`, `transfers`: int64 columns by name, see REQUEST_COLUMNS …, one row a
      request in order of arrival, an iteration by start, a move of KV by start.
    * `token_ps`, `token_start` (requests + 1,): when each token of request i came out,
      `token_ps[token_start[i]:token_start[i + 1]]`.
    * `preemptions`: the same, one row a preemption; empty when they were only counted.
    * `partial`: why it ended early ("" when it did not).
    """

    requests: dict[str, np.ndarray]
    token_ps: np.ndarray
    token_start: np.ndarray
    iterations: dict[str, np.ndarray]
    transfers: dict[str, np.ndarray]
    instances: list[InstanceRow]
    iteration_kind: str
    iteration_facts: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    partial: str = ""
    cpu_s: dict[str, float] = field(default_factory=dict)
    preemptions: dict[str, np.ndarray] = field(default_factory=dict)
