"""Workloads at the analytic level → errors against every transaction of the same programs.

No silicon here: the question is when the cheap level may be trusted instead of the detailed one.
Where the errors come from: bank conflicts (a stride that meets one bank, random accesses, several
cores at one memory); links that messages and loads of many cores share (edge memory, all_to_all);
and scratchpad ports, whose traffic is spread evenly over a core's busiest time: what cannot overlap
(the reductions of a ring all_reduce) is slowed down though nothing moves meanwhile, and a NoC that
makes the run longer thins the traffic out.
"""

from npusim.spec.scenario import Fidelity
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.levels.cases import (
    ACCESSES,
    COLLECTIVES,
    COLLECTIVES_FULL,
    COMPUTE_BOUND,
    COMPUTE_BOUND_FULL,
    MEMORY_BOUND,
    MEMORY_BOUND_FULL,
    Case,
)
from npusim.validate.levels.congestion import BACKGROUNDS, slow_down
from npusim.validate.levels.measure import BOTH, MEMORY, NOC, Times, measure
from npusim.validate.suites import Progress

REFERENCE = "every transaction of the same programs"
ALL_LEVELS = (MEMORY, NOC, BOTH)
# arXiv 2510.05632 of its own coarse memory mode: within 3 % when compute-bound.
COMPUTE_GOAL = Goal("worst", 0.03)

Measured = dict[str, Times]
MEASURED = ("compute-bound", "memory-bound", "accesses", "collectives")


def run(full: bool, progress: Progress) -> list[Family]:
    """Compute-bound and memory-bound iterations, memory accesses, collectives, congestion."""
    measure(ACCESSES[0], ())  # loads the kernels, which no case's CPU time is to have
    compute = _measure(COMPUTE_BOUND + (COMPUTE_BOUND_FULL if full else ()), ALL_LEVELS, progress)
    memory = _measure(MEMORY_BOUND + (MEMORY_BOUND_FULL if full else ()), ALL_LEVELS, progress)
    accesses = _measure(ACCESSES, (MEMORY,), progress)
    collectives = _measure(COLLECTIVES + (COLLECTIVES_FULL if full else ()), (NOC,), progress)
    for name, measured in zip(MEASURED, (compute, memory, accesses, collectives), strict=True):
        _tell_speed_up(name, list(measured.values()), progress)
    return [
        _family("memory, compute-bound", compute, MEMORY, COMPUTE_GOAL, PORT_NOTE),
        _family("memory, memory-bound", memory, MEMORY),
        _family("memory, accesses", accesses, MEMORY, note=ACCESS_NOTE),
        _family("NoC, compute-bound", compute, NOC, note=EDGE_NOTE),
        _family("NoC, memory-bound", memory, NOC, note=EDGE_NOTE),
        _family("NoC, collectives", collectives, NOC, note=COLLECTIVE_NOTE),
        _family("both, compute-bound", compute, BOTH, note=EDGE_NOTE),
        _family("both, memory-bound", memory, BOTH, note=EDGE_NOTE),
        _congestion(progress),
    ]


# npu_group_hbm's is -0.4 % with scratchpad ports that are wide enough for everything.
PORT_NOTE = (
    "from traffic at scratchpad ports, taken as even, where arrays need them (npu_group_hbm) or "
    "tiles wait for loads (GPUs), and from bank conflicts where cores share a memory (tpuv4_like)"
)
ACCESS_NOTE = "no rows, banks or turnarounds: random and strided traffic comes out optimistic"
EDGE_NOTE = (
    "optimistic where edge memory's data shares the links of the real NoC, and where loads wait at "
    "their core's port, which is a bound at this level"
)
COLLECTIVE_NOTE = "optimistic where routes cross (all_to_all), pessimistic for reductions in a ring"


def _measure(cases: tuple[Case, ...], levels: tuple[Fidelity, ...], progress: Progress) -> Measured:
    found = {}
    for case in cases:
        progress(case.name)
        found[case.name] = measure(case, levels)
    return found


def _family(
    name: str, measured: Measured, level: Fidelity, goal: Goal | None = None, note: str = ""
) -> Family:
    """One level's makespans."""
    rows = [
        Comparison(case, times.makespan_ps[level] / 1e6, times.makespan_ps[Fidelity()] / 1e6, "us")
        for case, times in measured.items()
    ]
    return Family("levels", name, REFERENCE, tuple(rows), goal, note)


def _tell_speed_up(name: str, times: list[Times], progress: Progress) -> None:
    """Of all cases together, and the least and most of a case. To `progress` alone, as it differs
    from run to run: families of one commit have the same bytes."""
    for level in times[0].cpu_s:
        if level != Fidelity():
            whole = sum(t.cpu_s[Fidelity()] for t in times) / sum(t.cpu_s[level] for t in times)
            each = sorted(t.speed_up(level) for t in times)
            told = f"{whole:.1f}x faster here ({each[0]:.1f}x to {each[-1]:.1f}x)"
            progress(f"{name}, memory {level.memory}, NoC {level.noc}: simulated {told}\n")


def _congestion(progress: Progress) -> Family:
    """arXiv 2510.05632: no slow-down in coarse mode, at least 1.3x with every transaction."""
    rows = []
    for name in BACKGROUNDS:
        progress(f"congestion: {name}")
        ours, real = slow_down(name, NOC), slow_down(name, Fidelity())
        rows.append(Comparison(f"slow-down by {name}", ours, real, "x"))
    least = min(row.reference for row in rows)
    note = f"analytic: the same with and without other traffic; really at least {least:.2f}x slower"
    return Family("levels", "NoC, congested over idle", REFERENCE, tuple(rows), None, note)
