"""CONTRACT 4: a Trace, what the machine did: task times, totals by channel, link, core; spans."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np

# A trace carries its program, so its readers find what a program is made of here.
from npusim.program import (
    COMPUTE,
    FIRST_ARRAY_UNIT,
    FIRST_DMA_UNIT,
    KIND_NAMES,
    LOAD,
    NONE,
    RECV,
    SEND,
    STORE,
    SYNC,
    UNITS_PER_CORE,
    VECTOR_UNIT,
    OpRow,
    Program,
)

__all__ = [
    "CHANNEL_KEYS",
    "COMPUTE",
    "CORE_KEYS",
    "FIRST_ARRAY_UNIT",
    "FIRST_DMA_UNIT",
    "KIND_NAMES",
    "LINK_KEYS",
    "LOAD",
    "NONE",
    "RECV",
    "SEND",
    "SPAN_DTYPE",
    "STORE",
    "SYNC",
    "UNITS_PER_CORE",
    "VECTOR_UNIT",
    "Iteration",
    "OpRow",
    "Program",
    "Run",
    "SpanLog",
    "Trace",
]

SPAN_DTYPE = np.dtype(
    [
        ("track", np.int32),
        ("task", np.int32),
        ("start_ps", np.int64),
        ("end_ps", np.int64),
        ("bytes", np.int64),
    ]
)

READ_SPANS = 1_000_000


@dataclass
class Trace:
    """All times are integer ps since the start; a task that did not run has -1.

    * `ready_ps`, `start_ps`, `end_ps` (n tasks): dependencies met; first activity; done. A RECV
      starts when its first byte leaves the sender.
    * `channels`, `links`, `cores`: exact totals, a numpy column a key; row i is channel, link or
      core i, see `channel_names[i]` … Keys are listed in CHANNEL_KEYS, LINK_KEYS, CORE_KEYS.
    * `channel_bins`, `link_bins`: int64 (rows, bins) bytes moved in each interval of `bin_ps`.
    * `spans`: None, or an object with `.chunks()` that yields SPAN_DTYPE arrays: busy intervals of
      channels and links (track = channel id, or num_channels + link id), by start in a track.
    """

    program: Program
    makespan_ps: int
    ready_ps: np.ndarray
    start_ps: np.ndarray
    end_ps: np.ndarray
    channels: dict[str, np.ndarray]
    links: dict[str, np.ndarray]
    cores: dict[str, np.ndarray]
    channel_names: list[str]
    link_names: list[str]
    core_names: list[str]
    bin_ps: int = 0
    channel_bins: np.ndarray | None = None
    link_bins: np.ndarray | None = None
    spans: "SpanLog | None" = None
    counters: dict[str, int] = field(default_factory=dict)


@dataclass
class Iteration:
    """One iteration of the workload (a prefill, one decode step, a micro-operation) in a Run.

    `makespan_ps` equals `trace.makespan_ps` unless layers were reused; then `reuse` says how:
    {"simulated_layers", "reused_layers", "spread_fraction"}. `reused_from` is the index of the
    iteration whose trace this one shares, None when it was simulated itself.
    """

    label: str
    start_ps: int
    makespan_ps: int
    trace: Trace
    new_tokens: int = 0
    output_tokens: int = 0
    reuse: dict | None = None
    reused_from: int | None = None


@dataclass
class Run:
    """What simulate() returns: the iterations in order, notes for the user (what `auto` picked and
    why, replicated heads, spills, reuse), and CPU seconds by phase: lowering, simulation, …"""

    iterations: list[Iteration]
    notes: list[str] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def makespan_ps(self) -> int:
        last = self.iterations[-1]
        return last.start_ps + last.makespan_ps


CHANNEL_KEYS = {
    "memory": "memory instance id",
    "read_bytes": "bytes read",
    "write_bytes": "bytes written",
    "busy_ps": "time the data bus carries data",
    "requests": "units served",
    "row_hits": "accesses that found their row open",
    "row_misses": "accesses that opened a row",
    "request_ps": "sum over units of issue by the DMA engine → arrival at the queue",
    "queue_ps": "sum over units of arrival at the queue → pick by the scheduler",
    "service_ps": "sum over units of pick → data ready, or written",
    "response_ps": "sum over units of data ready → written to the scratchpad, or acknowledged",
    "peak_gb_s": "peak bandwidth",
}
LINK_KEYS = {
    "network": "0 requests and write data, 1 responses and messages",
    "bytes": "payload and header bytes carried",
    "busy_ps": "time the link carries flits",
    "packets": "packets carried",
    "wait_ps": "sum over packets of wishing for the link → getting it",
    "gb_s": "link bandwidth",
}
CORE_KEYS = {
    "port_bytes": "bytes that DMA and NoC moved through the scratchpad port",
    "port_busy_ps": "time the port served DMA and NoC",
    "stretch_ps": "time compute tasks were stretched by port contention",
}


class SpanLog:
    """Busy intervals in the order they were appended; more than `memory_spans` of them go to an
    unnamed temporary file, so that memory stays bounded however long the simulation is."""

    def __init__(self, chunks: list[np.ndarray] | None = None, memory_spans: int = 4_000_000):
        self._chunks: list[np.ndarray] = []
        self._in_memory = 0
        self._spooled = 0
        self._memory_spans = memory_spans
        self._file: IO[bytes] | None = None
        for chunk in chunks or []:
            self.append(chunk)

    def append(self, chunk: np.ndarray) -> None:
        """Copies an array of SPAN_DTYPE, or the same columns as integers (spans, 5)."""
        self._chunks.append(_as_spans(chunk))
        self._in_memory += len(chunk)
        if self._in_memory > self._memory_spans:
            self._spool()

    def chunks(self) -> Iterator[np.ndarray]:
        """The spans in order, at most `READ_SPANS` or one appended chunk at a time."""
        size = SPAN_DTYPE.itemsize
        for first in range(0, self._spooled, READ_SPANS):
            assert self._file is not None
            count = min(READ_SPANS, self._spooled - first)
            self._file.seek(first * size)
            yield np.frombuffer(self._file.read(count * size), SPAN_DTYPE)
        yield from self._chunks

    @property
    def num_spans(self) -> int:
        """Not `__len__`: a log that is still empty would count as none at all."""
        return self._spooled + self._in_memory

    def _spool(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="npusim-spans-")  # noqa: SIM115
        self._file.seek(0, 2)
        for chunk in self._chunks:
            self._file.write(chunk.data)
        self._spooled += self._in_memory
        self._chunks, self._in_memory = [], 0


def _as_spans(chunk: np.ndarray) -> np.ndarray:
    if chunk.dtype == SPAN_DTYPE:
        return chunk.copy()
    spans = np.empty(len(chunk), SPAN_DTYPE)
    for index, name in enumerate(SPAN_DTYPE.names or ()):
        spans[name] = chunk[:, index]
    return spans
