"""Recorded NoC traces of Tenstorrent Wormhole → errors against the silicon's cycles.

Nothing is fitted: chip.py holds published figures only. What they matter, in mean |error| of the
36 replays (3.8 %): 2 virtual channels a link instead of 4: 5.0 %; one response at a time: 3.2 %;
1 KiB a channel: 3.7 %; pieces of 64 or 256 bytes: 3.8 %; a flit a cycle at L1: 3.9 %, on all links
of L1 and NoC: 6.4 %; twice the time to serve a request: 3.5 %. The traces hold reads only, of L1 or
DRAM, by one NoC or both.

The worst, tiles that read and are read at once, is the worst of tt-npe too: neither models L1
banks. What every figure lacks is the end of a kernel: the time from the last data to the barrier
that polls for it.
"""

from npusim.validate.compare import Comparison, Family, Goal, errors_of
from npusim.validate.suites import Progress
from npusim.validate.wormhole.chip import build_wiring
from npusim.validate.wormhole.replay import alone_cycles, replayed_cycles
from npusim.validate.wormhole.traces import Trace, read_traces

SILICON = "cycles on the chip, traces of tenstorrent/tt-npe"


def run(full: bool, progress: Progress) -> list[Family]:
    """All 36 traces, quick or full: with contention, and each read by itself."""
    progress("Wormhole: 36 recorded traces")
    traces, wiring = read_traces(), build_wiring()
    replayed = {trace.name: replayed_cycles(trace, wiring) for trace in traces}
    alone = {trace.name: alone_cycles(trace) for trace in traces}
    return [
        _family(
            "NoC traces, replayed",
            SILICON,
            traces,
            replayed,
            Goal("mape", 0.10),
            _tt_npe(traces, True),
        ),
        _family(
            "NoC traces, no contention",
            f"{SILICON}, as if each read were alone",
            traces,
            alone,
            None,
            _tt_npe(traces, False),
        ),
    ]


def _family(
    name: str,
    reference: str,
    traces: list[Trace],
    ours: dict[str, float],
    goal: Goal | None,
    note: str,
) -> Family:
    rows = [Comparison(t.name, ours[t.name], t.golden_cycles, "cycles") for t in traces]
    return Family("wormhole", name, reference, tuple(rows), goal, note)


def _tt_npe(traces: list[Trace], congestion: bool) -> str:
    """What tt-npe itself reaches on the same traces."""
    theirs = [t.tt_npe_cycles if congestion else t.tt_npe_no_congestion_cycles for t in traces]
    errors = errors_of(
        [Comparison(t.name, cycles, t.golden_cycles, "cycles")
         for t, cycles in zip(traces, theirs, strict=True)]
    )  # fmt: skip
    assert errors
    kind = "with" if congestion else "without"
    return (
        f"tt-npe, the vendor's estimator, {kind} its congestion model: mean |error| "
        f"{errors.mape:.1%}, worst {errors.worst:+.1%}"
    )
