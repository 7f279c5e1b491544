"""Collectives run on symbolic data in random order; no rendezvous deadlocks."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from collective_help import emit, group, sent_bytes, waits

from npusim.passes.collective.lower import ALGORITHMS, COLLECTIVES
from npusim.program import COMPUTE, RECV, SEND, SYNC

SIZES = (2, 3, 4, 5, 6, 7, 8, 12)


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
