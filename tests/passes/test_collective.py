"""Collectives: run on symbolic data in random order, traffic by closed form, no deadlock."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from npusim.errors import SpecError
from npusim.passes.collective import (
    ALGORITHMS,
    COLLECTIVES,
    all_gather,
    all_reduce,
    chosen,
    collective,
    exchange,
    point_to_point,
)
from npusim.passes.fabric import Fabric, rectangle
from npusim.passes.xy import hops, max_link_load
from npusim.program import COMPUTE, RECV, SEND, SYNC, VECTOR_UNIT, ProgramBuilder, check, dma_unit

COLUMNS = 8
SIZES = (2, 3, 4, 5, 6, 7, 8, 12)


def fabric(**changes):
    plain = {
        "columns": COLUMNS,
        "elements_per_cycle": (4,) * 64,
        "start_cycles": (10,) * 64,
        "noc_cycles_per_cycle": (1.0,) * 64,
        "link_bytes_per_cycle": 16,
        "hop_cycles": 3,
        "message_cycles": 8,
        "handshake": False,
    }
    return Fabric(**{**plain, **changes})


def emit(kind, cores, num_bytes, after=(), **options):
    b = ProgramBuilder()
    op = b.op(kind, "collective")
    emitted = collective(b, op, kind, cores, num_bytes, after, fabric(), **options)
    program = b.build()
    check(program)
    return program, emitted


def waits(program, task):
    return list(program.deps[program.dep_start[task] : program.dep_start[task + 1]])


def play(program, emitted, cores, state, seed):
    """Runs the tasks on data in a random order that dependencies allow. `state[rank][element]` is
    the multiset of contributions there. What a SEND reads must not change until it is received."""
    ranges = dict(zip(emitted.sends, zip(emitted.first, emitted.last, strict=True), strict=True))
    rank_of = {core: rank for rank, core in enumerate(cores)}
    # A reduction takes what its core received last, by the table.
    received = {
        t: np.flatnonzero((program.kind[:t] == RECV) & (program.core[:t] == program.core[t]))[-1]
        for t in np.flatnonzero(program.kind == COMPUTE)
    }
    needs = {t: set(waits(program, t)) for t in range(len(program))}
    for t in np.flatnonzero(program.kind == RECV):
        needs[t].add(program.match[t])
    payload, done, order = {}, set(), random.Random(seed)
    while needs:
        task = order.choice([t for t, n in needs.items() if n <= done])
        del needs[task]
        done.add(task)
        own = state[rank_of[program.core[task]]]
        if program.kind[task] == SEND:
            first, last = ranges[task]
            payload[task] = [Counter(own[e]) for e in range(first, last)]
        elif program.kind[task] == RECV:
            send = program.match[task]
            source = state[rank_of[program.peer[task]]]
            first, last = ranges[send]
            assert payload[send] == [source[e] for e in range(first, last)], "sent data changed"
            if task not in received.values():
                own[first:last] = [Counter(c) for c in payload[send]]
        elif program.kind[task] == COMPUTE:
            assert received[task] in done
            send = program.match[received[task]]
            for element, given in zip(range(*ranges[send]), payload[send], strict=True):
                own[element] = own[element] + given
    return state


def contributions(num_ranks, num_elements, holds=lambda rank, element: True):
    return [
        [Counter([rank] if holds(rank, e) else []) for e in range(num_elements)]
        for rank in range(num_ranks)
    ]


def group(n):
    """A rectangle two rows high where n is even, in row-major order; else a line."""
    if n % 2 == 0 and n > 2:
        return [8 + i for i in range(n // 2)] + [16 + i for i in range(n // 2)]
    return list(range(8, 8 + n))


CASES = [(a, n, e) for a in ALGORITHMS for n in SIZES for e in (1, n - 1, n, 2 * n + 3)]


@pytest.mark.parametrize(("algorithm", "n", "num_elements"), CASES)
def test_all_reduce_leaves_every_contribution_everywhere_once(algorithm, n, num_elements):
    cores = group(n)
    program, emitted = emit("all_reduce", cores, 2 * num_elements, algorithm=algorithm)
    state = play(program, emitted, cores, contributions(n, num_elements), seed=n)
    everyone = Counter(range(n))
    assert all(element == everyone for own in state for element in own)


@pytest.mark.parametrize(("algorithm", "n", "num_elements"), CASES)
def test_reduce_scatter_leaves_each_rank_its_chunk(algorithm, n, num_elements):
    cores = group(n)
    program, emitted = emit("reduce_scatter", cores, 2 * num_elements, algorithm=algorithm)
    state = play(program, emitted, cores, contributions(n, num_elements), seed=n)
    own = emitted.schedule.own
    for rank, (first, last) in enumerate(own):
        assert all(element == Counter(range(n)) for element in state[rank][first:last])
    edges = [num_elements * i // n for i in range(n + 1)]
    assert list(own[:, 1] - own[:, 0]) == list(np.diff(edges))


@pytest.mark.parametrize(("algorithm", "n", "num_elements"), CASES)
def test_all_gather_brings_every_chunk_to_every_rank(algorithm, n, num_elements):
    cores = group(n)
    program, emitted = emit("all_gather", cores, 2 * num_elements, algorithm=algorithm)
    own = emitted.schedule.own
    owner = {e: rank for rank, (first, last) in enumerate(own) for e in range(first, last)}
    assert sorted(owner) == list(range(num_elements))
    start = contributions(n, num_elements, lambda rank, e: owner[e] == rank)
    state = play(program, emitted, cores, start, seed=n)
    assert all(own_[e] == Counter([owner[e]]) for own_ in state for e in range(num_elements))


@pytest.mark.parametrize("root", [0, 1, 3])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("n", [4, 5, 8, 12])
def test_broadcast_brings_the_roots_vector_to_all(algorithm, n, root):
    cores = group(n)
    program, emitted = emit("broadcast", cores, 2 * n + 2, algorithm=algorithm, root=root)
    start = contributions(n, n + 1, lambda rank, e: rank == root)
    state = play(program, emitted, cores, start, seed=n)
    assert all(element == Counter([root]) for own in state for element in own)
    if algorithm == "ring":  # a chain: each but the last sends the vector once
        assert sorted(sent_bytes(program, cores)) == [0] + [2 * n + 2] * (n - 1)


def sent_bytes(program, cores):
    sends = program.kind == SEND
    return [int(program.bytes[sends & (program.core == core)].sum()) for core in cores]


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


def rendezvous(program):
    """Runs the queues in table order, a SEND only once its RECV is posted; tasks that never ran."""
    queues = {}
    for task in range(len(program)):
        waiting = program.unit[task] < 0
        queues.setdefault(
            ("free", task) if waiting else (program.core[task], program.unit[task]), []
        ).append(task)
    done, progress = set(), True
    while progress:
        progress = False
        for queue in queues.values():
            while queue:
                task = queue[0]
                needs = set(waits(program, task))
                if program.kind[task] == SEND:
                    needs |= set(waits(program, program.match[task]))
                if program.kind[task] == RECV:
                    needs.add(program.match[task])
                if not needs <= done:
                    break
                done.add(queue.pop(0))
                progress = True
    return set(range(len(program))) - done


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", COLLECTIVES)
@pytest.mark.parametrize("n", [2, 3, 4, 5, 8])
def test_a_rendezvous_never_deadlocks(kind, algorithm, n):
    program, _ = emit(kind, group(n), 64 * n, algorithm=algorithm)
    assert rendezvous(program) == set()
    for recv in np.flatnonzero(program.kind == RECV):
        assert all(d < program.match[recv] for d in waits(program, recv)) or "phased" in algorithm


@pytest.mark.parametrize("n", [4, 5])
def test_phased_rings_alternate_sending_and_receiving(n):
    program, _ = emit("all_gather", list(range(n)), 2 * n, algorithm="ring_phased")
    for rank in range(n):
        mine = [t for t in range(len(program)) if program.core[t] == rank]
        kinds = [program.kind[t] for t in mine if program.kind[t] != SYNC]
        assert kinds == ([SEND, RECV] if rank % 2 == 0 else [RECV, SEND]) * (n - 1)
        for before, after in pairwise(mine):
            assert waits(program, after) == [before]  # one thing at a time


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
    assert min(min(f) for f in second) > max(max(f) for f in first)
    assert rendezvous(program) == set()


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


@pytest.mark.parametrize("seed", range(5))
def test_link_loads_equal_a_walk_hop_by_hop(seed):
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, 40, (2, 30))
    loads = Counter()
    for a, b in zip(src, dst, strict=True):
        at = list(divmod(a, COLUMNS))
        goal = divmod(b, COLUMNS)
        for axis in (1, 0):  # along the row first
            while at[axis] != goal[axis]:
                step = 1 if goal[axis] > at[axis] else -1
                loads[(*at, axis, step)] += 1
                at[axis] += step
    assert max_link_load(src, dst, COLUMNS) == max(loads.values())
    assert hops(src, dst, COLUMNS).sum() == sum(loads.values())
