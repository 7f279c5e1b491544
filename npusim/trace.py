"""CONTRACT 4: a Trace, what the machine did: task times, totals by channel, link and core, spans."""

from dataclasses import dataclass, field

import numpy as np

from npusim.program import Program

SPAN_DTYPE = np.dtype(
    [
        ("track", np.int32),
        ("task", np.int32),
        ("start_ps", np.int64),
        ("end_ps", np.int64),
        ("bytes", np.int64),
    ]
)


@dataclass
class Trace:
    """All times are integer ps since the start; a task that did not run has -1.

    * `ready_ps`, `start_ps`, `end_ps` (n tasks): dependencies met; first activity; done. A RECV
      starts when its first byte leaves the sender.
    * `channels`, `links`, `cores`: exact totals, a numpy column a key; row i is channel, link or
      core i, described by `channel_names[i]` … Keys are listed in CHANNEL_KEYS, LINK_KEYS, CORE_KEYS.
    * `channel_bins`, `link_bins`: int64 (rows, bins) bytes moved in each interval of `bin_ps`.
    * `spans`: None, or an object with `.chunks()` that yields SPAN_DTYPE arrays: busy intervals of
      channels and links (track = channel id, or num_channels + link id), sorted by start in a track.
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
    "queue_ps": "sum over units of arrival at the queue → service start",
    "peak_gb_s": "peak bandwidth",
}
LINK_KEYS = {
    "network": "0 requests and write data, 1 responses and messages",
    "bytes": "payload and header bytes carried",
    "busy_ps": "time the link carries flits",
    "packets": "packets carried",
    "blocked_ps": "time a packet waited for this link with no room downstream or a lock held",
    "gb_s": "link bandwidth",
}
CORE_KEYS = {
    "port_bytes": "bytes that DMA and NoC moved through the scratchpad port",
    "port_busy_ps": "time the port served DMA and NoC",
    "stretch_ps": "time compute tasks were stretched by port contention",
}


class SpanLog:
    """Busy intervals kept as chunks, in memory up to `memory_chunks`, then in a temporary file."""

    def __init__(self, chunks: list[np.ndarray] | None = None):
        self._chunks = chunks or []

    def append(self, chunk: np.ndarray) -> None:
        self._chunks.append(chunk)

    def chunks(self):
        yield from self._chunks

    def __len__(self) -> int:
        return sum(len(c) for c in self._chunks)
