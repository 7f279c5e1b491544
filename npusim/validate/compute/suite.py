"""Cost kernels of the systolic array → errors against a register-level array, SCALE-Sim, ONNXim."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from itertools import product
from typing import NamedTuple

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
SCALESIM = "SCALE-Sim 3.0.0"
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
    families += [_rates(), _followed()]
    progress("SCALE-Sim")
    families += [*_scalesim(), _registers_against_scalesim(full)]
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


def _followed() -> Family:
    """A first GEMM takes what a GEMM of both takes longer than the second one."""
    comparisons = []
    for dataflow, (m, k, _), (rows, columns) in product(("ws", "os", "is"), SHAPES, SIDES):
        array, first = Array(rows, columns, dataflow), _wide(dataflow, m, k, 2 * columns)
        ours = gemm_cycles(*first, rows, columns, dataflow, followed=True)
        both, second = (
            multiply(*operands(*_wide(dataflow, m, k, num * columns), SEED), array).last_cycle
            for num in (3, 1)
        )
        name = f"{'x'.join(map(str, first))} on {rows}x{columns} {dataflow}"
        comparisons.append(Comparison(name, ours, both - second, "cycles"))
    note = "cycles until the array takes the next GEMM's first fold"
    return Family(SUITE, "a GEMM right behind another", REGISTERS, tuple(comparisons), EXACT, note)


def _wide(dataflow: str, m: int, k: int, num: int) -> tuple[int, int, int]:
    """A GEMM with `num` of what lies along the array's columns."""
    return (num, k, m) if dataflow == "is" else (m, k, num)


def _compare(shape: tuple[int, int, int], array: Array, rate: float = 1.0) -> Comparison:
    m, k, n = shape
    rows, columns = array.rows, array.columns
    ours = gemm_cycles(m, k, n, rows, columns, array.dataflow, array.fold_overlap, rate)
    found = multiply(*operands(m, k, n, SEED), array)
    overlap = "" if rate == 1 else f" {array.dataflow} overlap {array.fold_overlap} rate {rate:.2g}"
    return Comparison(f"{m}x{k}x{n} on {rows}x{columns}{overlap}", ours, found.last_cycle, "cycles")


class Run(NamedTuple):
    """A GEMM that SCALE-Sim ran."""

    m: int
    k: int
    n: int
    array: Array
    cycles: int

    @property
    def name(self) -> str:
        array = self.array
        return f"{self.m}x{self.k}x{self.n} on {array.rows}x{array.columns} {array.dataflow}"

    @property
    def has_no_skew(self) -> bool:
        """One element that keeps its sum: nothing fills or drains it."""
        return self.array.dataflow == "os" and self.array.rows == self.array.columns == 1


def _scalesim_runs() -> list[Run]:
    found = []
    for row in read_rows("scalesim_gemm.csv"):
        m, k, n, rows, columns = (int(row[key]) for key in ("M", "K", "N", "rows", "columns"))
        array = Array(rows, columns, row["dataflow"], fold_overlap=False)
        found.append(Run(m, k, n, array, int(row["total_cycles"])))
    return found


def _scalesim() -> list[Family]:
    """Compute cycles in no-overlap mode. A single element with os stands apart."""
    runs = _scalesim_runs()
    skewed = [run for run in runs if not run.has_no_skew]
    single = [run for run in runs if run.has_no_skew]
    note = "no-overlap mode, compute cycles of its calculation mode"
    one_note = "its index of the last cycle is one less than the element has multiply-adds to do"
    return [
        _scalesim_family("SCALE-Sim", skewed, note),
        _scalesim_family("SCALE-Sim, os on one element", single, one_note),
    ]


def _scalesim_family(name: str, runs: list[Run], note: str) -> Family:
    comparisons = []
    for run in runs:
        rows, columns, dataflow, *_ = astuple(run.array)
        ours = gemm_cycles(run.m, run.k, run.n, rows, columns, dataflow, False)
        comparisons.append(Comparison(run.name, ours, run.cycles, "cycles"))
    return Family(SUITE, name, SCALESIM, tuple(comparisons), EXACT, note)


def _registers_against_scalesim(full: bool) -> Family:
    """The oracle itself against a tool that others trust."""
    comparisons = []
    for run in _scalesim_runs():
        if run.array.rows > 32 or run.m * run.k * run.n > (1 << 27 if full else 1 << 22):
            continue
        found = multiply(*operands(run.m, run.k, run.n, SEED), run.array)
        comparisons.append(Comparison(run.name, found.last_cycle, run.cycles, "cycles"))
    note = "the oracle itself, arrays up to 32x32"
    return Family(SUITE, "register-level array", SCALESIM, tuple(comparisons), EXACT, note)
