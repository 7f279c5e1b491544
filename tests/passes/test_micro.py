"""Micro-operations: transfer, collective and memory workloads as Programs, and their errors."""

from itertools import pairwise

import numpy as np
import pytest

from npusim.errors import SpecError
from npusim.passes import micro
from npusim.passes.micro import lower_collective, lower_memory, lower_transfer
from npusim.program import LOAD, RECV, SEND, STORE, dma_unit
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import CollectiveWorkload, MemoryWorkload, TransferWorkload
from npusim.units import KIB, MIB

TIMING = {"channel_gb_s": 32, "t_rcd_ns": 14, "t_rp_ns": 14, "t_cl_ns": 14, "t_ras_ns": 33}
HBM = {"capacity_gib": 1 / 64, "channels": 2, "timing": TIMING}


def chip(*memories, rows=2, columns=4, engines=2):
    core = {
        "clock_mhz": 500,
        "arrays": {"rows": 8, "columns": 8},
        "vector": {"lanes": 8},
        "sfu": {"lanes": 8},
        "scratchpad": {"capacity_mib": 1},
        "dma": {"engines": engines},
    }
    return Hardware(
        name="test",
        mesh={"rows": rows, "columns": columns},
        core_groups=[{"name": "all", "core": core}],
        memories=memories,
        noc={"clock_mhz": 500, "link_bytes_per_cycle": 16},
    )


def transfer(src, dst, num_bytes=100):
    workload = TransferWorkload(kind="transfer", src=src, dst=dst, bytes=num_bytes)
    return lower_transfer(chip(), workload)


def test_a_transfer_is_one_message():
    program = transfer([0, 1], 7, 65536)
    assert list(program.kind) == [SEND, RECV] and list(program.core) == [1, 7]
    assert list(program.bytes) == [65536, 65536] and list(program.match) == [1, 0]
    assert program.ops[0].kind == "transfer"


@pytest.mark.parametrize(
    ("src", "dst", "message"),
    [
        (0, 8, r"^workload.dst: core 8 is outside the 2x4 mesh$"),
        ([2, 0], 1, r"^workload.src: core \[2, 0\] is outside the 2x4 mesh$"),
        ([0, 3], 3, r"^workload.dst: src and dst must be different cores, both are core 3$"),
    ],
)
def test_bad_ends_of_a_transfer(src, dst, message):
    with pytest.raises(SpecError, match=message):
        transfer(src, dst)


def reduce(hardware=None, placement="ring", **keys):
    keys = {"kind": "collective", "op": "all_reduce", "bytes": 1600, "algorithm": "ring", **keys}
    return lower_collective(hardware or chip(), CollectiveWorkload(**keys), placement)


def test_a_collective_defaults_to_all_cores_in_placement_order():
    program = reduce()
    sends = program.kind == SEND
    assert sends.sum() == 2 * 7 * 8
    order = [0, 1, 2, 3, 7, 6, 5, 4]
    following = dict(pairwise([*order, 0]))
    assert all(
        following[c] == p for c, p in zip(program.core[sends], program.peer[sends], strict=True)
    )
    assert program.bytes[sends].sum() == 2 * 7 * 1600
    assert "all_reduce over 8 cores: ring, estimated" in program.notes[0]


def test_a_collective_keeps_the_order_of_the_cores_given():
    program = reduce(cores=[5, [0, 0], 3])
    sends = program.kind == SEND
    peers = set(zip(program.core[sends], program.peer[sends], strict=True))
    assert peers == {(5, 0), (0, 3), (3, 5)}


@pytest.mark.parametrize(
    "op", ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"]
)
@pytest.mark.parametrize("algorithm", ["auto", "ring", "tree", "mesh2d"])
def test_every_collective_and_algorithm_lowers(op, algorithm):
    program = reduce(op=op, algorithm=algorithm)
    assert (program.kind == SEND).any() and len(program.notes) == 1


def test_a_vector_larger_than_the_scratchpad_is_noted():
    assert "2.00 MiB exceeds the scratchpad of 1.00 MiB" in reduce(bytes=2 * MIB).notes[1]


@pytest.mark.parametrize(
    ("cores", "message"),
    [
        ([0, 9], r"^workload.cores: core 9 is outside the 2x4 mesh$"),
        ([0, 1, [0, 1]], r"^workload.cores: core 1 is listed twice$"),
        ([3], r"^workload.cores: a collective needs at least two cores, not 1$"),
        ([], r"^workload.cores: names no core$"),
    ],
)
def test_bad_cores_of_a_collective(cores, message):
    with pytest.raises(SpecError, match=message):
        reduce(cores=cores)


def test_an_unknown_placement_of_a_collective():
    with pytest.raises(SpecError, match=r"placement must be one of .*; did you mean 'ring'\?"):
        reduce(placement="rings")


