"""A case → its makespan and CPU seconds at each combination of levels, of one program."""

import time
from dataclasses import dataclass

from npusim.machine.system import run
from npusim.passes.shared.chip import sustained
from npusim.simulate import simulate
from npusim.spec.load import load_scenario, resolve
from npusim.spec.scenario import Fidelity
from npusim.validate.levels.cases import Case

MEMORY = Fidelity(memory="analytic")
NOC = Fidelity(noc="analytic")
BOTH = Fidelity(memory="analytic", noc="analytic")


@dataclass(frozen=True)
class Times:
    """Simulated ps and CPU seconds of the machine, without graph and lowering, by level."""

    makespan_ps: dict[Fidelity, int]
    cpu_s: dict[Fidelity, float]

    def speed_up(self, level: Fidelity) -> float:
        return self.cpu_s[Fidelity()] / self.cpu_s[level]


def measure(case: Case, levels: tuple[Fidelity, ...]) -> Times:
    """Runs the case's program with every transaction and at each of `levels`."""
    setup = resolve(load_scenario(case.scenario, case.overrides, hw=case.hw, model=case.model))
    detailed = simulate(setup)
    program = detailed.iterations[0].trace.program
    makespan_ps = {Fidelity(): detailed.makespan_ps}
    cpu_s = {Fidelity(): detailed.cpu_s["simulation"]}
    for level in levels:
        start_s = time.process_time()
        trace = run(program, sustained(setup.hardware), fidelity=level)
        cpu_s[level] = time.process_time() - start_s
        makespan_ps[level] = trace.makespan_ps
    return Times(makespan_ps, cpu_s)
