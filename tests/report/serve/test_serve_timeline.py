import numpy as np
import pytest
from serve_cases import (
    MS,
    done,
    instance,
    interrupted_run,
    iteration,
    make_run,
    move,
    rejected,
    small_run,
    unfinished,
)
from test_timeline import READERS

from npusim.report.serve import timeline as module
from npusim.report.serve.requests import cut
from npusim.report.serve.timeline import (
    batch_steps,
    serve_timeline,
    write_serve_timeline,
)

# (group, track, name, start ms, duration ms) of small_run(), by hand
EXPECTED = {
    ("Instance prefill0", "iterations", "prefill", 10, 20),
    ("Instance prefill0", "iterations", "prefill", 30, 30),
    ("Instance decode0", "iterations", "decode", 35, 5),
    ("Instance decode0", "iterations", "decode", 40, 10),
    ("Instance decode0", "iterations", "decode", 70, 10),
    ("Instance prefill0", "KV sent", "KV of request 0", 30, 5),
    ("Instance prefill0", "KV sent", "KV of request 1", 60, 4),
    ("Instance decode0", "KV received", "KV of request 0", 30, 5),
    ("Instance decode0", "KV received", "KV of request 1", 60, 4),
    ("Requests 0-2", "request 0", "queued", 0, 10),
    ("Requests 0-2", "request 0", "prefill", 10, 20),
    ("Requests 0-2", "request 0", "handover", 30, 5),
    ("Requests 0-2", "request 0", "decode", 35, 15),
    ("Requests 0-2", "request 1", "queued", 5, 25),
    ("Requests 0-2", "request 1", "prefill", 30, 30),
    ("Requests 0-2", "request 1", "handover", 60, 4),
    ("Requests 0-2", "request 1", "decode", 64, 2),
    ("Requests 0-2", "request 1", "preempted", 66, 4),
    ("Requests 0-2", "request 1", "decode", 70, 10),
    ("Requests 0-2", "request 2", "rejected", 6, 0),
}
NS = 1_000_000  # in a ms


@pytest.fixture(params=READERS)
def content(request, tmp_path):
    path = write_serve_timeline(small_run(), tmp_path / request.param)
    return READERS[request.param](path)


def test_every_slice_is_there_with_its_track_and_times(content):
    assert content[0] == {(g, t, n, s * NS, d * NS) for g, t, n, s, d in EXPECTED}


def test_slices_have_their_arguments(content):
    arguments = content[2]
    place = ("Instance decode0", "iterations", 40 * NS)
    given = {key: arguments[(*place, key)] for key in ("decodes", "context_tokens", "requests")}
    assert given == {"decodes": 1, "context_tokens": 102, "requests": 1}
    assert arguments["Requests 0-2", "request 0", 10 * NS, "cached_tokens"] == 25
    assert arguments["Requests 0-2", "request 2", 6 * NS, "instance"] == "-"
    assert arguments["Instance prefill0", "KV sent", 30 * NS, "bytes"] == 1600


def test_an_arrow_runs_from_where_kv_is_sent_to_where_it_is_received(content):
    sent, received = ("Instance prefill0", "KV sent"), ("Instance decode0", "KV received")
    assert sorted(content[4].values()) == [
        [(*sent, 30 * NS), (*received, 30 * NS)],
        [(*sent, 60 * NS), (*received, 60 * NS)],
    ]


def test_counters_hold_what_changes(content):
    counters = content[3]
    assert counters["Instance decode0", "batch"] == [
        (35 * NS, 1),
        (50 * NS, 0),
        (70 * NS, 1),
        (80 * NS, 0),
    ]
    assert counters["Instance prefill0", "waiting"] == [(10 * NS, 1), (30 * NS, 0)]
    assert counters["Instance decode0", "KV"] == [(35 * NS, 8), (70 * NS, 4)]


def test_swaps_stand_on_one_track_without_arrows(tmp_path):
    moves = [move(0, 0, 0, 1, 2, 8, kind=1), move(0, 0, 0, 3, 4, 8, kind=2)]
    path = write_serve_timeline(make_run([done(0, 0, (9,))], transfers=moves), tmp_path / "a.json")
    slices, _, _, _, flows = READERS["a.json"](path)
    assert {row[1:] for row in slices if row[1] == "KV swapped"} == {
        ("KV swapped", "swap out", NS, NS),
        ("KV swapped", "swap in", 3 * NS, NS),
    }
    assert not flows


