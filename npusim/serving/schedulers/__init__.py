"""Queues of an instance and limits → the next batch: one class a policy, and their table."""

from collections.abc import Callable
from typing import Protocol

from npusim.serving.request import Work
from npusim.serving.schedulers.budgeted_fusion import BudgetedFusion
from npusim.serving.schedulers.chunked_prefill import ChunkedPrefill
from npusim.serving.schedulers.decode_first import DecodeFirst
from npusim.serving.schedulers.prefill_first import PrefillFirst
from npusim.serving.schedulers.queues import Queues
from npusim.serving.schedulers.slo_aware import SloAware
from npusim.serving.schedulers.static import Static
from npusim.spec.serving import Limits, Slo


class Scheduler(Protocol):
    """Chooses the batches of an instance from its queues, within its limits.

    It may have `wake_ps`, the time at which to ask again although nothing happens (None: no such
    time), and `observe(works, duration_ps)`, which wants to know of every iteration that ended.
    """

    def next_batch(self, now_ps: int) -> list[Work]:
        """The next iteration, its requests marked as under way; empty: nothing to do now."""


SCHEDULERS: dict[str, Callable[[Queues, Limits, Slo, int], Scheduler]] = {
    "budgeted_fusion": BudgetedFusion,
    "chunked_prefill": ChunkedPrefill,
    "decode_first": DecodeFirst,
    "prefill_first": PrefillFirst,
    "slo": SloAware,
    "static": Static,
}
