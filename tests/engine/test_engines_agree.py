"""The two engines give equal outcomes on random programs on random chips; so does the reference
when events of one phase of one tick come in another order."""

import random
from unittest import mock

import numpy as np
from chips import Stream, mesh
from hypothesis import given, settings
from hypothesis import strategies as st

from npusim.engine import fast
from npusim.engine.reference import run as run_reference
from npusim.engine.tables import Outcome, Tasks, Wiring

MOST_BYTES = 30_000


def random_wiring(rng: random.Random, grid=None, **given) -> Wiring:
    """A small chip of any kind, but for what is given. `grid`: (rows, columns)."""
    rows, columns = grid or rng.choice([(1, 1), (1, 2), (1, 3), (2, 2), (3, 3), (2, 3)])
    handshake, locked = rng.random() < 0.5, rng.random() < 0.5
    choices = {
        "memory": rng.choice(["private", "shared", "edge", "edge"]),
        "num_channels": rng.choice([1, 2, 3]),
        "interleave": rng.choice([128, 256, 1000]),
        "ports": rng.choice([(0,), (0, rows * columns - 1)]),
        "num_vcs": rng.choice([1, 2, 3]),
        "buffer_packets": rng.choice([1, 2, 4]),
        "link_bytes": rng.choice([8, 32, 512]),
        "link_ticks": rng.choice([1, 2, 5]),
        "khz": rng.choice([1_000_000, 937_500, 1_500_000]),
        "port": rng.choice([(1, 64), (1, 7), (3, 100)]),
        "dma_unit_bytes": rng.choice([64, 256, 1000]),
        "dma_outstanding": rng.choice([1, 2, 8]),
        "dma_issue_ticks": rng.choice([1, 3]),
        "fifo_arbitration": rng.random() < 0.5,
        "handshake": handshake,
        "locked": locked,
        "lock_ack": locked and handshake and rng.random() < 0.5,
        "header_bytes": rng.choice([0, 8, 32]),
        "min_packet_bytes": rng.choice([16, 64]),
        "packets_per_message": rng.choice([1, 4, 16]),
        "dram": random_dram(rng),
    }
    return mesh(rows, columns, **{**choices, **given})


def random_dram(rng: random.Random) -> dict[str, int]:
    num_banks = rng.choice([2, 4, 16])
    return {
        "window": rng.choice([1, 2, 8]),
        "request_ticks": rng.choice([1, 5]),
        "response_ticks": rng.choice([1, 7]),
        "num_banks": num_banks,
        "num_groups": rng.choice([1, 2, num_banks]),
        "block_bytes": rng.choice([0, 64, 128]),
        "mb_s": rng.choice([64_000, 25_600, 51_199]),
        "burst_bytes": rng.choice([32, 64]),
        "row_bytes": rng.choice([256, 1024]),
        "t_rcd_wr": rng.choice([14_000, 9_000]),
        "t_rrd_l": rng.choice([4_000, 6_000]),
        "t_ccd_l": rng.choice([0, 2_000, 3_333]),
        "t_faw": rng.choice([0, 60_000]),
        "t_rtp": rng.choice([0, 5_000, 20_000]),
        "t_wtr": rng.choice([0, 7_500]),
        "t_wtr_l": rng.choice([8_000, 17_500]),
        "t_rtw": rng.choice([0, 12_500]),
        "t_cmd": rng.choice([0, 0, 1_250]),
        **rng.choice([{"t_refi": 0, "t_rfc": 0}, {"t_refi": 390_000, "t_rfc": 260_000}]),
    }


def random_bytes(rng: random.Random) -> int:
    return rng.randint(1, rng.choice([300, 300, 5_000, 5_000, 20_000, MOST_BYTES]))


