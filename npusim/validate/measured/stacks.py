"""`data/stacks.csv` → what a serving stack adds to the time of its kernels, on the host."""

from dataclasses import dataclass
from functools import cache

from npusim.validate.data import read_rows
from npusim.validate.measured.rows import Row

PARTS = ("call", "request", "step")


@dataclass(frozen=True)
class Stack:
    """Seconds of a call, of each request in it, and of each decode step.

    Assumes that a stack without a row hides its host's work behind the kernels.
    """

    call_s: float = 0.0
    request_s: float = 0.0
    step_s: float = 0.0

    def added_s(self, requests: int) -> float:
        """Seconds that a call with so many requests takes beside its kernels."""
        return self.call_s + requests * self.request_s


@cache
def stacks() -> dict[str, Stack]:
    """By the names of `suite.SOURCES`; the file's ms as seconds."""
    return {
        row["stack"]: Stack(*(float(row[f"{what}_ms"]) / 1e3 for what in PARTS))
        for row in read_rows("stacks.csv")
    }


def is_fit(stack: str, row: Row) -> bool:
    """Whether a constant of the stack was fitted on this row."""
    if stack == "tt-metal":
        return row.metric == "decode_speed_per_user" and row.model == "Llama-3.2-1B"
    if stack == "trtllm-static":
        return row.metric == "ttft" and row.input_tokens == 128
    if row.hardware == "Gaudi2":  # of the preset, not of a stack
        return row.batch == "1"
    return stack == "nemo" and row.num_chips == 1 and row.batch in ("1", "8")
