"""The engine's burst kernel of a DRAM channel → errors against a command-level channel."""

from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.dram import ramulator
from npusim.validate.dram.ours import ours, part_timing
from npusim.validate.dram.requests import reference
from npusim.validate.dram.traffic import PATTERNS, requests
from npusim.validate.suites import Progress

SUITE = "dram"
COMMANDS = "command-level channel (every JEDEC constraint, FR-FCFS)"
PARTS = ("hbm2e", "hbm3", "hbm3e", "hbm4", "lpddr5x", "gddr6", "ddr5")
QUEUE = 16  # the default window of chips
LOADS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
QUICK_LOADS = (0.1, 0.5)
QUICK_PATTERNS = (
    "stream of 64 B", "stream of 4 KiB", "64 B of every 1 KiB", "random 64 B", "random 256 B",
    "8 streams of 256 B", "6 streams of 1 KiB", "random 512 B, a third writes",
    "3 streams of 4 KiB, one of writes",
)  # fmt: skip
SATURATING = 3.0  # times the peak
BANDWIDTH, LATENCY = Goal("worst", 0.03), Goal("worst", 0.10)
IN_ORDER = (
    "worst where a stride or streams meet in few banks: the kernel moves data in order of picks"
)
NEAR = (
    "where the load is near what the pattern can reach, a small error of rate is a large one here"
)


def run(full: bool, progress: Progress) -> list[Family]:
    """A family by kind of traffic for the bandwidth of a saturated channel and for the mean latency
    of Poisson arrivals at loads up to the peak; and Ramulator 2."""
    names = list(PATTERNS) if full else list(QUICK_PATTERNS)
    families = []
    for kind in dict.fromkeys(PATTERNS[name].kind for name in names):
        progress(f"{kind} traffic, {len(PARTS)} memories")
        chosen = [name for name in names if PATTERNS[name].kind == kind]
        families += _of_kind(kind, chosen, full)
    progress("Ramulator 2")
    return [*families, ramulator.family(full)]


def _of_kind(kind: str, names: list[str], full: bool) -> list[Family]:
    rates = [_saturated(part, name, full) for part in PARTS for name in names]
    latencies = [
        _latency(part, name, load, full)
        for part in PARTS
        for name in names
        for load in (LOADS if full else QUICK_LOADS)
    ]
    return [
        Family(
            SUITE, f"{kind}, bandwidth", f"{COMMANDS}: bandwidth", tuple(rates), BANDWIDTH, IN_ORDER
        ),
        Family(SUITE, f"{kind}, latency", f"{COMMANDS}: latency", tuple(latencies), LATENCY, NEAR),
    ]


def _saturated(part: str, name: str, full: bool) -> Comparison:
    model, oracle = _figures(part, name, SATURATING, full)
    return Comparison(f"{part}, {name}", model.gb_s, oracle.gb_s, "GB/s")


def _latency(part: str, name: str, load: float, full: bool) -> Comparison:
    model, oracle = _figures(part, name, load, full)
    case = f"{part}, {name}, load {load:.0%}"
    return Comparison(case, model.latency_ns, oracle.latency_ns, "ns")


def _figures(part: str, name: str, load: float, full: bool):
    """(ours, the reference's) of the same requests; as many as make half a MiB, but not too few."""
    timing, size = part_timing(part), PATTERNS[name].size
    count = (
        min(max((1 << 19) // size, 500), 4000) if full else min(max((1 << 18) // size, 250), 1000)
    )
    made = requests(name, count, load * timing.channel_gb_s)
    return ours(timing, QUEUE, made), reference(timing, part, QUEUE, made)