def random_transfer(rng: random.Random) -> dict[str, int]:
    """Bytes and address of a LOAD or STORE, with or without rows."""
    num_bytes, address = random_bytes(rng), rng.randint(0, 1 << 16)
    two_d = {}
    if rng.random() < 0.3:
        row_bytes = rng.randint(max(1, num_bytes // 40), num_bytes)
        two_d = {"row_bytes": row_bytes, "stride_bytes": row_bytes + rng.randint(0, 3_000)}
    return {"num_bytes": num_bytes, "address": address, **two_d}


def random_tasks(rng: random.Random, wiring: Wiring) -> Tasks:
    """Streams in which a RECV may be posted long after its SEND, or wait for anything before it."""
    stream, unreceived = Stream(), []
    for _ in range(rng.randint(1, rng.choice([3, 10, 40]))):
        add_task(rng, wiring, stream, unreceived)
    for send in unreceived:
        stream.recv(rng.randrange(wiring.num_cores), send)
    return stream.build()


def add_task(rng: random.Random, wiring: Wiring, stream: Stream, unreceived: list[int]) -> None:
    core, num_tasks = rng.randrange(wiring.num_cores), len(stream.rows)
    after = rng.sample(range(num_tasks), min(num_tasks, rng.choice([0, 0, 1, 2])))
    kind = rng.choice(["compute", "load", "store", "send", "send", "recv", "sync"])
    engine = rng.randrange(2)
    if kind == "compute":
        num_bytes, unit = random_bytes(rng), rng.randrange(2)
        stream.compute(core, rng.randint(0, 3_000), after, num_bytes=num_bytes, unit=unit)
    elif kind in ("load", "store"):
        add = stream.load if kind == "load" else stream.store
        memory = rng.randrange(len(wiring.memory_interleave))
        add(core, after=after, memory=memory, engine=engine, **random_transfer(rng))
    elif kind == "send":
        unreceived.append(stream.send(core, random_bytes(rng), after, engine=engine))
    elif kind == "recv" and unreceived:
        stream.recv(core, unreceived.pop(rng.randrange(len(unreceived))), after)
    else:
        stream.sync(core, after)


def random_case(rng: random.Random) -> tuple[Wiring, Tasks]:
    wiring = random_wiring(rng)
    return wiring, random_tasks(rng, wiring)


def assert_equal(a: Outcome, b: Outcome) -> None:
    """Every field but `events`, and of `waiting` only whether there is something."""
    for name in ("ready", "start", "end"):
        assert_same(name, getattr(a, name), getattr(b, name))
    for name in ("channel", "link", "core"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.keys() == right.keys()
        for key in left:
            assert_same(f"{name}.{key}", left[key], right[key])
    assert a.bin_ticks == b.bin_ticks
    assert_same("channel_bins", a.channel_bins, b.channel_bins)
    assert_same("link_bins", a.link_bins, b.link_bins)
    assert bool(a.waiting) == bool(b.waiting)


def assert_same(name: str, left: np.ndarray, right: np.ndarray) -> None:
    differ = np.argwhere(left != right)
    assert not len(differ), f"{name} differs first at {differ[0]}:\n{left}\n{right}"


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_fast_and_reference_agree(rng):
    case = random_case(rng)
    assert_equal(fast.run(*case), run_reference(*case))


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_spans_of_both_engines_are_equal(rng, small_buffer):
    case = random_case(rng)
    room = len(case[0].channels) + case[0].num_links + 1 if small_buffer else fast.SPAN_ROOM
    of_fast, of_reference = [], []
    with mock.patch.object(fast, "SPAN_ROOM", room):
        fast.run(*case, on_spans=lambda rows: of_fast.append(rows.copy()))
    run_reference(*case, on_spans=of_reference.append)
    assert by_track(of_fast) == by_track(of_reference)


def by_track(chunks: list[np.ndarray]) -> list[tuple]:
    """Spans by track, in the order in which they came."""
    rows = np.concatenate(chunks) if chunks else np.empty((0, 5))
    return sorted((tuple(row) for row in rows.tolist()), key=lambda row: row[0])


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 1 << 30))
def test_order_within_a_phase_does_not_matter(rng, seed):
    case = random_case(rng)
    assert_equal(run_reference(*case, shuffle=random.Random(seed)), run_reference(*case))
