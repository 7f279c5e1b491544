"""Cost kernels of the systolic array → errors against a register-level array, SCALE-Sim, ONNXim."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npusim.cost.systolic import gemm_cycles
from npusim.validate.compare import Comparison, Family, Goal
from npusim.validate.compute import onnxim
from npusim.validate.compute.oracle import Array, multiply, operands
from npusim.validate.data import read_rows
from npusim.validate.suites import Progress

SUITE = "compute"
EXACT = Goal("worst", 0.0)
REGISTERS = "register-level array simulator"
SHAPES = [(1, 1, 1), (1, 7, 5), (13, 1, 1), (2, 6, 8), (4, 5, 9), (9, 3, 2), (8, 8, 8), (7, 25, 17)]
SIDES = [(3, 4), (4, 3), (1, 5), (5, 1), (8, 8), (12, 5)]
RATES = {2.0: (2, 1), 4.0: (4, 1), 0.5: (1, 2), 1 / 3: (1, 3)}  # rate: (lanes, pace)
SEED = 1


def run(full: bool, progress: Progress) -> list[Family]:
    """`full`: more and larger random shapes, and more of SCALE-Sim's arrays at register level."""
    progress("systolic arrays, register by register")
    families = [
        _against_registers(dataflow, overlap, full)
        for dataflow in ("ws", "os", "is")
        for overlap in (True, False)
    ]
    families.append(_rates())
    progress("SCALE-Sim")
    families += [_scalesim(), _registers_against_scalesim(full)]
    return families + onnxim.families(full, progress)


def _against_registers(dataflow: str, overlap: bool, full: bool) -> Family:
    cases = [
        (shape, Array(*sides, dataflow, overlap)) for shape in SHAPES for sides in SIDES
    ]  # fmt: skip
    cases += _random_cases(Array(1, 1, dataflow, overlap), *(200, 40, 12) if full else (40, 20, 8))
    how = "folds overlap" if overlap else "one fold after another"
    return Family(
        SUITE,
        f"{dataflow}, {how}",
        REGISTERS,
        tuple(_compare(shape, array) for shape, array in dict.fromkeys(cases)),
        EXACT,
        "closed form against the shortest schedule of folds whose product is right",
    )


def _random_cases(array: Array, num: int, most: int, side: int) -> Iterator[tuple]:
    """Random shapes up to `most`, on random arrays up to `side`."""
    rng = np.random.default_rng(SEED)
    for _ in range(num):
        rows, columns = (int(n) for n in rng.integers(2, side + 1, 2))
        shape = tuple(int(n) for n in rng.integers(1, most + 1, 3))
        yield shape, replace(array, rows=rows, columns=columns)


def _rates() -> Family:
    comparisons = [
        _compare((m, k, n), Array(4, 3, dataflow, overlap, *RATES[rate]), rate)
        for dataflow in ("ws", "os", "is")
        for overlap in (True, False)
        for rate in RATES
        for m, k, n in SHAPES
    ]
    return Family(
        SUITE,
        "other rates than 1",
        REGISTERS,
        tuple(comparisons),
        EXACT,
        "2 and 4 multiply-adds an element and cycle, or one in 2 or 3 cycles",
    )


def _compare(shape: tuple[int, int, int], array: Array, rate: float = 1.0) -> Comparison:
    m, k, n = shape
    rows, columns = array.rows, array.columns
    ours = gemm_cycles(m, k, n, rows, columns, array.dataflow, array.fold_overlap, rate)
    found = multiply(*operands(m, k, n, SEED), array)
    overlap = "" if rate == 1 else f" {array.dataflow} overlap {array.fold_overlap} rate {rate:.2g}"
    return Comparison(f"{m}x{k}x{n} on {rows}x{columns}{overlap}", ours, found.last_cycle, "cycles")


def _scalesim() -> Family:
    comparisons = []
    for row in read_rows("scalesim_gemm.csv"):
        m, k, n, side = (int(row[key]) for key in ("M", "K", "N", "array"))
        ours = gemm_cycles(m, k, n, side, side, row["dataflow"], False)
        comparisons.append(Comparison(_name(row), ours, int(row["total_cycles"]), "cycles"))
    return Family(SUITE, "SCALE-Sim", "SCALE-Sim 3.0.0", tuple(comparisons), EXACT,
                  "no-overlap mode, compute cycles of its calculation mode")  # fmt: skip


def _registers_against_scalesim(full: bool) -> Family:
    """The oracle itself against a tool that others trust."""
    comparisons = []
    for row in read_rows("scalesim_gemm.csv"):
        m, k, n, side = (int(row[key]) for key in ("M", "K", "N", "array"))
        if side > 32 or m > (512 if full else 256):
            continue
        array = Array(side, side, row["dataflow"], fold_overlap=False)
        found = multiply(*operands(m, k, n, SEED), array)
        comparisons.append(
            Comparison(_name(row), found.last_cycle, int(row["total_cycles"]), "cycles")
        )
    return Family(SUITE, "register-level array", "SCALE-Sim 3.0.0", tuple(comparisons), EXACT,
                  "the oracle itself, 32x32")  # fmt: skip


def _name(row: dict[str, str]) -> str:
    return f"{row['M']}x{row['K']}x{row['N']} on {row['array']}x{row['array']} {row['dataflow']}"
