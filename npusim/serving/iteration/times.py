"""A scenario's `iteration` → for each instance, the times of its iterations."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from npusim.errors import SpecError
from npusim.serving.iteration.execution import StageTimes
from npusim.serving.kv.cache import KvCache
from npusim.serving.neighbours import ALONE, Neighbours
from npusim.serving.request import Work
from npusim.serving.settle import Settled
from npusim.spec.load import Setup
from npusim.spec.scenario import Fidelity

if TYPE_CHECKING:
    from npusim.serving.iteration.memo import Memo
    from npusim.serving.iteration.table import KernelTable
    from npusim.serving.iteration.transfer import TransferTimes

Facts = dict[str, object]
COARSE = Fidelity(memory="analytic", noc="analytic")


class Timings:
    """Times of the iterations of all instances; equal instances share what was simulated."""

    def __init__(self, setup: Setup) -> None:
        self.kind = setup.scenario.serving.iteration
        self._setup = setup
        self._memos: dict[tuple, Memo] = {}
        self._tables: dict[tuple, KernelTable] = {}
        self.fidelity = COARSE if self.kind == "analytic" else None

    def of(self, settled: Settled, cache: KvCache) -> StageTimes:
        """Works of an iteration → ps of each pipeline stage. Raises SpecError for a table that does
        not go with the instance."""
        return self._of_table(settled) if self.kind == "table" else self._of_memo(settled, cache)

    def crowded(self, settled: Settled, cache: KvCache, around: Neighbours) -> StageTimes | None:
        """The same while all neighbours are busy: with an even part of the bandwidth of memories
        that they share. None where times are measured."""
        return None if self.kind == "table" else self._of_memo(settled, cache, around)

    def _of_memo(self, settled: Settled, cache: KvCache, around: Neighbours = ALONE) -> StageTimes:
        from npusim.serving.iteration.simulated import LEVELS, memo_of, shape_of

        key = (*shape_of(settled), len(around.others))
        if key not in self._memos:
            self._memos[key] = memo_of(settled, self.fidelity, around)
        stage_ps = self._memos[key].stage_ps
        if not settled.size.sram_blocks:
            return stage_ps

        def with_level(works: Sequence[Work]) -> tuple[int, ...]:
            level = round(LEVELS * cache.resident_fraction([work.request for work in works]))
            return stage_ps(works, level)

        return with_level

    def _of_table(self, settled: Settled) -> StageTimes:
        from npusim.serving.iteration.table import KernelTable

        path, row = settled.setup.scenario.serving.table, settled.row
        assert path is not None
        key = (path, row.tp)
        if key not in self._tables:
            self._tables[key] = KernelTable.load(path, settled.setup.model, row.tp)
        if row.pp > 1:
            raise SpecError(f"must be 1 with iteration table, not {row.pp}", "parallel.pp")
        return self._tables[key].stage_ps

    @cached_property
    def transfers(self) -> "TransferTimes":
        """Times of moves of KV."""
        from npusim.serving.iteration.transfer import TransferTimes

        return TransferTimes(self._setup, self.fidelity)

    def facts(self) -> Facts:
        """What is to be known of the times: how many iterations were simulated for them."""
        count = sum(memo.num_simulated for memo in self._memos.values())
        return {"simulated_iterations": count} if count else {}
