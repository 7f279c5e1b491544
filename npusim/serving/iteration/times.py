"""A scenario's `iteration` → for each instance, the times of its iterations."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from npusim.errors import SpecError, pick
from npusim.serving.iteration.execution import StageTimes
from npusim.serving.kv.cache import KvCache
from npusim.serving.request import Work
from npusim.serving.settle import Settled
from npusim.spec.load import Setup
from npusim.spec.scenario import Fidelity

if TYPE_CHECKING:
    from npusim.serving.iteration.transfer import TransferTimes

Facts = dict[str, object]
COARSE = Fidelity(memory="analytic", noc="analytic")


class Timings:
    """Times of the iterations of all instances; equal instances share what was simulated."""

    def __init__(self, setup: Setup) -> None:
        self.kind = setup.scenario.serving.iteration
        self._setup = setup
        self._known: dict[tuple, object] = {}
        self.fidelity = COARSE if self.kind == "analytic" else None

    def of(self, settled: Settled, cache: KvCache) -> StageTimes:
        new = pick(TIMINGS, self.kind, "serving.iteration")
        return new(settled, cache, self._known)

    @cached_property
    def transfers(self) -> "TransferTimes":
        """Times of moves of KV."""
        from npusim.serving.iteration.transfer import TransferTimes

        return TransferTimes(self._setup, self.fidelity)

    def facts(self) -> Facts:
        """What is to be known of the times: how many iterations were simulated for them."""
        counts = [getattr(known, "num_simulated", 0) for known in self._known.values()]
        return {"simulated_iterations": sum(counts)} if any(counts) else {}


def _memo(settled: Settled, cache: KvCache, known: dict[tuple, object]) -> StageTimes:
    return _from_memo(settled, cache, known, None)


def _analytic(settled: Settled, cache: KvCache, known: dict[tuple, object]) -> StageTimes:
    return _from_memo(settled, cache, known, COARSE)


def _from_memo(
    settled: Settled, cache: KvCache, known: dict[tuple, object], fidelity: Fidelity | None
) -> StageTimes:
    from npusim.serving.iteration.simulated import LEVELS, memo_of, shape_of

    key = shape_of(settled)
    if key not in known:
        known[key] = memo_of(settled, fidelity)
    memo = known[key]
    stage_ps = memo.stage_ps  # type: ignore[attr-defined]
    size = settled.size
    if not size.sram_blocks:
        return stage_ps

    def with_level(works: Sequence[Work]) -> tuple[int, ...]:
        level = round(LEVELS * cache.resident_fraction([work.request for work in works]))
        return stage_ps(works, level)

    return with_level


def _table(settled: Settled, cache: KvCache, known: dict[tuple, object]) -> StageTimes:
    from npusim.serving.iteration.table import KernelTable

    path = settled.setup.scenario.serving.table
    assert path is not None
    key = (path, settled.row.tp)
    if key not in known:
        known[key] = KernelTable.load(path, settled.setup.model, settled.row.tp)
    table = known[key]
    if settled.row.pp > 1:
        raise SpecError(f"must be 1 with iteration table, not {settled.row.pp}", "parallel.pp")
    return lambda works: (table.iteration_ps(works),)  # type: ignore[attr-defined]


TIMINGS: dict[str, Callable[[Settled, KvCache, dict[tuple, object]], StageTimes]] = {
    "memo": _memo,
    "analytic": _analytic,
    "table": _table,
}
