"""A batch → the events of its iteration: the next may begin, its tokens are out."""

from collections.abc import Callable, Sequence

import simpy

from npusim.serving.request import Work

StageTimes = Callable[[Sequence[Work]], tuple[int, ...]]


class TimedExecution:
    """Iterations pass the pipeline stages one behind the other, each stage for the time that
    `stage_ps` gives; `host_ps` is added before the first.

    `neighbours` use the same memories; `crowded_ps` gives the times when all of them are busy.
    Assumes that who is busy when an iteration begins is so till it ends, and that it takes as much
    longer for each.
    """

    def __init__(
        self,
        env: simpy.Environment,
        stage_ps: StageTimes,
        host_ps: int = 0,
        crowded_ps: StageTimes | None = None,
    ) -> None:
        self._env = env
        self._stage_ps = stage_ps
        self._host_ps = host_ps
        self._crowded_ps = crowded_ps
        self._free_ps: list[int] = []
        self.neighbours: list[TimedExecution] = []

    @property
    def busy(self) -> bool:
        """Whether an iteration is under way."""
        return bool(self._free_ps) and self._free_ps[-1] > self._env.now

    def launch(self, works: Sequence[Work], delay_ps: int = 0) -> tuple[simpy.Event, simpy.Event]:
        """(the first stage is free, the iteration is done); one event when there is one stage."""
        stages_ps = self._times_ps(works)
        if len(self._free_ps) != len(stages_ps):
            self._free_ps = [0] * len(stages_ps)
        end_ps = int(self._env.now) + self._host_ps + delay_ps
        for stage, duration_ps in enumerate(stages_ps):
            end_ps = max(end_ps, self._free_ps[stage]) + duration_ps
            self._free_ps[stage] = end_ps
        done = self._env.timeout(end_ps - self._env.now)
        if len(stages_ps) == 1:
            return done, done
        return self._env.timeout(self._free_ps[0] - self._env.now), done

    def _times_ps(self, works: Sequence[Work]) -> tuple[int, ...]:
        """Ps of each stage with the neighbours that are busy now."""
        alone = self._stage_ps(works)
        num_busy = sum(other.busy for other in self.neighbours)
        if not num_busy or self._crowded_ps is None:
            return alone
        share, crowded = num_busy / len(self.neighbours), self._crowded_ps(works)
        return tuple(round(a + max(0, b - a) * share) for a, b in zip(alone, crowded, strict=True))
