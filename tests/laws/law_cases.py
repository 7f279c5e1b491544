"""What the laws share: runs of scenarios, chips with clocks that release tasks at given ticks, and
a count, step by step, of how many stand in a queue."""

import contextlib
from unittest import mock

import numpy as np
from chips import Stream, mesh

from npusim.engine import fast
from npusim.engine.reference import run as run_reference
from npusim.report.result import result_dict
from npusim.simulate import simulate
from npusim.spec.load import load_scenario, resolve

CHIPS = ["npu_large_core", "npu_edge_hbm", "npu_group_hbm", "tpuv4_like"]
SMALL = ["model.num_hidden_layers=2", "model.hidden_size=256", "model.intermediate_size=768",
         "model.num_attention_heads=8", "model.num_key_value_heads=4", "model.head_dim=32",
         "model.vocab_size=2048"]  # fmt: skip
PREFILL = [*SMALL, "workload.prompt_tokens=96"]
DECODE = [*SMALL, "workload.batch=2", "workload.context_tokens=300"]
ENGINES = {"fast": fast.run, "simpy": run_reference}
# A bank access costs nothing but the time on the bus.
NO_TIMING = dict.fromkeys(
    ("t_rcd", "t_rcd_wr", "t_rp", "t_cl", "t_cwl", "t_ras", "t_rrd", "t_rrd_l", "t_faw", "t_ccd_l",
     "t_rtp", "t_wtr", "t_wtr_l", "t_rtw", "t_wr", "t_refi", "t_rfc", "t_cmd"), 0)  # fmt: skip


def simulated(overrides, base="quickstart", hw=None, model="qwen3-1.7b"):
    setup = resolve(load_scenario(base, overrides, hw=hw, model=model))
    run = simulate(setup)
    return run, result_dict(setup, run)


def clock(stream: Stream, core: int, ticks) -> list[int]:
    """COMPUTE tasks on `core` that end at these ticks, ascending and from 1 on."""
    tasks = []
    for duration in np.diff(ticks, prepend=0).tolist():
        tasks.append(stream.compute(core, duration, tasks[-1:]))
    return tasks


def channel_of_equal_requests(service_ticks: int, cores: int = 1, **settings):
    """One core (or more of them), one channel that takes `service_ticks` for a request of a single
    burst."""
    dram = {**NO_TIMING, "mb_s": 64_000_000 // service_ticks // 1_000, "window": 1}
    chip = {"dram": dram, "dma_outstanding": 1 << 20, "interleave": 1 << 20, **settings}
    return mesh(1, cores, dma_unit_bytes=64, **chip)


def loads_at(ticks, clock_core: int = 0) -> Stream:
    """A LOAD of 64 bytes by core 0 released at each tick."""
    stream = Stream()
    for index, tick in enumerate(clock(stream, clock_core, ticks)):
        stream.load(0, 64 * index, 64, [tick])
    return stream


def lindley_waits(arrivals, service: int) -> np.ndarray:
    """Waits in a FIFO queue with one server: W[i + 1] = max(0, W[i] + S - (A[i + 1] - A[i]))."""
    waits = [0]
    for gap in np.diff(arrivals).tolist():
        waits.append(max(0, waits[-1] + service - gap))
    return np.array(waits)


def poisson_ticks(rng, mean_gap: float, count: int) -> np.ndarray:
    """Ascending integer ticks, exponential gaps of at least one tick."""
    gaps = np.maximum(1, np.rint(rng.exponential(mean_gap, count))).astype(np.int64)
    return np.cumsum(gaps)


def mean_and_error(values: np.ndarray, batches: int = 20) -> tuple[float, float]:
    """Mean and its standard error by batch means, since waits in a row are alike."""
    size = len(values) // batches
    means = values[: size * batches].reshape(batches, size).mean(axis=1)
    return float(values.mean()), float(means.std(ddof=1) / np.sqrt(batches))


class Count:
    """How many stand in a queue, and the sum of that over all ticks."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int]] = []

    def change(self, tick: int, by: int) -> None:
        self.events.append((tick, by))

    def area(self) -> int:
        """Number in the queue, tick by tick, added up."""
        if not self.events:
            return 0
        steps = np.zeros(max(tick for tick, _ in self.events) + 1, np.int64)
        for tick, by in self.events:
            steps[tick] += by
        in_queue = np.cumsum(steps)
        assert (in_queue >= 0).all() and in_queue[-1] == 0
        return int(in_queue.sum())


@contextlib.contextmanager
def watched(cls: type, changes: dict[str, int], key):
    """Counts calls of methods of the reference engine: each changes a queue's length by so many.
    Gives {key(object): Count}."""
    counts: dict = {}

    def counting(method, by):
        def call(self, *args, **kwargs):
            now = self._clock.now if hasattr(self, "_clock") else self._chip.clock.now
            counts.setdefault(key(self, *args), Count()).change(now, by)
            return method(self, *args, **kwargs)

        return call

    with contextlib.ExitStack() as stack:
        for name, by in changes.items():
            patched = counting(getattr(cls, name), by)
            stack.enter_context(mock.patch.object(cls, name, patched))
        yield counts
