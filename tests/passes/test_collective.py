"""Collectives: traffic by closed form, tasks, dependencies, choice of algorithm, errors."""

import numpy as np
import pytest
from collective_help import COLUMNS, emit, fabric, group, sent_bytes, waits

from npusim.errors import SpecError
from npusim.passes.collective.fabric import rectangle
from npusim.passes.collective.lower import (
    all_gather,
    all_reduce,
    chosen,
    collective,
    exchange,
    point_to_point,
)
from npusim.program import COMPUTE, RECV, SEND, SYNC, VECTOR_UNIT, ProgramBuilder, check, dma_unit


@pytest.mark.parametrize("n", [2, 3, 4, 7, 16, 64])
@pytest.mark.parametrize(
    ("kind", "share", "steps"),
    [("all_reduce", 2, 2), ("all_gather", 1, 1), ("reduce_scatter", 1, 1)],
)
def test_ring_traffic_equals_the_closed_form(kind, share, steps, n):
    chunk, cores = 10, list(range(n))
    program, _ = emit(kind, cores, 2 * chunk * n, algorithm="ring")
    assert sent_bytes(program, cores) == [share * (n - 1) * chunk * 2] * n
    sends = program.kind == SEND
    assert sends.sum() == steps * (n - 1) * n
    assert (program.peer[sends] == (program.core[sends] + 1) % n).all()


@pytest.mark.parametrize("algorithm", ["tree", "mesh2d"])
@pytest.mark.parametrize("n", [4, 8, 16])
def test_tree_and_mesh2d_move_as_much_as_the_ring(algorithm, n):
    cores = group(n)
    program, emitted = emit("all_reduce", cores, 4 * n * 6, algorithm=algorithm)
    assert emitted.schedule.algorithm == algorithm
    assert sent_bytes(program, cores) == [2 * (n - 1) * 4 * 6] * n
    rows, columns = 2, n // 2
    steps = {"tree": 2 * (n.bit_length() - 1), "mesh2d": 2 * (rows + columns - 2)}
    assert (program.kind == SEND).sum() == steps[algorithm] * n


@pytest.mark.parametrize("num_bytes", [1, 3, 63, 64, 65, 1001])
@pytest.mark.parametrize("kind", ["all_reduce", "reduce_scatter", "all_gather"])
def test_ring_conserves_every_byte_of_uneven_vectors(kind, num_bytes):
    program, _ = emit(kind, list(range(7)), num_bytes, algorithm="ring")
    share = 2 if kind == "all_reduce" else 1
    assert sum(sent_bytes(program, range(7))) == share * 6 * num_bytes
    sizes = set(program.bytes[program.kind == SEND])
    assert max(sizes) - min(sizes) <= 2  # one element; empty chunks have no message


def test_given_chunk_sizes_are_kept():
    program, emitted = emit("all_gather", [0, 1, 2], 20, algorithm="ring", sizes=[7, 0, 3])
    assert sorted(program.bytes[program.kind == SEND]) == [6, 6, 14, 14]
    assert [list(o) for o in emitted.schedule.own] == [[0, 7], [7, 7], [7, 10]]


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_all_to_all_sends_everyone_his_part(n):
    program, _ = emit("all_to_all", list(range(n)), 2 * 100 + 1)
    assert sent_bytes(program, range(n)) == [201] * n
    sends = np.flatnonzero(program.kind == SEND)
    pairs = {(program.core[s], program.peer[s]) for s in sends}
    assert len(pairs) == len(sends) == n * (n - 1)
    # No send waits for another rank: all travel at once.
    assert all(program.kind[d] == SYNC for s in sends for d in waits(program, s))


def test_an_exchange_moves_the_matrix_without_its_diagonal():
    matrix = np.array([[9, 5, 0], [1, 9, 2], [0, 0, 9]])
    b = ProgramBuilder()
    exchange(b, b.op("x", "collective"), [4, 2, 0], matrix, (), fabric())
    program = b.build()
    check(program)
    sends = program.kind == SEND
    moved = sorted(zip(program.core[sends], program.peer[sends], program.bytes[sends], strict=True))
    assert moved == [(2, 0, 2), (2, 4, 1), (4, 2, 5)]


