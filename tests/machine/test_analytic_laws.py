"""Laws of the analytic level on the golden cases: engines agree, bounds hold, and which direction
an error can have."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from npusim.machine.analytic import sustained_fraction
from npusim.program import LOAD, STORE
from npusim.simulate import simulate
from npusim.spec.load import load_hardware, load_scenario, resolve

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))
from test_golden import CASES, TABLE

ENGINES = ["fast", "simpy"]


def golden(name: str, *overrides: str):
    hw, model, case = CASES[name]
    base = "decode" if "workload.batch=3" in case else "quickstart"
    setup = resolve(load_scenario(base, [*case, *overrides], hw=hw, model=model))
    return simulate(setup).iterations[0].trace


LEVELS = [("analytic", "transaction"), ("transaction", "analytic"), ("analytic", "analytic")]


FEW = ["large core, locked handshake, mnk", "edge memory, decode", "four cores, two stages"]


@pytest.mark.parametrize(("memory", "noc"), LEVELS)
@pytest.mark.parametrize("name", FEW)
def test_both_engines_give_equal_times(name, memory, noc):
    levels = [f"fidelity.memory={memory}", f"fidelity.noc={noc}"]
    fast, simpy = (golden(name, *levels, f"engine={engine}") for engine in ENGINES)
    for column in ("ready_ps", "start_ps", "end_ps"):
        assert (getattr(fast, column) == getattr(simpy, column)).all()


WIDE_PORT = "hw.core_groups.0.core.scratchpad.bank_bytes_per_cycle=4096"


@pytest.mark.parametrize("name", CASES)
def test_an_analytic_noc_is_never_slower_than_the_real_one(name):
    """No wait, no locks, no header but one, no way longer: messages can only come earlier. (A
    program may in theory end later when its messages come earlier; these do not.)"""
    real, coarse = (
        golden(name, WIDE_PORT, f"fidelity.noc={n}") for n in ("transaction", "analytic")
    )
    assert coarse.makespan_ps <= real.makespan_ps


@pytest.mark.parametrize("name", CASES)
def test_evenly_spread_port_traffic_costs_little_where_latency_binds(name):
    """A core's busiest time is then shorter than the run, so its traffic seems denser."""
    real = json.loads(TABLE.read_text())[name]["makespan_ps"]
    assert golden(name, "fidelity.noc=analytic").makespan_ps <= 1.02 * real


@pytest.mark.parametrize("name", CASES)
def test_analytic_memory_at_its_peak_is_no_slower_but_for_the_rows_it_opens(name):
    """Without refreshes and bank conflicts, an access can be slower only by opening a row that a
    real one finds open (and by the order in which it meets others)."""
    peak = [WIDE_PORT, "hw.memories.0.efficiency_fraction=1"]
    real, coarse = (
        golden(name, *peak, f"fidelity.memory={m}") for m in ("transaction", "analytic")
    )
    assert coarse.makespan_ps <= 1.02 * real.makespan_ps


@pytest.mark.parametrize("name", CASES)
def test_no_memory_serves_more_than_it_sustains(name):
    trace = golden(name, "fidelity.memory=analytic", "fidelity.noc=analytic")
    channels, program = trace.channels, trace.program
    moved = channels["read_bytes"] + channels["write_bytes"]
    memories = load_hardware(CASES[name][0]).memory_instances()
    assert moved.sum() == program.bytes[np.isin(program.kind, (LOAD, STORE))].sum()
    for instance in memories:
        of_it = channels["memory"] == instance.memory_id
        rate = instance.memory.gb_s * sustained_fraction(instance.memory)
        assert moved[of_it].sum() / rate <= trace.makespan_ps / 1000
        assert channels["peak_gb_s"][of_it].sum() == pytest.approx(instance.memory.gb_s)
