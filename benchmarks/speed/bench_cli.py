"""CPU seconds that the program takes before it does anything."""

import resource
import subprocess
import sys

import pytest

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "npusim --help": ["-m", "npusim", "--help"],
    "npusim list hardware": ["-m", "npusim", "list", "hardware"],
    "npusim check quickstart": ["-m", "npusim", "check", "quickstart"],
    "npusim run gemm": ["-m", "npusim", "run", "gemm"],
}


def child_cpu_s(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", COMMANDS)
def test_start(name, benchmark, figures):
    child_cpu_s(COMMANDS[name])
    seconds = sorted(child_cpu_s(COMMANDS[name]) for _ in range(5))
    benchmark.pedantic(child_cpu_s, (COMMANDS[name],), rounds=3, iterations=1)
    figures.append(f"{name}: {seconds[2]:.3f} s CPU, median of 5")
