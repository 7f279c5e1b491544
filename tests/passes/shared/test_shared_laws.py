"""Laws on every chip with kernels: no faster than its roofline, all bytes asked for are moved."""

import pytest

from npusim.graph.batch import decode, prefill
from npusim.graph.transformer import build
from npusim.machine.system import run
from npusim.passes.shared.chip import sustained
from npusim.passes.shared.lower import lower_kernels
from npusim.program import LOAD, STORE
from npusim.spec.load import bundled, load_hardware, load_model
from npusim.spec.scenario import Dtypes, Fidelity, Parallel

CHIPS = [name for name in bundled("hardware") if load_hardware(name).kernels]
SMALL = load_model(
    "llama-3.1-8b", {"num_hidden_layers": 1, "hidden_size": 2048, "vocab_size": 2048}
)
BATCHES = {"prefill": prefill(1, 300), "decode": decode(5, 333)}
LEVELS = [Fidelity(), Fidelity(memory="analytic", noc="analytic")]


@pytest.mark.parametrize("level", LEVELS, ids=["transaction", "analytic"])
@pytest.mark.parametrize("phase", BATCHES)
@pytest.mark.parametrize("name", CHIPS)
def test_no_faster_than_the_roofline_and_every_byte_is_moved(name, phase, level):
    chip = load_hardware(name)
    program = lower_kernels(build(SMALL, BATCHES[phase]), chip, Parallel(), Dtypes())
    trace = run(program, sustained(chip), fidelity=level)
    arrays, clock = chip.core(0).arrays, chip.core(0).clock_mhz
    macs_per_us = arrays.rows * arrays.columns * arrays.count * clock * chip.mesh.num_cores
    assert trace.makespan_ps >= program.flops.sum() / 2 / macs_per_us * 1e6
    for kind, column in ((LOAD, "read_bytes"), (STORE, "write_bytes")):
        for instance in chip.memory_instances():
            rows = (program.kind == kind) & (program.memory == instance.memory_id)
            served = trace.channels["memory"] == instance.memory_id
            moved = trace.channels[column][served].sum()
            assert moved == program.bytes[rows].sum()
            assert trace.makespan_ps >= moved / instance.memory.gb_s * 1000
