"""The laws of conservation and of order in time on meshes, toruses and crossbars of any shape."""

import random

import pytest
from law_cases import ENGINES
from noc_chips import random_chip, random_program
from test_conservation import assert_bytes_conserved, assert_times_in_order, way

from npusim.engine.tables import RECV, RESPONSE_NETWORK, Tasks, Wiring
from npusim.machine.core import build_tasks
from npusim.machine.system import build_wiring


def random_case_of(seed: int) -> tuple[Wiring, Tasks]:
    rng = random.Random(seed)
    hardware = random_chip(rng)
    program = random_program(rng, hardware).build()
    return build_wiring(hardware), build_tasks(program, hardware)


@pytest.mark.parametrize("seed", range(40))
def test_bytes_and_times_on_any_topology(seed):
    wiring, tasks = random_case_of(seed)
    outcome = ENGINES["simpy" if seed % 8 == 0 else "fast"](wiring, tasks)
    assert not outcome.waiting
    assert_bytes_conserved(wiring, tasks, outcome)
    assert_times_in_order(tasks, outcome)


@pytest.mark.parametrize("seed", range(20))
def test_no_message_is_faster_than_its_way(seed):
    """Alone or not: its links' latencies, and its bytes over the narrowest of them."""
    wiring, tasks = random_case_of(seed)
    outcome = ENGINES["fast"](wiring, tasks)
    for recv in range(len(tasks)):
        if tasks.kind[recv] != RECV:
            continue
        send = int(tasks.match[recv])
        source = int(wiring.core_source[tasks.core[send], RESPONSE_NETWORK, 0])
        links = way(wiring, RESPONSE_NETWORK, source, int(tasks.core[recv]))
        flits = -(-int(tasks.bytes[send]) // int(wiring.link_bytes[links].min()))
        least = int(wiring.link_ticks[links].sum()) + flits
        assert outcome.end[recv] - outcome.start[send] >= least
