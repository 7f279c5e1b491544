"""Events and tasks a CPU second of the machine alone, and `fast` against `simpy`, on 8x8 cores."""

import time

import numpy as np
import pytest

from npusim.cli.run import warm_up
from npusim.machine.system import run
from npusim.program import Program, ProgramBuilder
from npusim.spec.load import load_hardware

CHIP = "npu_edge_hbm"
UNIT_BYTES = 4096


def uniform_traffic(num_cores: int, messages: int, num_bytes: int, seed: int = 0) -> Program:
    """Every core sends `messages` to cores drawn at random, as fast as it can."""
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder()
    op = builder.op("traffic", "transfer")
    for _ in range(messages):
        for core in range(num_cores):
            builder.message(
                core, (core + int(rng.integers(1, num_cores))) % num_cores, op, num_bytes
            )
    return builder.build()


def loads_and_messages(num_cores: int, rounds: int, units: int) -> Program:
    """Rounds of load, compute, send to the next core, with half of `units` in each transfer."""
    builder = ProgramBuilder()
    op = builder.op("round", "transfer")
    num_bytes = units // 2 * UNIT_BYTES
    for index in range(rounds):
        for core in range(num_cores):
            address = (index * num_cores + core) * num_bytes
            load = builder.load(core, op, 0, address, num_bytes)
            done = builder.compute(core, 1, op, 100, [load])
            builder.message(core, (core + 1) % num_cores, op, num_bytes, [done])
    return builder.build()


def measured(program: Program, engine: str) -> tuple[float, int, int]:
    """CPU seconds of one run; its hops and bursts (packets granted a link, units served by a
    channel); and the events of its data plane (head and tail of a hop, port, channel, timer)."""
    hardware = load_hardware(CHIP)
    start_s = time.process_time()
    trace = run(program, hardware, engine=engine)
    seconds = time.process_time() - start_s
    hops = int(trace.links["packets"].sum() + trace.channels["requests"].sum())
    return seconds, hops, trace.counters["events"]


PROGRAMS = {
    "uniform random messages of 64 KiB": lambda: uniform_traffic(64, 400, 65536),
    "loads, computes and messages, 24 units a task": lambda: loads_and_messages(64, 200, 24),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_fast_engine(name, benchmark, figures):
    warm_up()
    program = PROGRAMS[name]()
    seconds, hops, events = benchmark.pedantic(measured, (program, "fast"), rounds=1, iterations=1)
    figures.append(
        f"{name}: {seconds:.2f} s CPU: {hops / seconds / 1e6:.1f} M hops and bursts/s "
        f"({events / seconds / 1e6:.1f} M events/s), {len(program) / seconds:,.0f} tasks/s"
    )


def test_fast_against_simpy(benchmark, figures):
    warm_up()
    program = loads_and_messages(64, 8, 24)
    fast_s = min(measured(program, "fast")[0] for _ in range(5))
    simpy_s, hops, _ = benchmark.pedantic(measured, (program, "simpy"), rounds=1, iterations=1)
    figures.append(
        f"fast against simpy, {hops:,} hops and bursts: {fast_s:.3f} s and {simpy_s:.1f} s CPU, "
        f"{simpy_s / fast_s:.0f} times"
    )
