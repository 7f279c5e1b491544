"""KV from a prefill instance to a decode instance: every byte that is needed and no other, through
windows, on real links, after a prompt or layer by layer beside it."""

import numpy as np
import pytest

from npusim.graph.batch import Slice, prefill
from npusim.graph.transformer import build
from npusim.machine.system import run
from npusim.passes.footprint import footprint
from npusim.passes.kv_flows import KvHome, kv_home, kv_rows
from npusim.passes.kv_transfer import Move, append_kv_transfer, lower_kv_transfer
from npusim.passes.pipeline import lower
from npusim.passes.share import Share
from npusim.program import LOAD, RECV, SEND, STORE, SYNC
from npusim.spec.load import load_hardware, load_model
from npusim.spec.scenario import Dtypes, Parallel

TINY = {
    "num_hidden_layers": 4, "hidden_size": 128, "intermediate_size": 256, "vocab_size": 512,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16,
}  # fmt: skip
MLA = {
    "num_hidden_layers": 2, "hidden_size": 128, "intermediate_size": 256, "vocab_size": 512,
    "num_attention_heads": 8, "num_key_value_heads": 8, "q_lora_rank": 32, "kv_lora_rank": 32,
    "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16, "first_k_dense_replace": 2,
}  # fmt: skip
TOKENS = 100
HEAD_BYTES = 2 * 16 * 2  # K and V of a head and token in bf16
ROW = 4 * HEAD_BYTES
DTYPES = Dtypes()


@pytest.fixture(scope="module")
def chip():
    return load_hardware("npu_large_core")


def graph_of(batch=None, name="qwen3-4b", tiny=TINY):
    return build(load_model(name, tiny), batch or prefill(1, TOKENS))


def home(tp, pp, first, resident=0.0):
    """Ranks and stages on consecutive cores, each with its private memory."""
    groups = tuple(tuple(range(first + s * tp, first + s * tp + tp)) for s in range(pp))
    places = tuple((core, core, 1 << 20) for stage in groups for core in stage)
    return KvHome(groups, places, resident)


def moved(chip, src, dst, tokens=TOKENS, graph=None):
    return lower_kv_transfer(kv_rows(graph or graph_of()), tokens, src, dst, chip, DTYPES)


def total(program, kind):
    return int(program.bytes[program.kind == kind].sum())


# ---- bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("src", "dst", "copies"),
    [
        ((4, 1), (2, 1), 1),
        ((2, 1), (4, 1), 1),
        ((1, 4), (4, 1), 1),
        ((1, 4), (4, 2), 1),
        ((4, 2), (1, 1), 1),
        ((1, 1), (8, 1), 2),  # 4 KV heads on 8 ranks
        ((8, 1), (8, 1), 2),
        ((8, 1), (1, 3), 1),
        ((3, 1), (1, 1), 1),
        ((1, 1), (3, 1), 5 / 4),  # 3 + 3 + 2 query heads read 2 + 2 + 1 KV heads
        ((2, 1), (16, 1), 2),  # pairs of ranks share a query head, and its tokens
    ],
)
def test_bytes_sent_are_those_needed(chip, src, dst, copies):
    program = moved(chip, home(*src, 0), home(*dst, 32))
    needed = TOKENS * 4 * ROW * copies
    assert {total(program, kind) for kind in (SEND, RECV, LOAD, STORE)} == {needed}
    assert set(program.core[program.kind == LOAD].tolist()) <= set(range(src[0] * src[1]))


def test_seven_stages_to_seven_ranks(chip):
    graph = graph_of(tiny={**TINY, "num_hidden_layers": 14, "num_attention_heads": 7,
                           "num_key_value_heads": 7})  # fmt: skip
    program = moved(chip, home(1, 7, 0), home(7, 1, 32), graph=graph)
    assert total(program, SEND) == TOKENS * 14 * 7 * HEAD_BYTES
    sends = program.kind == SEND
    pairs = set(zip(program.core[sends].tolist(), program.peer[sends].tolist(), strict=True))
    assert pairs == {(src, dst) for src in range(7) for dst in range(32, 39)}


def test_a_latent_goes_whole_to_every_rank(chip):
    graph = graph_of(name="deepseek-v3", tiny=MLA)
    program = moved(chip, home(4, 1, 0), home(2, 1, 32), graph=graph)
    assert total(program, SEND) == TOKENS * 2 * (32 + 8) * 2 * 2  # elements x bytes x ranks
    # each rank has it from the nearest, the last of the source's row: one flow a rank and layer
    assert (program.kind == SEND).sum() == 2 * 2