def test_overlapping_iterations_stand_in_lanes(tmp_path):
    run = make_run([done(0, 0, (9,))], [iteration(0, 6, requests=3), iteration(4, 9, requests=2)])
    timeline = serve_timeline(run)
    assert [track.name for track in timeline.tracks].count("iterations") == 2
    times, values = batch_steps(run.iterations)
    assert [t // MS for t in times.tolist()] == [0, 4, 9] and values.tolist() == [3, 2, 0]
    write_serve_timeline(run, tmp_path / "a.pftrace")


def test_what_never_came_lasts_to_the_end_of_a_partial_run(tmp_path):
    requests = [done(0, 0, (2, 9)), unfinished(1), unfinished(2, (3, 4))]
    path = write_serve_timeline(make_run(requests, partial="x"), tmp_path / "a.json")
    found = {row[1:] for row in READERS["a.json"](path)[0]}
    assert ("request 1", "queued", NS, 8 * NS) in found
    assert ("request 2", "decode", 3 * NS, 6 * NS) in found


def test_preemptions_cut_the_phases_that_they_overlap():
    phases = [("prefill", 0, 10), ("decode", 10, 20)]
    assert cut(phases, [(4, 6), (8, 12), (20, 25)]) == [
        ("prefill", 0, 4),
        ("preempted", 4, 6),
        ("prefill", 6, 8),
        ("preempted", 8, 10),
        ("preempted", 10, 12),
        ("decode", 12, 20),
    ]


def test_only_the_first_requests_get_tracks_and_names_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "MAX_REQUESTS", 150)
    requests = [done(i, i, (i + 1, i + 3), decode_instance=1) for i in range(200)]
    moves = [move(i, 0, 1, i + 1, i + 2, 4) for i in range(200)]
    run = make_run(requests, [], moves, [instance("p", "prefill"), instance("d", "decode")])
    timeline = serve_timeline(run)
    assert sum(track.name.startswith("request ") for track in timeline.tracks) == 150
    assert [group.name for group in timeline.groups[2:]] == [
        "Requests 0-99 of 200",
        "Requests 100-149 of 200",
    ]
    assert timeline.groups[-1].section == "Requests (first 150 of 200)"
    path = write_serve_timeline(run, tmp_path / "a.json")
    names = {row[2] for row in READERS["a.json"](path)[0] if row[1] == "KV sent"}
    assert "KV" in names and "KV of request 149" in names and "KV of request 150" not in names


@pytest.mark.parametrize("requests", [[], [rejected(0)], [unfinished(0)]])
@pytest.mark.parametrize("name", ["a.json", "a.pftrace"])
def test_a_run_without_work_gives_a_timeline_too(tmp_path, requests, name):
    run = make_run(requests)
    READERS[name](write_serve_timeline(run, tmp_path / name))


@pytest.mark.parametrize("name", READERS)
def test_the_same_run_gives_the_same_bytes(tmp_path, name):
    first = write_serve_timeline(small_run(), tmp_path / "a" / name).read_bytes()
    assert write_serve_timeline(small_run(), tmp_path / "b" / name).read_bytes() == first


def test_slices_of_chunks_are_those_of_the_whole(monkeypatch):
    whole = [e for e in serve_timeline(small_run()).events() if hasattr(e, "start_ps")]
    monkeypatch.setattr(module, "CHUNK", 2)
    parts = [e for e in serve_timeline(small_run()).events() if hasattr(e, "start_ps")]
    assert len(parts) > len(whole)
    joined = np.concatenate([e.start_ps for e in parts])
    assert joined.tolist() == np.concatenate([e.start_ps for e in whole]).tolist()


@pytest.mark.parametrize("name", ["a.json", "a.pftrace"])
def test_an_interrupted_run_ends_with_its_last_event(tmp_path, name):
    slices = READERS[name](write_serve_timeline(interrupted_run(), tmp_path / name))[0]
    assert ("Instance i0", "iterations", "decode", 10 * NS, 0) in slices
    assert ("Requests 0-2", "request 1", "decode", 4 * NS, 6 * NS) in slices
    assert not [row for row in slices if row[1] == "request 2"]  # it had not arrived
