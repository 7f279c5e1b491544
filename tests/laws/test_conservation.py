"""What is asked for is what moves: in scratchpad ports, links and channels, of random programs;
stalls add up; tasks keep their order in time."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from law_cases import CHIPS, DECODE, ENGINES, PREFILL, simulated
from test_engines_agree import random_case

from npusim.engine.tables import (
    LOAD,
    NONE,
    RECV,
    REQUEST_NETWORK,
    RESPONSE_NETWORK,
    SEND,
    STORE,
    SYNC,
    Outcome,
    Tasks,
    Wiring,
)
from npusim.report.stalls import stalls

RANDOM = settings(max_examples=40, deadline=None)
PROGRAMS = st.randoms(use_true_random=False)


def moved(tasks: Tasks, kind: int) -> np.ndarray:
    return np.flatnonzero(tasks.kind == kind)


def pieces(tasks: Tasks, wiring: Wiring, task: int) -> np.ndarray:
    """Bytes of a LOAD or STORE by channel, counted byte by byte."""
    count, address = int(tasks.bytes[task]), int(tasks.address[task])
    row = int(tasks.row_bytes[task]) or count
    offsets = np.arange(count)
    addresses = address + offsets // row * int(tasks.stride_bytes[task]) + offsets % row
    memory = int(tasks.memory[task])
    stripes = addresses // wiring.memory_interleave[memory]
    channels = wiring.memory_first_channel[memory] + stripes % wiring.memory_num_channels[memory]
    return np.bincount(channels, minlength=len(wiring.channels))


def way(wiring: Wiring, network: int, source_fifo: int, node: int) -> list[int]:
    """Links from a source FIFO to a node."""
    link = int(wiring.source_link[source_fifo - wiring.num_links * wiring.num_vcs])
    links = [link]
    while wiring.link_to_router[link] != NONE:
        link = int(wiring.route[network, wiring.link_to_router[link], node])
        links.append(link)
    return links


def payloads(tasks: Tasks, wiring: Wiring) -> np.ndarray:
    """Payload bytes that cross each link."""
    total = np.zeros(wiring.num_links, np.int64)
    for send in moved(tasks, SEND):
        core, target = int(tasks.core[send]), int(tasks.core[tasks.match[send]])
        source = wiring.core_source[core, RESPONSE_NETWORK, 0]
        total[way(wiring, RESPONSE_NETWORK, source, target)] += tasks.bytes[send]
    for task in [*moved(tasks, LOAD), *moved(tasks, STORE)]:
        core = int(tasks.core[task])
        for channel, count in enumerate(pieces(tasks, wiring, task)):
            port = int(wiring.channels.port_node[channel])
            if port == NONE or not count:
                continue
            if tasks.kind[task] == LOAD:
                links = way(wiring, RESPONSE_NETWORK, wiring.channels.source[channel], core)
            else:
                source = wiring.core_source[core, REQUEST_NETWORK, 0]
                links = way(wiring, REQUEST_NETWORK, source, port)
            total[links] += count
    return total


def assert_bytes_conserved(wiring: Wiring, tasks: Tasks, outcome: Outcome) -> None:
    for kind, key in ((LOAD, "read_bytes"), (STORE, "write_bytes")):
        asked = sum((pieces(tasks, wiring, task) for task in moved(tasks, kind)), np.int64(0))
        np.testing.assert_array_equal(outcome.channel[key], asked + 0 * outcome.channel[key])
    ports = np.zeros(wiring.num_cores, np.int64)
    for kind in (LOAD, STORE, SEND, RECV):
        rows = moved(tasks, kind)
        np.add.at(ports, tasks.core[rows], tasks.bytes[rows])
    np.testing.assert_array_equal(outcome.core["port_bytes"], ports)
    headers = outcome.link["packets"] * wiring.header_bytes
    np.testing.assert_array_equal(outcome.link["bytes"] - headers, payloads(tasks, wiring))
    assert outcome.channel_bins.sum() == outcome.channel["read_bytes"].sum() + (
        outcome.channel["write_bytes"].sum()
    )
    assert outcome.link_bins.sum() == outcome.link["bytes"].sum()


def assert_times_in_order(tasks: Tasks, outcome: Outcome) -> None:
    ready, start, end = outcome.ready, outcome.start, outcome.end
    assert (ready >= 0).all() and (start >= 0).all() and (end >= start).all()
    assert (end >= ready).all()
    own_start = (tasks.kind != RECV) & (tasks.kind != SYNC)
    assert (start[own_start] >= ready[own_start]).all()
    receives = moved(tasks, RECV)
    assert (start[receives] == start[tasks.match[receives]]).all()
    expected = np.zeros(len(tasks), np.int64)
    for task in range(len(tasks)):
        after = tasks.dependents[tasks.dependents_start[task] : tasks.dependents_start[task + 1]]
        np.maximum.at(expected, after, end[task])
    np.testing.assert_array_equal(ready, expected)
    for queue in range(tasks.num_queues):
        inside = tasks.queue_tasks[tasks.queue_start[queue] : tasks.queue_start[queue + 1]]
        assert (np.diff(start[inside]) >= 0).all()  # one after the other, in table order


@RANDOM
@given(PROGRAMS)
def test_bytes_and_times_in_the_fast_engine(rng):
    wiring, tasks = random_case(rng)
    outcome = ENGINES["fast"](wiring, tasks)
    assume(not outcome.waiting)  # messages whose receives wait for one another
    assert_bytes_conserved(wiring, tasks, outcome)
    assert_times_in_order(tasks, outcome)


@settings(max_examples=8, deadline=None)
@given(PROGRAMS)
def test_bytes_and_times_in_the_reference_engine(rng):
    wiring, tasks = random_case(rng)
    outcome = ENGINES["simpy"](wiring, tasks)
    assume(not outcome.waiting)
    assert_bytes_conserved(wiring, tasks, outcome)
    assert_times_in_order(tasks, outcome)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("hw", CHIPS)
def test_every_cores_stalls_and_every_check_add_up(hw, phase):
    base = {"prefill": PREFILL, "decode": DECODE}[phase]
    run, result = simulated(
        [*base, "parallel.tp=4"], "quickstart" if phase == "prefill" else "decode", hw=hw
    )
    assert all(check["ok"] for check in result["checks"])
    for iteration in run.iterations:
        found = stalls(iteration.trace)
        assert (found.cores_ps >= 0).all() and (found.ops_ps >= 0).all()
        assert (found.cores_ps.sum(axis=1) == iteration.makespan_ps).all()
        # what operators are charged is what cores did before they were done
        assert found.ops_ps.sum() == found.cores_ps[:, :-1].sum()


@pytest.mark.parametrize("hw", CHIPS)
def test_a_tasks_ready_time_is_when_its_last_dependency_ended(hw):
    run, _ = simulated([*PREFILL, "parallel.tp=4"], hw=hw)
    trace = run.iterations[0].trace
    program = trace.program
    assert (trace.ready_ps >= 0).all() and (trace.end_ps >= trace.start_ps).all()
    for task in range(len(program)):
        before = program.deps[program.dep_start[task] : program.dep_start[task + 1]]
        assert trace.ready_ps[task] == max(trace.end_ps[before], default=0)