@pytest.mark.parametrize("dtype", ["fp8", "int8"])
def test_half_the_bits_are_half_the_bytes(chip, dtype):
    rows = kv_rows(graph_of())
    dtypes = Dtypes(kv=dtype)
    program = lower_kv_transfer(rows, TOKENS, home(4, 1, 0), home(2, 1, 32), chip, dtypes)
    assert total(program, SEND) == TOKENS * 4 * ROW // 2


@pytest.mark.parametrize(("here", "there"), [(1.0, 0.0), (0.0, 1.0), (0.5, 0.25), (1.0, 1.0)])
def test_what_is_resident_is_neither_loaded_nor_stored(chip, here, there):
    program = moved(chip, home(4, 1, 0, here), home(2, 1, 32, there))
    needed = TOKENS * 4 * ROW
    assert total(program, SEND) == needed
    assert total(program, LOAD) == needed * (1 - here)
    assert total(program, STORE) == needed * (1 - there)


def test_cores_without_memory_keep_all_of_it(chip):
    source = KvHome(((0,),))
    program = moved(chip, source, home(1, 1, 32))
    assert total(program, LOAD) == 0 and total(program, STORE) == TOKENS * 4 * ROW


def test_a_core_at_both_ends_sends_nothing(chip):
    assert len(moved(chip, home(2, 2, 0), home(2, 2, 0))) == 0


# ---- pieces -------------------------------------------------------------------------------------


def test_pieces_fit_half_a_window(chip):
    tokens = 200_000
    program = moved(chip, home(1, 1, 0), home(1, 1, 9), tokens)
    piece = 32 * (1 << 20) // 16 // 2
    for kind in (LOAD, SEND, STORE):
        sizes = program.bytes[program.kind == kind]
        assert sizes.max() == piece and sizes.sum() == tokens * 4 * ROW
    addresses = program.address[program.kind == LOAD]
    ends = addresses + program.bytes[program.kind == LOAD]
    assert addresses[0] == 1 << 20 and (addresses[1:] == ends[:-1]).all()


def test_loads_run_ahead_by_a_window_only(chip):
    program = moved(chip, home(1, 1, 0), home(1, 1, 9), 200_000)
    trace = run(program, chip)
    loads, sends = (np.flatnonzero(program.kind == kind) for kind in (LOAD, SEND))
    assert (trace.start_ps[loads[2:]] >= trace.end_ps[sends[:-2]]).all()
    assert (trace.start_ps[loads[1:]] < trace.end_ps[sends[:-1]]).all()


# ---- on the machine -----------------------------------------------------------------------------


@pytest.mark.parametrize("noc", [{}, {"protocol": "handshake", "flow_control": "channel_locked"}])
@pytest.mark.parametrize("shapes", [((4, 1), (2, 1)), ((1, 4), (8, 1)), ((4, 2), (16, 1))])
def test_no_faster_than_links_and_memories(noc, shapes):
    chip = load_hardware("npu_large_core", {f"noc.{key}": value for key, value in noc.items()})
    tokens = 4000
    src, dst = home(*shapes[0], 0), home(*shapes[1], 32)
    program = moved(chip, src, dst, tokens)
    trace = run(program, chip)
    assert (trace.end_ps >= 0).all()
    for kind, gb_s in ((SEND, chip.noc.link_gb_s), (RECV, chip.noc.link_gb_s), (LOAD, 120)):
        for core in set(program.core[program.kind == kind].tolist()):
            own = int(program.bytes[(program.kind == kind) & (program.core == core)].sum())
            assert trace.makespan_ps >= own / gb_s * 1000
    assert int(trace.channels["read_bytes"].sum()) == total(program, LOAD)
    assert int(trace.channels["write_bytes"].sum()) == total(program, STORE)


def test_both_engines_agree(chip):
    program = moved(chip, home(2, 1, 0), home(4, 1, 32))
    fast, slow = (run(program, chip, engine=engine) for engine in ("fast", "simpy"))
    assert (fast.end_ps == slow.end_ps).all()


def test_a_home_from_footprints():
    chip, graph = load_hardware("npu_edge_hbm"), graph_of()
    parallel = Parallel(tp=2, pp=2, partition="megatron")
    homes = []
    for cores in ((0, 1, 2, 3), (4, 5, 6, 7)):
        found = footprint(graph, chip, parallel, "linear_seq", DTYPES, Share(cores=cores))
        homes.append(kv_home(found, 0.5))
    addresses = [address for core, memory_id, address in homes[0].places]
    assert len(set(addresses)) == 4 and {m for _, m, _ in homes[0].places} == {0}
    assert total(moved(chip, *homes, graph=graph), LOAD) == TOKENS * 4 * ROW // 2


