"""CPU seconds and memory of whole simulations: real models, exact and with reuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = Path(__file__).with_name("measure.py")
PREFILL = ["workload.prompt_tokens=2048"]  # of the quickstart: llama-3.1-8b, 64 cores, tp 64
DECODE = ["workload.batch=1"]
# name: (scenario, overrides, CPU seconds aimed at, MiB aimed at)
CASES = {
    "quickstart": ("quickstart", [], 5, 2048),
    "llama-3.1-8b prefill 2048, tp 64": ("quickstart", PREFILL, 20, 2048),
    "the same, --reuse": ("quickstart", [*PREFILL, "reuse=true"], 2, 2048),
    "llama-3.1-8b decode at 2048, tp 64": ("decode", DECODE, 6, 2048),
    "the same step, --reuse": ("decode", [*DECODE, "reuse=true"], 1, 2048),
    "qwen3-4b, 16 layers, tp 4 x pp 16, 256 in 20 out": ("qwen3_4b_pp16", [], 10, 1024),
    "one llama-3-8b layer, 128 tokens, tpuv4-like": ("onnxim_layer", [], 1, 1024),
}


def run_case(scenario: str, overrides: list[str]) -> dict:
    command = [sys.executable, str(MEASURE), scenario, *overrides]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_simulation(name, benchmark, figures):
    scenario, overrides, aim_s, aim_mib = CASES[name]
    found = benchmark.pedantic(run_case, (scenario, overrides), rounds=1, iterations=1)
    benchmark.extra_info.update(found)
    phases = dict(found["cpu_s"])
    phases["control plane"] = phases.pop("simulation") - found["data_plane_s"]
    phases["data plane"] = found["data_plane_s"]
    split = ", ".join(f"{phase} {s:.2f}" for phase, s in phases.items())
    figures.append(
        f"{name}: {found['total_s']:.2f} s CPU (aim {aim_s}): {split}, "
        f"report {found['report_s']:.2f}; {found['tasks']:,} tasks, "
        f"{found['packets'] + found['bursts']:,} packets and bursts, "
        f"{found['peak_mib']:.0f} MiB (aim {aim_mib}), makespan {found['makespan_ps'] / 1e6:.1f} us"
    )
