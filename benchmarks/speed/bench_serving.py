"""CPU seconds and memory of serving: analytic at growing lengths, the vLLM replay, Azure-like
traffic by memo, prefill apart from decode, and a short live run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = Path(__file__).with_name("measure_serving.py")
# Lengths with the medians of Azure's coding trace of 2023 (Patel et al., Splitwise, ISCA 2024:
# 1,500 in, 13 out) and, by sigma, its means (about 2,050 in, 28 out).
LENGTHS = (
    "prompt: {kind: lognormal, median: 1500, sigma: 0.79, max: 7000}, "
    "output: {kind: lognormal, median: 13, sigma: 1.24, max: 1000}"
)
PD = "[{role: prefill, count: 2, parallel: {tp: 16}}, {role: decode, count: 2, parallel: {tp: 16}}]"


def poisson(requests: int, rate_per_s: float) -> str:
    return f"traffic={{kind: poisson, requests: {requests}, rate_per_s: {rate_per_s}, {LENGTHS}}}"


def azure(requests: int, iteration: str = "memo", *overrides: str) -> tuple[str, list[str]]:
    """Four instances of Qwen3-4B on the 64-core chip."""
    texts = [poisson(requests, 30.0), f"serving.iteration={iteration}", *overrides]
    return "serve_azure", texts


LIVE = [
    "traffic={kind: burst, requests: 20, prompt: {kind: fixed, tokens: 128}, "
    "output: {kind: fixed, tokens: 100}}", "serving.iteration=live",
    "serving.instances=[{count: 1}]",
]  # fmt: skip
APART = [f"serving.instances={PD}", "serving.transfer=whole"]
# name: (scenario and overrides, CPU seconds aimed at or None, MiB aimed at)
CASES = {
    "1,000 requests, analytic": (azure(1_000, "analytic"), None, 2048),
    "10,000 requests, analytic": (azure(10_000, "analytic"), None, 2048),
    "100,000 requests, analytic": (azure(100_000, "analytic"), 60, 2048),
    "vLLM replay, 300 requests, table": (("serve_vllm_replay", []), 2, 1024),
    "1,000 Azure-like requests, memo": (azure(1_000), 60, 2048),
    "10,000 Azure-like requests, memo": (azure(10_000), 300, 2048),
    "10,000 Azure-like requests, memo, PD": (azure(10_000, "memo", *APART), 300, 2048),
    "live, 20 requests x 100 tokens, 16 cores": (("serve", LIVE), 180, 2048),
}


def run_case(scenario: str, overrides: list[str]) -> dict:
    command = [sys.executable, str(MEASURE), scenario, *overrides]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CASES)
def test_serving(name, benchmark, figures):
    case, aim_s, aim_mib = CASES[name]
    found = benchmark.pedantic(run_case, case, rounds=1, iterations=1)
    benchmark.extra_info.update(found)
    aim = f" (aim {aim_s})" if aim_s else ""
    figures.append(
        f"{name}: {found['total_s']:.2f} s CPU{aim}: set-up {found['set_up_s']:.2f}, "
        f"{found['simulated']} simulated iterations {found['simulation_s']:.2f}, "
        f"the rest {found['serving_s']:.2f} = {found['per_1k_iterations_s']:.4f} per 1k of "
        f"{found['iterations']:,} iterations of {found['mean_batch']:.1f} requests; "
        f"{found['tokens']:,} tokens, {found['transfers']:,} moves of KV, "
        f"{found['peak_mib']:.0f} MiB (aim {aim_mib}), makespan {found['makespan_s']:.1f} s"
    )
