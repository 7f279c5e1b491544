import gzip
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import orjson
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent
from report_cases import setup, small_run

from npusim.errors import SpecError
from npusim.report.timeline import FORMATS, check_path, write_timeline

# (group, track, name, start ns, duration ns) of the first iteration, by hand
EXPECTED = {
    ("Chip", "iterations", "prefill", 0, 440),
    ("Core 0,0", "dma 1", "load up", 0, 100),
    ("Core 0,0", "array 0", "up", 100, 200),
    ("Core 0,0", "dma 0", "send up", 300, 50),
    ("Core 0,1", "receive", "recv up", 310, 50),
    ("Core 0,1", "vector", "up", 360, 50),
    ("Core 0,1", "dma 1", "store up", 410, 30),
    ("Memory", "hbm[0] channel 0", "load up", 0, 100),
    ("NoC", "link 0", "send up", 300, 50),
    ("Memory", "hbm[1] channel 0", "store up", 410, 30),
}
BOTH = EXPECTED | {
    (g, t, n.replace("prefill", "decode 1"), s + 440, d) for g, t, n, s, d in EXPECTED
}


def written(tmp_path, name):
    return write_timeline(setup(), small_run(), tmp_path / name)


def read_perfetto(path):
    """(slices, descriptors by uuid, annotations by (track, start), counters, flows)."""
    trace = Trace()
    trace.ParseFromString(path.read_bytes())
    interned = trace.packet[0].interned_data
    names = {row.iid: row.name for row in interned.event_names}
    keys = {row.iid: row.name for row in interned.debug_annotation_names}
    texts = {row.iid: row.str.decode() for row in interned.debug_annotation_string_values}
    tracks = {p.track_descriptor.uuid: p.track_descriptor for p in trace.packet}
    open_slices, slices, arguments, counters = defaultdict(list), set(), {}, defaultdict(list)
    flows = defaultdict(list)
    for packet in trace.packet:
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        track = tracks[event.track_uuid]
        place = (tracks[track.parent_uuid].name, track.name)
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            open_slices[event.track_uuid].append((names[event.name_iid], packet.timestamp))
            for note in event.debug_annotations:
                value = texts.get(note.string_value_iid, note.uint_value)
                arguments[(*place, packet.timestamp, keys[note.name_iid])] = value
            for flow in event.flow_ids:
                flows[flow].append((*place, packet.timestamp))
            for flow in event.terminating_flow_ids:
                flows[flow].append((*place, packet.timestamp))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            name, start = open_slices[event.track_uuid].pop()
            assert not open_slices[event.track_uuid], "slices of a track must not overlap"
            slices.add((*place, name, start, packet.timestamp - start))
        else:
            counters[place].append((packet.timestamp, event.double_counter_value))
    return slices, tracks, arguments, counters, flows


def read_chrome(path):
    """The same of a Chrome trace."""
    data = path.read_bytes()
    rows = orjson.loads(gzip.decompress(data) if path.suffix == ".gz" else data)["traceEvents"]
    of = defaultdict(dict)
    for row in rows:
        if row["ph"] == "M":
            of[row["name"]][row["pid"], row["tid"]] = row["args"].get("name")
    slices, arguments, counters, flows = set(), {}, defaultdict(list), defaultdict(list)
    for row in rows:
        group = of["process_name"][row["pid"], 0]
        place = (group, of["thread_name"].get((row["pid"], row.get("tid"))))
        ns = round(row.get("ts", 0) * 1000)
        if row["ph"] == "X":
            slices.add((*place, row["name"], ns, round(row["dur"] * 1000)))
            for key, value in row["args"].items():
                arguments[(*place, ns, key)] = value
        elif row["ph"] == "C":
            counters[group, row["name"]] += [(ns, v) for v in row["args"].values()]
        elif row["ph"] in "sf":
            flows[row["id"]].append((*place, ns))
    return slices, {}, arguments, counters, flows


READERS = {"a.pftrace": read_perfetto, "a.json": read_chrome, "a.json.gz": read_chrome}
READERS["a.perfetto-trace"] = read_perfetto


@pytest.fixture(params=READERS)
def content(request, tmp_path):
    return READERS[request.param](written(tmp_path, request.param))


def test_every_slice_is_there_with_its_track_and_times(content):
    assert content[0] == BOTH


