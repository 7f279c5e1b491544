"""Names of suites → the functions that run them.

A suite is a function `run(full, progress) -> list[Family]` in a module of its own. `full` false is
the quick set of cases, a few seconds of CPU; true is all of them. `progress(text)` is told what
runs now; a text with a line's end stays on the screen: for CPU seconds, which families, having the
same bytes in every run of one commit, do not hold.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from npusim.validate.compare import Family

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Suite:
    """Where a suite stands and what it compares."""

    module: str
    about: str

    def run(self, full: bool, progress: Progress) -> list[Family]:
        families = importlib.import_module(self.module).run(full, progress)
        assert len({f.name for f in families}) == len(families)
        return families


SUITES: dict[str, Suite] = {
    "compute": Suite(
        "npusim.validate.compute.suite", "systolic array against registers, SCALE-Sim and ONNXim"
    ),
    "dram": Suite(
        "npusim.validate.dram.suite",
        "burst kernel of a channel against every command, on seven memories; Ramulator 2",
    ),
    "noc": Suite(
        "npusim.validate.noc.suite", "packet-level NoC against a flit-level wormhole simulator"
    ),
    "collectives": Suite(
        "npusim.validate.collectives.suite",
        "on-chip and chip-to-chip collectives against closed forms, ASTRA-sim and A100",
    ),
    "wormhole": Suite(
        "npusim.validate.wormhole.suite", "recorded NoC traces against Tenstorrent Wormhole silicon"
    ),
    "measured": Suite(
        "npusim.validate.measured.suite",
        "kernels, iterations and whole runs of LLMs against measurements on real chips",
    ),
    "serving": Suite(
        "npusim.validate.serving.suite",
        "a run of vLLM on RTX 4090, replayed from its measured kernels; memo against live",
    ),
    "levels": Suite(
        "npusim.validate.levels.suite",
        "analytic memory and NoC against every transaction: error and speed-up",
    ),
}
