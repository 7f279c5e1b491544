"""The analytic level: exact times of single transfers by hand, and what a stream sustains."""

import numpy as np
import pytest
from noc_chips import ENGINES, TIMING, assemble, small_core

from npusim.errors import CapacityError
from npusim.machine import analytic_noc
from npusim.machine.analytic import sustained_fraction
from npusim.machine.system import run
from npusim.program import ProgramBuilder, array_unit
from npusim.simulate import simulate
from npusim.spec.hardware import (
    Dma,
    DramTiming,
    EdgePort,
    Hardware,
    Memory,
)
from npusim.spec.load import load_scenario, resolve
from npusim.spec.scenario import Fidelity

MEMORY = Fidelity(memory="analytic")
NOC = Fidelity(noc="analytic")
BOTH = Fidelity(memory="analytic", noc="analytic")
OPENING = 14 + 16  # tRCD + tCL, ns


def chip(attach="core", ports=(), channels=2, port_bytes=64, efficiency=1.0, **noc) -> Hardware:
    """3x3 cores at 1 GHz, so that a tick is a ns; scratchpad ports of `port_bytes` GB/s."""
    memory = Memory(
        attach=attach, ports=ports, capacity_gib=1, channels=channels, timing=TIMING,
        efficiency_fraction=efficiency,
    )  # fmt: skip
    one = small_core(port_bytes=port_bytes, dma=Dma(unit_bytes=256))
    return assemble(3, 3, one, memory, **noc)


def builder() -> tuple[ProgramBuilder, int]:
    b = ProgramBuilder()
    return b, b.op("test", "test")


def ends_ns(b: ProgramBuilder, hw: Hardware, fidelity: Fidelity, engine: str) -> list[float]:
    return (run(b.build(), hw, engine=engine, fidelity=fidelity).end_ps / 1000).tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_is_one_unit_of_the_whole_instance_at_what_it_sustains(engine):
    b, op = builder()
    b.load(4, op, memory=4, address=128, num_bytes=6400)
    trace = run(b.build(), chip(efficiency=0.5), engine=engine, fidelity=MEMORY)
    service = 6400 / (2 * 32 * 0.5)
    assert trace.makespan_ps == (20 + service + 20 + OPENING + 1) * 1000
    assert trace.channels["requests"].tolist() == [0] * 4 + [1] + [0] * 4
    assert trace.channels["peak_gb_s"].tolist() == [64] * 9
    assert trace.channel_names[4] == "hbm core 4"
    assert trace.cores["port_busy_ps"][4] == 6400 // 64 * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_loads_of_two_engines_share_one_server_without_a_gap(engine):
    b, op = builder()
    for index in range(4):
        b.load(0, op, memory=0, address=index * 4096, num_bytes=1000, engine=index % 2)
    ends = ends_ns(b, chip(), MEMORY, engine)
    first = 20 + 20 + OPENING + 1  # and 15.625 ns each, rounded up at the end only
    assert sorted(ends) == [first + n for n in (16, 32, 47, 63)]


@pytest.mark.parametrize("engine", ENGINES)
def test_direct_memory_is_no_faster_than_the_ports_of_its_cores(engine):
    b, op = builder()
    b.store(0, op, memory=0, address=0, num_bytes=6400)
    ends = ends_ns(b, chip(port_bytes=16), MEMORY, engine)
    assert ends == [1 + 20 + 6400 / 16 + 20 + OPENING]


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_a_transfer_cost_nothing_of_their_own(engine):
    b, op = builder()
    rows = {"row_bytes": 64, "stride_bytes": 8192}
    b.load(0, op, memory=0, address=0, num_bytes=6400, **rows)
    assert ends_ns(b, chip(), MEMORY, engine) == [20 + 100 + 20 + OPENING + 1]