def test_reductions_are_vector_tasks_behind_their_message():
    program, _ = emit("all_reduce", [0, 1, 2, 3], 2 * 4 * 9, algorithm="ring")
    reductions = np.flatnonzero(program.kind == COMPUTE)
    assert len(reductions) == 3 * 4
    for task in reductions:
        assert program.unit[task] == VECTOR_UNIT and program.flops[task] == 9
        assert program.cycles[task] == 10 + 3  # start + ceil(9 / 4)
        assert program.bytes[task] == 3 * 18
        assert [program.kind[d] for d in waits(program, task)] == [RECV]
    assert set(program.unit[program.kind == SEND]) == {dma_unit(0)}


def test_ranks_wait_for_what_they_are_given_and_finals_are_last():
    b = ProgramBuilder()
    op = b.op("x", "collective")
    before = [[b.sync(c, op), b.sync(c, op)] for c in (5, 6)] + [[]]
    final = all_reduce(b, op, [5, 6, 7], 60, before, fabric(), algorithm="ring")
    program = b.build()
    check(program)
    assert [waits(program, 4 + rank) for rank in range(3)] == before
    for rank, core in enumerate((5, 6, 7)):
        mine = np.flatnonzero(program.core == core)
        assert final[rank] == [mine[mine >= 4][program.kind[mine[mine >= 4]] == SEND][-1], mine[-1]]


def test_two_collectives_follow_one_another():
    b = ProgramBuilder()
    op = b.op("x", "collective")
    first = all_reduce(b, op, [0, 1], 8, (), fabric(), algorithm="ring")
    second = all_gather(b, op, [0, 1], 8, first, fabric(), algorithm="ring")
    program = b.build()
    check(program)
    starts = min(min(f) for f in second) - 2  # the SYNCs stand before the SENDs
    assert [waits(program, starts + rank) for rank in range(2)] == first


def test_one_core_or_no_bytes_need_no_message():
    b = ProgramBuilder()
    assert all_reduce(b, 0, [3], 8, [[7]], fabric()) == [[7]]
    assert all_gather(b, 0, [3, 4], 0, (), fabric()) == [[], []]
    assert point_to_point(b, 0, 1, 1, 8, [2], [3]) == ([2, 3], [2, 3])
    assert len(b) == 0


def test_point_to_point_is_one_message():
    b = ProgramBuilder()
    op = b.op("x", "transfer")
    assert point_to_point(b, op, 2, 5, 77) == ([0], [1])
    program = b.build()
    check(program)
    assert list(program.kind) == [SEND, RECV] and list(program.core) == [2, 5]


def test_mesh2d_falls_back_to_a_ring_and_says_so():
    b = ProgramBuilder()
    emitted = collective(
        b, b.op("x", "c"), "all_reduce", [0, 1, 2], 64, (), fabric(), algorithm="mesh2d"
    )
    assert emitted.schedule.algorithm == "ring"
    assert b.notes == ["mesh2d needs cores in a full rectangle: all_reduce over 3 cores uses ring"]


def test_rectangles_are_found_in_any_order():
    assert rectangle([0, 1, 9, 8], COLUMNS) == ((0, 1), (3, 2))
    assert rectangle([0, 1, 2, 3], COLUMNS) == ()
    assert rectangle([0, 1, 8, 10], COLUMNS) == ()


def test_auto_prefers_few_steps_for_little_and_even_links_for_much():
    cores = list(range(64))
    assert chosen("all_reduce", cores, 64, fabric())[0] == "tree"
    for num_bytes in (64, 1 << 14, 1 << 20, 1 << 24):
        name, cycles = chosen("all_reduce", cores, num_bytes, fabric())
        others = [
            chosen("all_reduce", cores, num_bytes, fabric(), algorithm=a)[1]
            for a in ("ring", "tree", "mesh2d")
        ]
        assert cycles == min(others), name


def test_the_estimate_of_a_two_core_ring_by_hand():
    # 2 steps: 8 start + 1 hop of 3 + 32 bytes / 16 a cycle; one reduction of 16 elements: 10 + 4.
    assert chosen("all_reduce", [0, 1], 64, fabric(), algorithm="ring") == ("ring", 2 * 13 + 14)


def test_unknown_names_are_refused():
    with pytest.raises(SpecError, match=r"algorithm must be one of .*; did you mean 'ring'\?"):
        emit("all_reduce", [0, 1], 8, algorithm="rng")
    with pytest.raises(SpecError, match=r"collective must be one of .*'all_reduce'\?"):
        emit("allreduce", [0, 1], 8)
