"""Tiles of a GEMM: nothing lost, nothing larger than its buffer, the cheaper loop order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npusim.cost.systolic import gemm_cycles
from npusim.graph.ops import norm
from npusim.passes.tile import (
    Buffers,
    CoreCost,
    Streams,
    array_costs,
    core_cost,
    faster,
    gemm_costs,
    tile_gemm,
    vector_cost,
)
from npusim.spec.hardware import Core
from npusim.spec.scenario import Dtypes

KIB = 1024


def cost(count=1, **changes):
    values = {
        "rows": 16, "columns": 16, "count": count, "dataflow": "ws", "fold_overlap": True,
        "rate": 1.0, "kv_rate": 1.0, "lanes": 8, "alus": 2, "sfu_lanes": 4, "port_bytes": 64,
        "start_cycles": 5, "activation_bits": 16, "weight_bits": 16, "kv_bits": 16,
    }  # fmt: skip
    return CoreCost(**{**values, **changes})


BIG = Buffers(1 << 30, 1 << 30)


@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(1, 300),
    st.integers(1, 4), st.integers(512, 100_000),
)  # fmt: skip
def test_weights_are_loaded_once_and_flops_conserved(m, k, n, count, slot_bytes):
    tiles = tile_gemm(m, k, n, cost(count), Buffers(slot_bytes, 1 << 30), Streams())
    assert sum(t.weight_bytes for t in tiles) == 2 * k * n
    assert sum(flops for t in tiles for _, _, flops in t.computes) == 2 * m * k * n
    ends = [t.weight_offset + t.weight_bytes for t in tiles]
    assert [t.weight_offset for t in tiles] == [0, *ends[:-1]]
    assert all(len(t.computes) <= count for t in tiles)
    assert not any(t.input_bytes or t.output_bytes for t in tiles)


@pytest.mark.parametrize(("m", "k", "n"), [(64, 512, 4096), (1, 4096, 96), (128, 1000, 700)])
def test_tiles_fit_half_of_the_buffer(m, k, n):
    slot = 2 * k * 16  # one fold of columns
    tiles = tile_gemm(m, k, n, cost(), Buffers(slot, 1 << 30), Streams())
    assert max(t.weight_bytes for t in tiles) <= slot
    assert len(tiles) >= -(-2 * k * n // slot)


def test_resident_weights_are_one_task_an_array():
    tiles = tile_gemm(64, 512, 512, cost(2), BIG, Streams(weights=False))
    assert len(tiles) == 1 and len(tiles[0].computes) == 2 and tiles[0].weight_bytes == 0


def test_small_weights_are_not_cut():
    assert len(tile_gemm(64, 128, 128, cost(), BIG, Streams())) == 1
    assert len(tile_gemm(64, 256, 256, cost(), BIG, Streams())) == 4


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 0, 4), (4, 4, 0)])
def test_no_work_no_tiles(shape):
    assert tile_gemm(*shape, cost(), BIG, Streams()) == ()


def test_cycles_of_one_tile_are_the_systolic_ones_and_the_start():
    (tile,) = tile_gemm(64, 100, 100, cost(), BIG, Streams(weights=False))
    assert tile.computes[0][0] == gemm_cycles(64, 100, 100, 16, 16) + 5


@pytest.mark.parametrize("dataflow", ["ws", "os"])
@pytest.mark.parametrize("m", [64, 5, 300])
def test_tiles_in_a_row_fill_and_drain_the_array_once(m, dataflow):
    """Cut between folds, tiles take what the whole GEMM does, but for their starts."""
    own = cost(dataflow=dataflow, lanes=1, alus=1)
    tiles = tile_gemm(m, 512, 256, own, BIG, Streams())
    assert len(tiles) == 4
    cycles = sum(tile.computes[0][0] for tile in tiles)
    assert cycles == gemm_cycles(m, 512, 256, 16, 16, dataflow) + 4 * 5


def test_without_fold_overlap_every_tile_fills_and_drains():
    tiles = tile_gemm(64, 512, 256, cost(fold_overlap=False), BIG, Streams())
    each = gemm_cycles(64, 512, 64, 16, 16, "ws", False) + 5
    assert [tile.computes[0][0] for tile in tiles] == [each] * 4


def test_streamed_inputs_pick_the_order_that_moves_less():
    streams = Streams(weights=True, inputs=True)
    # inputs 128 KiB in 4 pieces, weights 8 KiB in one tile: rows outside would load them 4 times
    tiles = tile_gemm(1024, 64, 64, cost(), Buffers(8 * KIB, 32 * KIB), streams)
    assert sum(t.input_bytes for t in tiles) == 128 * KIB
    assert sum(t.weight_bytes for t in tiles) == 8 * KIB
    # inputs 8 KiB in 2 pieces, weights 128 KiB in 16 tiles: weights twice is more than inputs 16x
    tiles = tile_gemm(64, 64, 1024, cost(), Buffers(8 * KIB, 4 * KIB), streams)
    moved = sum(t.weight_bytes + t.input_bytes for t in tiles)
    assert moved == min(2 * 128 + 8, 128 + 16 * 8) * KIB


def test_streamed_inputs_are_loaded_once_with_resident_weights():
    streams = Streams(weights=False, inputs=True, outputs=True)
    tiles = tile_gemm(1024, 64, 64, cost(), Buffers(8 * KIB, 32 * KIB), streams)
    assert [t.input_bytes for t in tiles] == [32 * KIB] * 4
    assert sum(t.output_bytes for t in tiles) == 128 * KIB


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 200), st.integers(2, 6))
def test_arrays_share_the_work(m, k, n, count):
    several, alone = array_costs(m, k, n, cost(count)), array_costs(m, k, n, cost())
    assert sum(flops for _, _, flops in several) == 2 * m * k * n
    assert max(cycles for cycles, _, _ in several) <= alone[0][0]


def test_the_wider_type_sets_the_rate():
    core = Core(
        clock_mhz=500, arrays={"rows": 16, "columns": 16, "rate": {"int8": 2.0, "bf16": 1.0}},
        vector={"lanes": 4}, sfu={"lanes": 4}, scratchpad={"capacity_mib": 1},
    )  # fmt: skip
    assert core_cost(core, Dtypes(weights="int8", activations="bf16", kv="int8")).rate == 1.0
    both = core_cost(core, Dtypes(weights="int8", activations="int8", kv="bf16"))
    assert (both.rate, both.kv_rate, both.weight_bits) == (2.0, 1.0, 8)


def test_vector_cost_is_the_slower_unit_and_the_start():
    op = norm("norm", "rmsnorm", 10, 64)  # 4 operations an element, one rsqrt a row
    cycles, sram_bytes = vector_cost(op, 1, 1, cost())
    assert cycles == 10 * 64 * 4 // 16 + 5
    assert sram_bytes == 2 * (640 + 640)
    half, _ = vector_cost(op, 1, 2, cost())
    assert half == 10 * 64 * 4 // 32 + 5


@pytest.mark.parametrize(("m", "on_vector"), [(1, True), (2, False)])
def test_few_rows_run_on_the_vector_unit_where_that_is_faster(m, on_vector):
    """128 x 128: arrays 64 folds of 16 cycles and fill, vector 2 * 128 * 128 * m / 32."""
    fast = cost(lanes=16, alus=2)
    array = gemm_cycles(m, 128, 128, 16, 16) + 5
    vector = 2 * m * 128 * 128 // 32 + 5
    assert (vector < array) == on_vector
    chosen, ((cycles, moved, flops),) = gemm_costs(m, 128, 128, fast)
    assert chosen == on_vector and cycles == min(array, vector)
    assert flops == 2 * m * 128 * 128
    if on_vector:
        assert moved == 2 * (128 * 128 + m * 256)
    (tile,) = tile_gemm(m, 128, 128, fast, BIG, Streams())
    assert tile.on_vector == on_vector


def test_the_vector_unit_is_no_faster_than_its_scratchpad():
    arrays = ((100, 64, 7),)
    assert faster(arrays, (10, 64 * 99, 7), cost()) == (True, ((10, 64 * 99, 7),))
    assert faster(arrays, (10, 64 * 100, 7), cost()) == (False, arrays)
