"""Rotating weights with `collective: ring_phased`: a core does one thing at a time, in phases."""

import numpy as np
import pytest

from npusim.graph.micro import build_gemm
from npusim.machine.system import run
from npusim.passes.pipeline import lower
from npusim.program import RECV, SEND
from npusim.spec.load import load_hardware
from npusim.spec.scenario import Dtypes, Parallel

HANDSHAKE = {"noc.protocol": "handshake", "noc.link_bytes_per_cycle": 16}


def rotate(tp, collective, shape=(64, 512, 512)):
    chip = load_hardware("npu_large_core", HANDSHAKE)
    parallel = Parallel(tp=tp, partition="mn", collective=collective)
    program = lower(build_gemm(*shape), chip, parallel, "linear_seq", Dtypes())
    return program, chip


def deps(program, task):
    return set(program.deps[program.dep_start[task] : program.dep_start[task + 1]].tolist())


@pytest.mark.parametrize("tp", (2, 3, 4, 5, 8))
def test_even_ranks_send_then_receive_and_odd_ranks_the_reverse(tp):
    program, _ = rotate(tp, "ring_phased")
    for core in range(tp):
        sends = np.flatnonzero((program.kind == SEND) & (program.core == core))
        recvs = np.flatnonzero((program.kind == RECV) & (program.core == core))
        assert len(sends) == len(recvs) >= tp - 1
        for send, recv in zip(sends, recvs, strict=True):
            first, second = (recv, send) if core % 2 else (send, recv)
            assert first in deps(program, second)


@pytest.mark.parametrize("tp", (3, 4, 8))
def test_phases_change_no_byte(tp):
    sent = []
    for collective in ("ring", "ring_phased"):
        program, _ = rotate(tp, collective)
        sends = program.kind == SEND
        sent.append(np.bincount(program.core[sends], program.bytes[sends]))
    assert (sent[0] == sent[1]).all()


@pytest.mark.parametrize("tp", (2, 3, 4, 5))
def test_rendezvous_ends_and_narrow_links_take_twice_as_long(tp):
    spans = []
    for collective in ("ring", "ring_phased"):
        trace = run(*rotate(tp, collective))
        assert (trace.end_ps >= 0).all()
        spans.append(trace.makespan_ps)
    assert 1.5 < spans[1] / spans[0] < 3.1  # three phases where an odd number closes the ring
