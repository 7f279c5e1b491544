"""Rows of measured.csv that are one operator on A100 → a family: GEMMs and NCCL all-reduces."""

from npusim.cost.interconnect import link_collective_ps
from npusim.spec.load import load_hardware
from npusim.units import PS_PER_US
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.measured.kernels import CHIP, gemm_us
from npusim.validate.measured.rows import Row, read_measured

SOURCE = "ai-dynamo/aiconfigurator"
SIDE = 8192  # n and k of the GEMM rows


def operator_family() -> Family:
    """What the wider tables hold too; `collectives` has all sizes and libraries."""
    rows = [_comparison(row) for row in read_measured() if row.source.startswith(SOURCE)]
    reference = "A100, ai-dynamo/aiconfigurator (Apache-2.0)"
    return Family("measured", "a100 operators", reference, tuple(rows), Goal("mape", 0.15))


def _comparison(row: Row) -> Comparison:
    """The batch column is m of a GEMM, or the number of 2-byte elements that are summed."""
    size = int(row.batch)
    if row.layout != "all-reduce":
        return Comparison(f"gemm {size}", gemm_us(size, SIDE, SIDE), row.value, row.unit)
    chips = load_hardware(CHIP).chips
    assert chips
    time_ps = link_collective_ps("all_reduce", 2 * size, row.num_chips, chips)
    return Comparison(f"all-reduce {size}", time_ps / PS_PER_US, row.value, row.unit, "fit")
