"""A scenario and overrides → one line of JSON: CPU seconds by phase, sizes and peak memory.

Run as a program of its own, `python benchmarks/speed/measure.py SCENARIO [KEY=VALUE]...`, so that
the peak memory is that of this one run.
"""

import json
import resource
import sys
import time


def measure(scenario: str, overrides: list[str]) -> dict:
    """Simulates once; kernels are loaded before the clock starts."""
    from npusim.cli.run import warm_up
    from npusim.report.result import result_dict
    from npusim.report.summary import summarize
    from npusim.simulate import simulate
    from npusim.spec.load import load_scenario, resolve

    warm_up()
    plane = DataPlaneClock()
    setup = resolve(load_scenario(scenario, overrides))
    start_s = time.process_time()
    run = simulate(setup)
    simulated_s = time.process_time() - start_s
    summarize(setup, run, result_dict(setup, run))
    traces = [i.trace for i in run.iterations if i.reused_from is None]
    return {
        "makespan_ps": run.makespan_ps,
        "cpu_s": run.cpu_s,
        "total_s": simulated_s,
        "data_plane_s": plane.seconds,
        "report_s": time.process_time() - start_s - simulated_s,
        "tasks": sum(len(t.program) for t in traces),
        "packets": sum(int(t.links["packets"].sum()) for t in traces if "packets" in t.links),
        "bursts": sum(
            int(t.channels["requests"].sum()) for t in traces if "requests" in t.channels
        ),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "notes": run.notes,
    }


class DataPlaneClock:
    """CPU seconds inside the kernels: puts itself in place of the function that enters them."""

    def __init__(self) -> None:
        from npusim.engine import fast

        self.seconds = 0.0
        self._advance = fast.advance
        fast.advance = self

    def __call__(self, *arguments):
        start_s = time.process_time()
        status = self._advance(*arguments)
        self.seconds += time.process_time() - start_s
        return status


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2:])))
