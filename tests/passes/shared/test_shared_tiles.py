"""Tiles of products and attention: every flop, every byte, each from the memory that has it."""

from dataclasses import replace

import numpy as np
import pytest

from npusim.graph import ops
from npusim.graph.batch import Slice
from npusim.graph.mask import masked_slices
from npusim.passes.shared.attention import attention_of, attention_tiles, free_first, split_of
from npusim.passes.shared.chip import chip_of, sustained
from npusim.passes.shared.gemm import (
    Cut,
    Product,
    choose_cut,
    estimated_cycles,
    product_tiles,
)
from npusim.passes.shared.rowwise import row_tiles
from npusim.passes.shared.stream import START, Operand, Tiles, joined, tile_table
from npusim.program import COMPUTE, LOAD, STORE
from npusim.spec.load import load_hardware
from npusim.spec.scenario import Dtypes
from npusim.units import ceil_div

CHIP = chip_of(load_hardware("a100_sxm_80"), Dtypes())


def loaded(tiles: Tiles, memory: int) -> int:
    """Bytes that the table of `tiles` loads from `memory`."""
    columns = tile_table(tiles, stages=3).columns
    rows = (columns["kind"] == LOAD) & (columns["memory"] == memory)
    return int(columns["bytes"][rows].sum())


SHAPES = [(1, 4096, 4096), (32, 4096, 12288), (2048, 4096, 11008), (100, 1000, 1000), (7, 64, 8)]


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_tiles_of_a_product_do_all_of_it(m, k, n):
    product = Product((m,), k, n)
    cut = choose_cut(product, CHIP)
    tiles = product_tiles(product, cut, CHIP)
    assert tiles.flops.sum() == 2 * m * k * n
    columns = tile_table(tiles, stages=3).columns
    stored = columns["bytes"][columns["kind"] == STORE].sum()
    assert stored == m * n * (2 if cut.split == 1 else 4 * cut.split)
    assert columns["flops"].sum() == 2 * m * k * n


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_weights_come_from_memory_once_a_band(m, k, n):
    product = Product((m,), k, n)
    cut = choose_cut(product, CHIP)
    bands = ceil_div(ceil_div(m, cut.rows), cut.band)
    assert loaded(product_tiles(product, cut, CHIP), CHIP.hbm_id) == bands * k * n * 2


def test_inputs_that_exceed_the_cache_come_from_memory_once_a_band():
    product = Product((8192,), 4096, 4096, input_cached=False)
    cut = Cut(128, 128, 1, band=40)  # 64 tiles of m: two bands
    from_memory = loaded(product_tiles(product, cut, CHIP), CHIP.hbm_id)
    assert from_memory == 2 * (4096 * 4096 * 2) + 8192 * 4096 * 2


def test_every_expert_has_weights_of_its_own():
    product = Product((3, 5, 1), 512, 256)
    tiles = product_tiles(product, Cut(16, 64, 1, 1), CHIP)
    assert tiles.flops.sum() == 2 * 9 * 512 * 256
    assert loaded(tiles, CHIP.hbm_id) == 3 * 512 * 256 * 2
    assert len(set(tiles.b.address.tolist())) == 12


def test_the_first_tile_of_the_list_that_is_good_enough_is_taken():
    product = Product((4096,), 4096, 4096)
    taken = choose_cut(product, CHIP)
    least = min(
        estimated_cycles(product, Cut(rows, columns, 1, 32), CHIP)
        for rows, columns in CHIP.kernels.tiles
    )
    assert estimated_cycles(product, taken, CHIP) <= 1.02 * least


def test_a_step_waits_for_the_compute_whose_buffer_it_takes():
    operand = Operand(np.array([4096, 4096]), np.array([0, 4096]), 0)
    tiles = Tiles(
        np.array([0, 0]), 4, np.array([8, 8]), np.array([0, 0]), 1, operand, None, operand
    )
    table = tile_table(tiles, stages=3)
    kind = table.columns["kind"]
    assert kind.tolist() == ([LOAD, COMPUTE] * 4 + [STORE]) * 2
    loads, computes = np.flatnonzero(kind == LOAD), np.flatnonzero(kind == COMPUTE)
    waits = table.deps[table.dep_start[loads]]
    assert waits.tolist() == [START] * 3 + computes[:5].tolist()
    assert (table.deps[table.dep_start[computes]] == loads).all()
    assert table.columns["cycles"][computes].tolist() == [2] * 8