# ---- beside the iteration -----------------------------------------------------------------------


def beside(chip, moves, batch, graph=None, **parallel):
    graph = graph or graph_of(batch)
    parallel = Parallel(**{"tp": 4, "pp": 1, "partition": "megatron", **parallel})
    share = Share(cores=tuple(range(parallel.tp * parallel.pp)))
    own = lower(graph, chip, parallel, "linear_seq", DTYPES, share)
    groups = [
        tuple(row["core"] for row in own.placed if row["stage"] == stage)
        for stage in range(parallel.pp)
    ]
    places = tuple((core, core, 1 << 24) for stage in groups for core in stage)
    source = KvHome(tuple(groups), places)
    return own, *append_kv_transfer(own, kv_rows(graph), moves, source, chip, DTYPES)


@pytest.mark.parametrize("parallel", [{}, {"tp": 2, "pp": 2}, {"tp": 2, "micro_batches": 2}])
def test_the_iteration_stays_as_it_is(chip, parallel):
    moves = [Move(home(2, 1, 32), TOKENS), Move(home(1, 2, 40), 50)]
    own, program, group = beside(chip, moves, (Slice(TOKENS), Slice(50)), **parallel)
    assert set(group.tolist()) == {0, 1, 2} and len(group) == len(program)
    added = [op.kind == "transfer" for op in program.ops]
    kept = ~np.array(added)[program.op]
    assert (group[kept] == 0).all() and kept.sum() == len(own)
    for name in set(own.columns) - {"match"}:
        assert (program.columns[name][kept] == own.columns[name]).all()
    assert (program.kind[(group == 0) & ~kept] == SYNC).all()
    for index, tokens in ((1, TOKENS), (2, 50)):
        sent = program.bytes[(group == index) & (program.kind == SEND)].sum()
        assert sent == tokens * 4 * ROW
    assert not ((group > 0) & (program.kind == LOAD)).any()  # new rows are at hand


def test_no_moves_take_no_time(chip):
    own, program, group = beside(chip, [], prefill(1, TOKENS))
    assert not group.any()
    assert run(program, chip).makespan_ps == run(own, chip).makespan_ps


def test_a_layer_leaves_when_it_is_made_and_before_the_next(chip):
    _, program, group = beside(chip, [Move(home(4, 1, 32), TOKENS)], prefill(1, TOKENS))
    trace = run(program, chip)
    layer = np.array([op.layer for op in program.ops])[program.op]
    name = np.array([op.name.rpartition(".")[2] for op in program.ops])[program.op]
    sends = (group == 1) & (program.kind == SEND)
    done = trace.end_ps[group == 0].max()
    for index in range(4):
        for core in range(4):
            here = (layer == index) & (program.core == core)
            made = trace.end_ps[here & np.isin(name, ("qkv", "rope", "k_norm"))].max()
            assert (trace.start_ps[here & sends] >= made).all()
    assert trace.end_ps[(layer == 0) & sends].max() < done // 2
    assert trace.makespan_ps >= done


def test_what_was_there_before_is_loaded(chip):
    batch = (Slice(50, 50),)
    _, program, group = beside(chip, [Move(home(2, 1, 32), 50, 50)], batch)
    assert program.bytes[(group == 1) & (program.kind == SEND)].sum() == TOKENS * 4 * ROW
    assert program.bytes[(group == 1) & (program.kind == LOAD)].sum() == 50 * 4 * ROW
    assert run(program, chip).makespan_ps > 0


@pytest.mark.parametrize("form", ["absorbed", "expanded"])
def test_latents_leave_beside_the_iteration(chip, form):
    graph = build(load_model("deepseek-v3", MLA), prefill(1, TOKENS), form)
    (row, _) = kv_rows(graph)
    assert row.shape.latent and row.shape.elements == 40
    assert {n.rpartition(".")[2] for n in row.producers} == {"kv_down", "kv_latent_norm", "rope"}
    _, program, group = beside(chip, [Move(home(2, 1, 32), TOKENS)], None, graph)
    sent = program.bytes[(group == 1) & (program.kind == SEND)].sum()
    assert sent == TOKENS * 2 * 40 * 2 * 2
    run(program, chip)
