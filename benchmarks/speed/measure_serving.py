"""A scenario with traffic and overrides → one line of JSON: CPU seconds, iterations, peak memory.

Run as a program of its own, `python benchmarks/speed/measure_serving.py SCENARIO [KEY=VALUE]...`,
so that the peak memory is that of this one run.
"""

import json
import resource
import sys
import time


def measure(scenario: str, overrides: list[str]) -> dict:
    """Serves once; kernels are loaded before the clock starts."""
    from npusim.cli.run import warm_up
    from npusim.serve_trace import DONE
    from npusim.serving.iteration import simulated, transfer
    from npusim.serving.serve import serve
    from npusim.spec.load import load_scenario, resolve
    from npusim.units import PS_PER_S

    warm_up()
    clock = Clock(simulated, "simulate_batch")
    moves_clock = Clock(transfer, "run_machine")
    start_s = time.process_time()
    run = serve(resolve(load_scenario(scenario, overrides)))
    total_s = time.process_time() - start_s
    requests = run.requests
    num_iterations = len(run.iterations["start_ps"])
    simulation_s = clock.seconds + moves_clock.seconds
    own_s = run.cpu_s["serving"] - simulation_s
    return {
        "total_s": total_s,
        "set_up_s": run.cpu_s["set-up"],
        "simulation_s": simulation_s,
        "serving_s": own_s,
        "per_1k_iterations_s": own_s / num_iterations * 1000,
        "requests": len(requests["status"]),
        "done": int((requests["status"] == DONE).sum()),
        "iterations": num_iterations,
        "simulated": int(run.iteration_facts.get("simulated_iterations", 0)),
        "mean_batch": float(run.iterations["requests"].mean()),
        "tokens": len(run.token_ps),
        "transfers": len(run.transfers["start_ps"]),
        "makespan_s": float(run.token_ps.max()) / PS_PER_S,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class Clock:
    """CPU seconds inside a function of a module: puts itself in its place."""

    def __init__(self, module, name: str) -> None:
        self.seconds = 0.0
        self._call = getattr(module, name)
        setattr(module, name, self)

    def __call__(self, *arguments, **named):
        start_s = time.process_time()
        result = self._call(*arguments, **named)
        self.seconds += time.process_time() - start_s
        return result


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2:])))
