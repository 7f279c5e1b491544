"""ProgramBuilder: single tasks and whole tables give the same Program."""

import numpy as np
import pytest

from npusim.program import (
    COLUMNS,
    COMPUTE,
    NONE,
    RECV,
    SEND,
    VECTOR_UNIT,
    ProgramBuilder,
    check,
    dma_unit,
)


def one_by_one() -> ProgramBuilder:
    b = ProgramBuilder()
    op = b.op("x", "matmul")
    load = b.load(0, op, 3, 4096, 64, row_bytes=32, stride_bytes=128)
    work = b.compute(0, VECTOR_UNIT, op, 7, [load], sram_bytes=8, flops=9)
    send, recv = b.message(0, 1, op, 64, {work}, ())
    b.store(1, op, 3, 0, 64, iter([recv, send]))
    return b


def test_an_empty_builder_gives_an_empty_program():
    program = ProgramBuilder().build()
    assert len(program) == 0 and list(program.dep_start) == [0] and len(program.deps) == 0
    check(program)


def test_rows_hold_what_was_given():
    program = one_by_one().build()
    check(program)
    assert {name: column.dtype for name, column in program.columns.items()} == COLUMNS
    assert list(program.bytes) == [64, 8, 64, 64, 64]
    assert list(program.match) == [NONE, NONE, 3, 2, NONE]
    assert list(program.dep_start) == [0, 0, 1, 2, 2, 4] and list(program.deps) == [0, 1, 3, 2]


@pytest.mark.parametrize("cut", range(6))
def test_a_table_equals_its_rows(cut):
    whole = one_by_one().build()
    b = ProgramBuilder()
    b.op("x", "matmul")
    for rows in (range(cut), range(cut, len(whole))):
        first, last = rows.start, rows.stop
        starts = whole.dep_start[first : last + 1]
        deps = whole.deps[starts[0] : starts[-1]]
        columns = {name: column[first:last] for name, column in whole.columns.items()}
        assert b.extend(columns, starts - starts[0], deps) == first
    again = b.build()
    assert all((again.columns[name] == whole.columns[name]).all() for name in COLUMNS)
    assert (again.dep_start == whole.dep_start).all() and (again.deps == whole.deps).all()


def test_tables_and_rows_mix_and_missing_columns_get_defaults():
    b = ProgramBuilder()
    op = b.op("x", "collective")
    first = b.sync(5, op)
    columns = {
        "kind": np.array([SEND, RECV]),
        "core": np.array([5, 6]),
        "unit": np.array([dma_unit(0), NONE]),
        "bytes": 10,
        "peer": np.array([6, 5]),
        "match": np.array([2, 1]),
    }
    assert b.extend(columns, np.array([0, 1, 1]), np.array([first])) == 1
    assert b.compute(6, VECTOR_UNIT, op, 1, [2]) == 3 and len(b) == 4
    program = b.build()
    check(program)
    assert list(program.kind[1:]) == [SEND, RECV, COMPUTE]
    assert list(program.memory) == [NONE] * 4 and list(program.flops) == [0] * 4