def traffic(hardware=None, seed=0, **keys):
    keys = {"kind": "memory", "bytes": 64 * KIB, **keys}
    return lower_memory(hardware or chip(HBM), MemoryWorkload(**keys), seed)


def test_sequential_requests_follow_one_another():
    program = traffic(bytes=5 * 4096 + 7, core=[1, 1])
    assert list(program.address) == [0, 4096, 8192, 12288, 16384, 20480]
    assert list(program.bytes) == [4096] * 5 + [7]
    assert set(program.core) == {5} and set(program.memory) == {5}
    assert set(program.kind) == {LOAD} and set(program.unit) == {dma_unit(1)}
    assert len(program.deps) == 0


def test_a_span_starts_again_at_its_end():
    program = traffic(bytes=5 * 64, request_bytes=64, span_bytes=150)
    assert list(program.address) == [0, 64, 0, 64, 0]


def test_strided_passes_start_further_on():
    program = traffic(
        pattern="strided", bytes=7 * 64, request_bytes=64, stride_bytes=128, span_bytes=256
    )
    assert list(program.address) == [0, 128, 64, 192, 0, 128, 64]


def test_strides_below_a_request_overlap():
    program = traffic(
        pattern="strided", bytes=4 * 64, request_bytes=64, stride_bytes=32, span_bytes=128
    )
    assert list(program.address) == [0, 32, 64, 0]


def test_random_requests_are_aligned_spread_and_repeatable():
    one, two, other = (traffic(pattern="random", bytes=MIB, seed=s) for s in (1, 1, 2))
    assert (one.address == two.address).all() and (one.address != other.address).any()
    assert (one.address % 4096 == 0).all() and one.address.max() < 16 * MIB
    assert len(set(one.address)) > 200 and one.address.max() > 12 * MIB


@pytest.mark.parametrize(("fraction", "reads"), [(0, 0), (0.25, 4), (0.5, 8), (1, 16)])
def test_the_read_fraction_is_exact(fraction, reads):
    program = traffic(read_fraction=fraction)
    assert (program.kind == LOAD).sum() == reads and (program.kind == STORE).sum() == 16 - reads


@pytest.mark.parametrize(("engines", "units"), [(1, {0}), (2, {1}), (4, {1, 2, 3})])
def test_requests_take_the_load_engines_in_turn(engines, units):
    program = traffic(chip(HBM, engines=engines))
    assert set(program.unit) == {dma_unit(u) for u in units}


@pytest.mark.parametrize(
    "shared",
    [{"attach": "group", "cores_per_instance": 8}, {"attach": "edge", "ports": [{"at": [0, 0]}]}],
)
@pytest.mark.parametrize("pattern", ["sequential", "random", "strided"])
def test_cores_that_share_a_memory_have_their_own_parts(shared, pattern):
    cores = [6, 1, 3]
    program = traffic(chip(HBM | shared), pattern=pattern, cores=cores)
    assert set(program.memory) == {0}
    share = 16 * MIB // 3 // 4096 * 4096
    for part, core in enumerate(cores):
        mine = program.core == core
        assert mine.sum() == 16 and set(program.address[mine] // share) == {part}


def test_a_memory_is_found_by_name():
    program = traffic(chip(HBM | {"name": "near"}, HBM | {"name": "far"}), memory="far", core=2)
    assert set(program.memory) == {8 + 2}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"core": [5, 0]}, r"^workload.core: core \[5, 0\] is outside the 2x4 mesh$"),
        ({"cores": [1, 1]}, r"^workload.cores: core 1 is listed twice$"),
        ({"memory": "hbn"}, r"^workload.memory: memory must be one of hbm, not 'hbn'; did you"),
        ({"span_bytes": 17 * MIB}, r"^workload.span_bytes: 17825792 exceeds the core's share"),
        (
            {"request_bytes": 32 * MIB},
            r"^workload.request_bytes: 33554432 exceeds the span, 16777216 bytes$",
        ),
        (
            {"pattern": "strided", "span_bytes": 8192},
            r"^workload.stride_bytes: 65536 exceeds the span, 8192 bytes$",
        ),
        ({"bytes": 1 << 40}, r"^workload.request_bytes: 268435456 requests are too many"),
    ],
)
def test_bad_memory_workloads(keys, message):
    with pytest.raises(SpecError, match=message):
        traffic(**keys)


def test_a_chip_without_memory():
    with pytest.raises(
        SpecError, match=r"^workload.memory: test has no memory besides the scratch"
    ):
        traffic(chip())


def test_bytes_beyond_the_memory_are_wrapped(monkeypatch):
    program = traffic(bytes=33 * MIB)
    assert program.address.max() == 16 * MIB - 4096
    assert np.array_equal(program.address[:4096], program.address[4096:8192])
    monkeypatch.setattr(micro, "MAX_REQUESTS", 10)
    with pytest.raises(SpecError, match="at most 10; raise request_bytes or lower bytes"):
        traffic()