PORTS = tuple(EdgePort(at=(row, 0)) for row in range(3))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_from_edge_memory_asks_all_ports_and_comes_in_by_one_link(engine):
    b, op = builder()
    num_bytes = 18 * 32 * 300  # 18 pieces, six at each of three ports
    b.load(0, op, memory=0, address=0, num_bytes=num_bytes)
    trace = run(b.build(), chip("edge", PORTS, 3), engine=engine, fidelity=BOTH)
    assert trace.channels["read_bytes"].tolist() == [num_bytes // 3] * 3
    assert trace.channels["requests"].tolist() == [6] * 3
    near = 1 + 2 + 1  # to the port at 0,0: in and out
    first = near + 1 + 20 + 300 + 20 + OPENING + near
    assert trace.makespan_ps == (first + 18 * 300 + 1) * 1000


def test_edge_memory_gives_the_bandwidth_of_all_ports_to_all_cores():
    b, op = builder()
    for core in range(9):
        for index in range(8):
            b.load(core, op, memory=0, address=index << 18, num_bytes=96_000)
    hw = chip("edge", PORTS, 3)
    trace = run(b.build(), hw, fidelity=BOTH)
    assert 9 * 8 * 96_000 / (trace.makespan_ps / 1000) > 0.97 * 3 * 32


def test_a_load_shorter_than_a_stripe_goes_to_its_own_port():
    b, op = builder()
    b.load(0, op, memory=0, address=5 * 4096, num_bytes=1024)
    trace = run(b.build(), chip("edge", PORTS, 6), fidelity=BOTH)
    assert trace.channels["read_bytes"].tolist() == [0, 0, 1024]
    assert trace.channel_names == [f"hbm port {port}" for port in range(3)]


@pytest.mark.parametrize("engine", ENGINES)
def test_units_stay_small_where_edge_memory_shares_a_real_noc(engine):
    b, op = builder()
    b.load(0, op, memory=0, address=0, num_bytes=25_600)
    trace = run(b.build(), chip("edge", PORTS, 3), engine=engine, fidelity=MEMORY)
    assert trace.channels["requests"].sum() == 100


@pytest.mark.parametrize("engine", ENGINES)
def test_a_message_is_one_packet_on_a_link_of_its_own(engine):
    b, op = builder()
    b.message(0, 5, op, 64_000)  # core 0,0 → core 1,2: three hops
    trace = run(b.build(), chip(), engine=engine, fidelity=NOC)
    hops, flits = 1 + (3 + 1) * (2 + 1), 64_000 // 32
    assert trace.end_ps.tolist() == [(1 + flits) * 1000, (1 + hops + flits + 1) * 1000]
    used = np.flatnonzero(trace.links["packets"])
    names = ["response core 0,0 in", "response core 0,0 to core 1,2"]
    assert [trace.link_names[i] for i in used] == names


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slow_scratchpad_port_bounds_a_message_at_either_end(engine):
    b, op = builder()
    b.message(0, 1, op, 6400)
    hops = 1 + 2 * 3
    ends = ends_ns(b, chip(port_bytes=16), NOC, engine)
    assert ends == [1 + 6400 / 16, 1 + hops + 6400 / 16 + 1]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crossbar_is_one_hub_in_between(engine):
    hw = chip(topology="crossbar")
    b, op = builder()
    b.message(0, 8, op, 3200)
    b.message(1, 7, op, 3200)
    hops = 1 + 3
    assert max(ends_ns(b, hw, NOC, engine)) == 1 + hops + 100 + 1


@pytest.mark.parametrize("topology", ["mesh", "torus", "crossbar"])
@pytest.mark.parametrize("goal", [1, 2, 5, 8])
def test_a_lone_packet_takes_the_time_of_the_real_noc(topology, goal):
    b, op = builder()
    b.message(0, goal, op, 64)  # a tick at either port, two flits
    hw = chip(topology=topology)
    assert ends_ns(b, hw, NOC, "fast") == ends_ns(b, hw, Fidelity(), "fast")


@pytest.mark.parametrize("engine", ENGINES)
def test_one_sender_sends_one_after_the_other_and_others_do_not_matter(engine):
    b, op = builder()
    b.message(0, 2, op, 3200)
    b.message(0, 1, op, 3200)
    alone = ends_ns(b, chip(), NOC, engine)
    for source in (1, 3, 4, 5, 6, 7, 8):
        b.message(source, 2, op, 320_000)
    assert alone[:3:2] == [101, 201]
    assert ends_ns(b, chip(), NOC, engine)[:4] == alone


@pytest.mark.parametrize("engine", ENGINES)
def test_a_handshake_asks_and_answers_over_private_links(engine):
    b, op = builder()
    b.message(0, 5, op, 3200)
    hw = chip(protocol="handshake", flow_control="channel_locked", lock_scope="both")
    way = 1 + (3 + 1) * (2 + 1) + 1  # a header is a flit
    issue, end = ends_ns(b, hw, NOC, engine)
    assert issue == 2 * way + 1 + 100
    assert end == 2 * way + 1 + way - 1 + 100 + 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_compute_task_still_needs_what_its_own_bytes_do(engine):
    b, op = builder()
    b.compute(0, array_unit(0), op, 10, sram_bytes=6400)
    b.compute(0, array_unit(0), op, 10, sram_bytes=64)
    assert ends_ns(b, chip(), BOTH, engine) == [100, 110]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_compute_task_has_of_its_port_what_transfers_leave_of_it(engine):
    b, op = builder()
    b.compute(0, array_unit(0), op, 200, sram_bytes=6400)
    b.load(0, op, memory=0, address=0, num_bytes=6400)  # in 200 ticks 32 of 64 bytes a tick
    assert ends_ns(b, chip(), BOTH, engine)[0] == 200
    b.compute(0, array_unit(0), op, 50, sram_bytes=6400)
    share = 6400 / (200 + 100)
    assert ends_ns(b, chip(), BOTH, engine)[2] == 200 + np.ceil(6400 / (64 - share))


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(analytic_noc, "MOST_PAIRS", 3)
    b, op = builder()
    for core in range(1, 5):
        b.message(0, core, op, 64)
    with pytest.raises(CapacityError, match=r"each of 4 pairs .* more than 3; use fidelity\.noc"):
        run(b.build(), chip(), fidelity=NOC)


@pytest.mark.parametrize(
    ("changes", "fraction"),
    [
        ({}, 1.0),
        ({"t_refi_ns": 4000, "t_rfc_ns": 400}, 0.9),
        ({"t_ccd_l_ns": 4}, 1.0),  # a burst of 64 bytes takes 2 ns, and there are four groups
        ({"t_ccd_l_ns": 4, "bank_groups": 1}, 0.5),
        ({"t_ccd_l_ns": 8, "bank_groups": 2}, 0.5),
        ({"t_rrd_ns": 40}, 0.8),  # a row of 1,024 bytes takes 32 ns
        ({"t_faw_ns": 160}, 0.8),
        ({"banks_per_group": 1, "bank_groups": 1}, 32 / 49),  # tRAS + tRP
        ({"t_ccd_l_ns": 4, "t_rrd_ns": 40, "bank_groups": 1}, 0.5),
    ],
)
def test_what_a_stream_sustains_follows_from_the_timing(changes, fraction):
    timing = DramTiming(**TIMING.model_dump() | changes)
    memory = Memory(capacity_gib=1, channels=1, timing=timing)
    assert sustained_fraction(memory) == pytest.approx(fraction)


@pytest.mark.parametrize(
    "part", ["hbm2", "hbm2e", "hbm3", "hbm3e", "hbm4", "ddr5", "lpddr5x", "gddr6"]
)
def test_a_long_stream_sustains_what_the_formula_says(part):
    case = ["workload.bytes=4194304", "workload.core=0", f"hw.memories.0.timing={{base: {part}}}"]
    setup = resolve(load_scenario("memory", [*case, *UNBOUND], hw="npu_large_core", model=None))
    memory = setup.hardware.memories[0]
    gb_s = 4194304 / (simulate(setup).makespan_ps / 1000)
    assert gb_s / memory.gb_s == pytest.approx(sustained_fraction(memory), rel=0.02)


UNBOUND = [
    "hw.core_groups.0.core.dma.max_outstanding=4096",
    "hw.core_groups.0.core.scratchpad.bank_bytes_per_cycle=4096",
]
