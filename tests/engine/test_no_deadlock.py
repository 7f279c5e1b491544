"""A chip with channel locking never deadlocks by itself: whatever order the tasks leave open, a
program ends in which each task, and the acknowledge of each SEND, waits for earlier tasks only."""

import random

from chips import Stream
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engines_agree import MOST_BYTES, random_tasks, random_wiring

from npusim.engine import fast
from npusim.engine.tables import Tasks, Wiring

MEMORIES = st.sampled_from(["private", "edge", "edge"])


def locked_chip(rng: random.Random, memory: str, **protocol) -> Wiring:
    crowded = {
        "packets_per_message": 16,
        "min_packet_bytes": 16,
        "dma_outstanding": rng.choice([2, 8]),
    }
    grid = rng.choice([(1, 4), (3, 3), (4, 4)])
    return random_wiring(rng, grid, **crowded, memory=memory, locked=True, **protocol)


def ordered_tasks(rng: random.Random, wiring: Wiring) -> Tasks:
    """Many messages at once, loads and stores on the same engines; a RECV is posted when tasks
    before its SEND have ended."""
    stream = Stream()
    for _ in range(rng.choice([20, 80])):
        core, engine = rng.randrange(wiring.num_cores), rng.randrange(2)
        after, recv_after = (some_tasks(rng, len(stream.rows)) for _ in range(2))
        num_bytes, address = rng.randint(1, 5_000), rng.randrange(MOST_BYTES)
        memory = rng.randrange(len(wiring.memory_interleave))
        kind = rng.choice(["message", "message", "message", "load", "store"])
        if kind == "message":
            peer = rng.randrange(wiring.num_cores)
            stream.message(core, peer, num_bytes, after, recv_after, engine=engine)
        elif kind == "load":
            stream.load(core, address, num_bytes, after, memory=memory, engine=engine)
        else:
            stream.store(core, address, num_bytes, after, memory=memory, engine=engine)
    return stream.build()


def some_tasks(rng: random.Random, num_tasks: int) -> list[int]:
    return rng.sample(range(num_tasks), min(num_tasks, int(rng.random() < 0.1)))


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False), MEMORIES)
def test_eager_messages(rng, memory):
    wiring = locked_chip(rng, memory, handshake=False, lock_ack=False)
    assert fast.run(wiring, random_tasks(rng, wiring)).waiting == []
    assert fast.run(wiring, ordered_tasks(rng, wiring)).waiting == []


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), MEMORIES, st.booleans())
def test_handshakes_with_either_scope_of_locks(rng, memory, lock_ack):
    wiring = locked_chip(rng, memory, handshake=True, lock_ack=lock_ack)
    assert fast.run(wiring, ordered_tasks(rng, wiring)).waiting == []
