"""Memory plan: priorities, block rounding, disjoint addresses, errors."""

from itertools import pairwise

import pytest

from npusim.errors import CapacityError
from npusim.passes.plan import CoreDemand, MemoryMap, Region, plan_memory
from npusim.spec.hardware import Hardware
from npusim.units import GIB, KIB, MIB

TIMING = {"channel_gb_s": 32, "t_rcd_ns": 14, "t_rp_ns": 14, "t_cl_ns": 14, "t_ras_ns": 33}
ARRAYS = {"rows": 8, "columns": 8}


def chip(*memories, sram_mib=1.0, rows=1, columns=4):
    core = {
        "clock_mhz": 500,
        "arrays": ARRAYS,
        "vector": {"lanes": 8},
        "sfu": {"lanes": 8},
        "scratchpad": {"capacity_mib": sram_mib, "block_bytes": 1024},
    }
    return Hardware(
        name="test",
        mesh={"rows": rows, "columns": columns},
        core_groups=[{"name": "all", "core": core}],
        memories=memories,
        noc={"clock_mhz": 500, "link_bytes_per_cycle": 16},
    )


def memory(gib=1.0, **keys):
    return {"capacity_gib": gib, "channels": 1, "timing": TIMING, **keys}


def plan_one(hardware, **demand):
    return plan_memory(hardware, {0: CoreDemand(**demand)}).cores[0]


def test_all_fits_the_scratchpad():
    plan = plan_one(
        chip(), buffers_bytes=1, weights=(("a", KIB), ("b", KIB + 1)), kv_layers=(3000,)
    )
    assert plan.resident == ("a", "b") and plan.weights == {} and plan.kv is None
    assert plan.sram_kv_bytes == 3000
    assert plan.peak_sram_bytes == (1 + 1 + 2 + 3) * KIB  # whole blocks each


def test_buffers_come_first_then_kv_then_weights():
    room = MIB - 600 * KIB
    plan = plan_one(
        chip(memory()), buffers_bytes=600 * KIB, kv_layers=(room + 5,), weights=(("w", 7),)
    )
    assert plan.sram_kv_bytes == room and plan.resident == ()
    assert plan.weights == {"w": Region(0, 0, 7)}
    assert plan.kv == Region(0, 4096, 5)
    assert plan.peak_sram_bytes == MIB


@pytest.mark.parametrize(("size", "stays"), [(MIB - KIB, True), (MIB - KIB + 1, False)])
def test_a_tensor_stays_whole_or_not_at_all(size, stays):
    plan = plan_one(chip(memory()), buffers_bytes=KIB, weights=(("w", size),))
    assert plan.resident == (("w",) if stays else ())
    assert sum(r.num_bytes for r in plan.weights.values()) == (0 if stays else size)


def test_a_tensor_too_large_leaves_room_for_later_ones():
    weights = (("a", 600 * KIB), ("b", 600 * KIB), ("c", 400 * KIB), ("d", 25 * KIB))
    plan = plan_one(chip(memory()), weights=weights)
    assert plan.resident == ("a", "c") and list(plan.weights) == ["b", "d"]
    assert plan.peak_sram_bytes == 1000 * KIB


def test_private_memories_start_at_zero_each():
    demand = CoreDemand(weights=(("w", 2 * MIB),))
    plans = plan_memory(chip(memory()), {1: demand, 3: demand}).cores
    assert plans[1].weights["w"] == Region(1, 0, 2 * MIB)
    assert plans[3].weights["w"] == Region(3, 0, 2 * MIB)


@pytest.mark.parametrize(
    "shared",
    [
        {"attach": "group", "cores_per_instance": 4},
        {"attach": "edge", "ports": [{"at": [0, 0]}]},
    ],
)
def test_a_shared_memory_gives_disjoint_aligned_ranges(shared):
    demand = CoreDemand(weights=(("a", 2 * MIB + 1), ("b", 3 * MIB)), kv_layers=(5 * MIB + 77,))
    hardware = chip(memory(interleave_bytes=512, **shared))
    plans = plan_memory(hardware, dict.fromkeys(range(4), demand)).cores.values()
    regions = [r for p in plans for r in [*p.weights.values(), *([p.kv] if p.kv else [])]]
    regions.sort(key=lambda r: r.address)
    assert len(regions) == 12 and {r.memory_id for r in regions} == {0}
    assert all(r.address % 512 == 0 for r in regions)
    for one, two in pairwise(regions):
        assert one.address + one.num_bytes <= two.address
    for p in plans:
        assert p.sram_kv_bytes + p.kv.num_bytes == 5 * MIB + 77


def test_a_second_memory_takes_what_the_first_cannot():
    small, large = memory(1 / 256, name="near"), memory(name="far")
    plan = plan_one(chip(small, large), weights=(("a", 3 * MIB), ("b", 2 * MIB), ("c", MIB + 1)))
    assert plan.weights["a"] == Region(0, 0, 3 * MIB)
    assert plan.weights["b"].memory_id == 4  # 4 private instances of `near` come first
    assert plan.weights["c"].memory_id == 4


def test_the_map_fills_an_instance_to_the_last_byte():
    instances = chip(memory(1 / 1024)).memory_instances()
    memory_map = MemoryMap(instances)
    assert memory_map.alloc(0, 1) == 0
    assert memory_map.alloc(0, MIB - 4096) == 4096
    assert not memory_map.fits(0, 1) and memory_map.fits(1, MIB)
    with pytest.raises(CapacityError, match=r"^hbm 0 needs 1.00 MiB, it has 1.00 MiB; raise tp"):
        memory_map.alloc(0, 1)


def test_buffers_larger_than_the_scratchpad():
    with pytest.raises(
        CapacityError,
        match=r"^core 2: buffers need 1.50 MiB of scratchpad, it has 1.00 MiB; use smaller tiles",
    ):
        plan_memory(chip(), {2: CoreDemand(buffers_bytes=MIB * 3 // 2)})


def test_no_memory_at_all():
    with pytest.raises(
        CapacityError, match=r"^core 0: 2.00 MiB of weights and KV .* no memory; raise tp or pp"
    ):
        plan_one(chip(), weights=(("w", 2 * MIB),))


def test_a_full_memory_names_demand_and_bound():
    with pytest.raises(
        CapacityError,
        match=r"^core 0: weights and KV need 1.50 GiB of hbm, which has 1.00 GiB; raise tp or pp",
    ):
        plan_one(chip(memory()), weights=(("a", GIB // 2), ("b", GIB)))


def test_a_full_shared_memory_counts_all_its_cores():
    hardware = chip(memory(attach="group", cores_per_instance=4))
    with pytest.raises(
        CapacityError, match=r"^cores 0 to 3: weights and KV need 2.00 GiB of hbm, which has 1.00"
    ):
        plan_memory(hardware, {c: CoreDemand(weights=(("w", GIB // 2),)) for c in range(4)})


def test_memories_too_small_for_one_tensor_each():
    hardware = chip(memory(1 / 256, name="a"), memory(1 / 256, name="b"))
    with pytest.raises(
        CapacityError, match=r"need 6.00 MiB of a and b, which has 8.00 MiB in pieces too small"
    ):
        plan_one(hardware, weights=(("w", 6 * MIB),))