def test_slices_have_their_arguments(content):
    arguments = content[2]
    given = {key: arguments["Core 0,0", "array 0", 100, key] for key in ("op", "layer", "flops")}
    assert given == {"op": "L0.up", "layer": "0", "flops": 3200}
    assert arguments["Memory", "hbm[1] channel 0", 850, "bytes"] == 400
    assert arguments["Core 0,1", "receive", 750, "layer"] == "1"


def test_an_arrow_runs_from_each_send_to_its_receive(content):
    flows = sorted(content[4].values())
    assert flows == [
        [("Core 0,0", "dma 0", 300), ("Core 0,1", "receive", 310)],
        [("Core 0,0", "dma 0", 740), ("Core 0,1", "receive", 750)],
    ]


def test_counters_hold_bandwidth_and_scratchpad_bytes(content):
    counters = content[3]
    first = counters["Chip", "memory bandwidth"][:3]
    assert [(t, pytest.approx(v, rel=1e-5)) for t, v in first] == [
        (0, 1600 / 220),
        (220, 400 / 220),
        (440, 0),
    ]
    assert counters["Core 0,0", "scratchpad"][:2] == [(0, 1600), (300, 0)]
    # points are at most one thousandth of the makespan apart from the event
    assert [v for _, v in counters["Core 0,1", "scratchpad"][:3]] == [0, 800, 0]
    assert [t for t, _ in counters["Core 0,1", "scratchpad"][:3]] == [0, 309, 410]


def test_perfetto_tracks_stand_in_sections_and_order(tmp_path):
    tracks = read_perfetto(written(tmp_path, "a.pftrace"))[1]
    by_name = {t.name: t for t in tracks.values()}
    assert tracks[by_name["Core 0,1"].parent_uuid].name == "Cores"
    ranks = [by_name[n].sibling_order_rank for n in ("array 0", "vector", "dma 1", "receive")]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("name", READERS)
def test_the_same_run_gives_the_same_bytes(tmp_path, name):
    first = written(tmp_path, name).read_bytes()
    (tmp_path / "other").mkdir()
    assert write_timeline(setup(), small_run(), tmp_path / "other" / name).read_bytes() == first
    assert [p.name for p in (tmp_path / "other").iterdir()] == [name]


@pytest.mark.parametrize("name", ["trace.txt", "trace", ".json", "x.pftrace.gz"])
def test_other_suffixes_are_refused(name):
    with pytest.raises(SpecError, match=r"must end with \.json, \.json\.gz, \.pftrace"):
        check_path(name)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def broken(timeline):
        yield b"half"
        raise RuntimeError("disk on fire")

    monkeypatch.setitem(FORMATS, ".json", broken)
    with pytest.raises(RuntimeError):
        write_timeline(setup(), small_run(), path)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_run_without_spans_has_tasks_only(tmp_path):
    run = small_run()
    trace = run.iterations[0].trace
    trace.spans = trace.channel_bins = trace.link_bins = None
    slices = read_perfetto(write_timeline(setup(), run, tmp_path / "a.pftrace"))[0]
    assert {s[0] for s in slices} == {"Chip", "Core 0,0", "Core 0,1"}


LARGE = """
import resource, sys
sys.path.insert(0, {cases!r})
import numpy as np
from report_cases import setup, small_trace
from npusim.report.timeline import write_timeline
from npusim.trace import SPAN_DTYPE, Iteration, Run, SpanLog

trace, log = small_trace(), SpanLog()
for first in range(0, {count}, 100_000):
    i = np.arange(first, first + 100_000)
    chunk = np.zeros(len(i), SPAN_DTYPE)
    chunk["track"], chunk["task"], chunk["start_ps"] = i % 3, i % 6, i * 10_000
    chunk["end_ps"] = chunk["start_ps"] + 8_000
    log.append(chunk)
trace.spans, trace.makespan_ps = log, {count} * 10_000
run = Run([Iteration("x", 0, trace.makespan_ps, trace)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_timeline(setup(), run, {path!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["large.pftrace", "large.json.gz"])
def test_ten_million_spans_fit_in_a_gibibyte(tmp_path, name):
    cases = str(Path(__file__).parent)
    script = LARGE.format(cases=cases, count=10_000_000, path=str(tmp_path / name))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert int(done.stdout) < 1 << 20, "KiB"
    (tmp_path / name).unlink()