def test_two_tables_of_a_kernel_keep_their_rows_apart():
    operand = Operand(np.array([512]), np.array([0]), 0)
    tiles = Tiles(np.array([3]), 1, np.array([8]), np.array([0]), 0, operand, None, operand)
    both = joined([tile_table(tiles, 3), tile_table(tiles, 3)])
    assert both.deps.tolist() == [START, 0, 1, START, 3, 4]
    assert both.slot.tolist() == [0, -1, 2, 3, -1, 5]
    assert both.ends.tolist() == [2, 5]


def attention(batch, heads=32, kv_heads=8, dim=128, kept=True):
    slices = masked_slices(batch)
    qk, softmax = ops.qk(slices, heads, kv_heads, dim), ops.softmax(slices, heads)
    av = ops.av(slices, heads, kv_heads, dim)
    return attention_of(qk, softmax, av, CHIP, kept), qk.flops + av.flops


BATCHES = [
    (Slice(1, 2047),) * 4,
    (Slice(1000),),
    (Slice(300, 5000), Slice(1, 100)),
    (Slice(1, 7), Slice(1, 3000)),
]


@pytest.mark.parametrize("batch", BATCHES)
def test_tiles_of_attention_do_all_of_it(batch):
    work, flops = attention(batch)
    assert attention_tiles(work, CHIP).flops.sum() == pytest.approx(flops, rel=1e-3)


def test_decode_reads_each_row_of_the_cache_from_memory_once():
    work, _ = attention((Slice(1, 2047),) * 4)
    tiles = attention_tiles(work, CHIP)
    assert loaded(tiles, CHIP.hbm_id) == 4 * 2048 * 8 * 2 * 128 * 2
    assert split_of(work, CHIP) == 6  # 32 tiles would leave cores idle: 216 // 32
    assert len(tiles.core) == 32 * 6


def test_prefill_finds_its_own_rows_in_the_cache():
    work, _ = attention((Slice(1000),))
    assert loaded(attention_tiles(work, CHIP), CHIP.hbm_id) == 0


def test_context_of_a_chunk_comes_from_memory_once():
    work, _ = attention((Slice(1024, 7 * 1024),))
    from_memory = loaded(attention_tiles(work, CHIP), CHIP.hbm_id)
    assert from_memory == 7 * 1024 * 8 * 2 * 128 * 2


def test_overlapped_softmax_begins_with_the_longest_blocks():
    work, _ = attention((Slice(1000),))
    hopper = replace(CHIP, kernels=CHIP.kernels.model_copy(update={"overlapped_softmax": True}))
    ordered, longest = attention_tiles(work, CHIP).cycles, attention_tiles(work, hopper).cycles
    assert ordered[:7].tolist() == sorted(ordered[:7].tolist())  # whole blocks of the first head
    assert longest.tolist() == sorted(longest.tolist(), reverse=True)
    assert longest.sum() < ordered.sum()


def test_tiles_go_to_the_core_that_is_free_first():
    assert free_first(np.array([5, 3, 1, 1, 1, 4]), 2).tolist() == [0, 1, 1, 1, 0, 1]


def test_rows_are_dealt_to_as_many_cores_as_there_are():
    one = row_tiles(CHIP, 1, 8192, 0, 8192, True, 1000)
    assert (len(one.core), one.cycles.tolist()) == (1, [1000])
    many = row_tiles(CHIP, 4096, 1 << 20, 0, 1 << 20, True, 10_800)
    assert (len(many.core), set(many.cycles.tolist())) == (108, {100})
    assert loaded(many, CHIP.cache_id) == 1 << 20


def test_sustained_memory_is_slower_once():
    hardware = load_hardware("a100_sxm_80")
    slower = sustained(hardware)
    assert slower.memories[0].gb_s == pytest.approx(0.87 * 2039)
    assert slower.memories[1] == hardware.memories[1]
    assert sustained(slower) == slower
    other = load_hardware("npu_large_core")
    assert sustained(other) is other
