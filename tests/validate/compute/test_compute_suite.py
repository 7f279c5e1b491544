"""The compute suite: exact where it says so, and ONNXim's tiles as that tool reports them."""

import pytest

from npusim.program import LOAD, check
from npusim.spec.load import load_hardware
from npusim.validate.compare import errors_of
from npusim.validate.compute.onnxim import its_program, its_tiles
from npusim.validate.compute.suite import run
from npusim.validate.data import read_rows


def test_every_family_with_a_goal_is_exact():
    families = run(False, lambda text: None)
    exact = {family.name: family for family in families if family.goal}
    assert len(exact) == 11 and len(families) == 14
    single = errors_of(exact.pop("SCALE-Sim, os on one element").comparisons)
    assert single.n == 4 and single.worst > 0  # below the roofline, we are not
    for family in exact.values():
        assert errors_of(family.comparisons).worst == 0, family.name


def test_scalesim_is_met_on_all_dataflows_and_arrays_of_any_sides():
    rows = read_rows("scalesim_gemm.csv")
    cases = {(row["dataflow"], row["rows"], row["columns"]) for row in rows}
    assert len(rows) > 200 and {dataflow for dataflow, *_ in cases} == {"ws", "os", "is"}
    assert {("is", "16", "4"), ("os", "3", "5"), ("ws", "1", "6")} <= cases


@pytest.mark.parametrize("row", read_rows("onnxim.csv")[:18], ids=lambda row: row["workload"])
def test_tiles_of_onnxims_mapping_are_as_many_as_it_reports(row):
    m, _, n = (int(text) for text in row["workload"].split("_")[1:])
    tiles = its_tiles(m, n, int(row["cores"]))
    assert len(tiles) == int(row["tiles"])
    assert sum(tile.rows * tile.columns for tile in tiles) == m * n


def test_its_program_loads_inputs_once_a_tile_and_weights_once_a_row_of_tiles():
    program = its_program(1024, 256, 1024, 4, load_hardware("tpuv4_like"))
    check(program)
    loaded = program.bytes[program.kind == LOAD].sum()
    assert loaded == 2 * 1024 * 256 * 2 * 2  # two tiles a side, inputs and weights, 16 bit
    assert program.flops.sum() == 0 and set(program.core) == {0, 1, 2, 3}
