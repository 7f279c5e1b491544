"""Topologies: links and routes as tables, and exact times on both engines."""

import numpy as np
import pytest
from noc_chips import ENGINES, chip, messages

from npusim.errors import SpecError
from npusim.machine.system import build_wiring, run
from npusim.program import ProgramBuilder
from npusim.spec.load import load_hardware


def test_a_crossbar_has_a_link_in_and_out_for_each_node_and_one_hub():
    wiring = build_wiring(chip())
    assert wiring.route.shape == (2, 1, 8)
    assert wiring.num_links == 2 * 2 * 8
    assert wiring.link_to_node[wiring.route[1, 0]].tolist() == list(range(8))
    assert wiring.link_name[-1] == "response memory port 1 out"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("src", "dst"), [(0, 1), (0, 5), (4, 2)])
def test_all_cores_of_a_crossbar_are_equally_far(engine, src, dst):
    b, (recv,) = messages([(src, dst)], 256)
    trace = run(b.build(), chip(), engine=engine)
    assert trace.end_ps[recv] == (256 // 64 + 1 + 3 + 256 // 32 + 256 // 64) * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_load_over_a_crossbar_pays_two_crossings(engine):
    b = ProgramBuilder()
    b.load(3, b.op("test", "test"), memory=0, address=0, num_bytes=1024)
    trace = run(b.build(), chip(), engine=engine)
    request, data, response = 1 + 3 + 1, 14 + 16 + 32, 1 + 3 + 1024 // 32
    assert trace.makespan_ps == (request + 20 + data + 20 + response + 1024 // 64) * 1000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crossbar_shares_nothing_but_the_links_of_the_two_ends(engine):
    one, (alone,) = messages([(0, 1)], 4096)
    apart, both = messages([(0, 1), (2, 3)], 4096)
    together, same = messages([(0, 1), (2, 1)], 4096)
    ends = [run(b.build(), chip(), engine=engine).end_ps for b in (one, apart, together)]
    assert ends[1][both].tolist() == [ends[0][alone]] * 2
    # the second message's packets take turns: the receiver's link carries twice as much
    assert max(ends[2][same]) == ends[0][alone] + 4096 // 32 * 1000


def test_channels_are_dealt_to_the_ports_of_a_crossbar_in_turn():
    wiring = build_wiring(chip(ports=2, channels=4))
    assert wiring.channels.port_node.tolist() == [6, 7, 6, 7]


def test_a_crossbar_is_quick_to_build_for_a_chip_like_a_gpu():
    wiring = build_wiring(chip(rows=9, columns=12, ports=40, channels=80))
    assert wiring.route.shape == (2, 1, 148)
    assert np.unique(wiring.route).size == 2 * 148


@pytest.mark.parametrize(
    ("name", "noc", "text"),
    [
        (
            "npu_edge_hbm",
            {"topology": "crossbar"},
            "memories.0.ports.0.at has no meaning on a crossbar; give a number of ports",
        ),
        ("npu_edge_hbm", {"one_way": True}, "noc.one_way needs topology: torus, not mesh"),
        (
            "npu_edge_hbm",
            {"topology": "torrus"},
            "noc.topology must be one of mesh, torus, crossbar, not 'torrus'; "
            "did you mean 'torus'?",
        ),
        (
            "wormhole_n150",
            {"topology": "crossbar"},
            "noc.one_way needs topology: torus, not crossbar",
        ),
        (
            "wormhole_n150",
            {"virtual_channels": 1},
            "noc.buffer_packets must be at least 2 on a torus with one virtual channel",
        ),
    ],
)
def test_a_topology_that_does_not_fit_is_refused_in_one_line(name, noc, text):
    with pytest.raises(SpecError) as caught:
        load_hardware(name, {"noc": noc})
    assert caught.value.message == text
