"""Timeline → Chrome trace JSON lines, in order, a chunk at a time.

Microseconds with three decimals hold whole nanoseconds (rounded down).
"""

from collections.abc import Iterator

import numpy as np
import orjson

from npusim.report.events import Counts, Slices, Timeline
from npusim.units import PS_PER_NS


def chrome_chunks(timeline: Timeline) -> Iterator[bytes]:
    """The file's bytes: `{"displayTimeUnit":"ns","traceEvents":[ … ]}`, one event a line."""
    names = [orjson.dumps(text).decode() for text in timeline.strings]
    tracks = enumerate(timeline.tracks)
    places = [f'"pid":{track.group + 1},"tid":{_tid(timeline, i)}' for i, track in tracks]
    yield b'{"displayTimeUnit":"ns","traceEvents":[\n'
    yield ",\n".join(_metadata(timeline)).encode()
    for event in timeline.events():
        if isinstance(event, Slices):
            lines = _slices(event, names, places)
        else:
            lines = _counts(event, timeline)
        if lines:
            yield b",\n" + ",\n".join(lines).encode()
    yield b"\n]}\n"


def _metadata(timeline: Timeline) -> list[str]:
    rows = []
    for pid, group in enumerate(timeline.groups, 1):
        rows.append(_meta("process_name", pid, 0, {"name": group.name}))
        rows.append(_meta("process_sort_index", pid, 0, {"sort_index": pid}))
    for index, track in enumerate(timeline.tracks):
        if not track.unit:
            tid, pid, rank = _tid(timeline, index), track.group + 1, {"sort_index": track.rank}
            rows.append(_meta("thread_name", pid, tid, {"name": track.name}))
            rows.append(_meta("thread_sort_index", pid, tid, rank))
    return rows


def _tid(timeline: Timeline, index: int) -> int:
    """Thread id of a track: above all process ids, as an equal one would be the main thread."""
    return len(timeline.groups) + 1 + index


def _meta(name: str, pid: int, tid: int, args: dict) -> str:
    row = {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}
    return orjson.dumps(row).decode()


def _slices(event: Slices, names: list[str], places: list[str]) -> list[str]:
    start_ns, end_ns = event.start_ps // PS_PER_NS, event.end_ps // PS_PER_NS
    times = start_ns.tolist(), (end_ns - start_ns).tolist()
    keys = [*event.texts, *event.numbers]
    template = (
        '{"ph":"X",%s,"ts":%d.%03d,"dur":%d.%03d,"name":%s,"args":{'
        + ",".join(f'"{key}":%{"s" if key in event.texts else "d"}' for key in keys)
        + "}}"
    )
    texts = [[names[i] for i in column.tolist()] for column in event.texts.values()]
    numbers = [column.tolist() for column in event.numbers.values()]
    rows = zip(event.track.tolist(), *times, event.name.tolist(), *texts, *numbers, strict=True)
    lines = [
        template % (places[t], s // 1000, s % 1000, d // 1000, d % 1000, names[n], *args)
        for t, s, d, n, *args in rows
    ]
    return lines if event.flow is None else lines + _flows(event, places)


def _flows(event: Slices, places: list[str]) -> list[str]:
    """Arrows: `s` at a SEND's start, `f` (binding to the slice that encloses it) at its RECV's."""
    assert event.flow is not None
    rows = np.flatnonzero(event.flow)
    columns = (event.track[rows], event.start_ps[rows] // PS_PER_NS, event.flow[rows])
    return [
        f'{{"ph":{END[f < 0]},"id":{abs(f)},{places[t]},'
        f'"ts":{ns // 1000}.{ns % 1000:03d},"cat":"message","name":"message"}}'
        for t, ns, f in zip(*(c.tolist() for c in columns), strict=True)
    ]


def _counts(event: Counts, timeline: Timeline) -> list[str]:
    track = timeline.tracks[event.track]
    name = orjson.dumps(track.name).decode()
    head = f'{{"ph":"C","pid":{track.group + 1},"name":{name},"ts":'
    rows = zip((event.time_ps // PS_PER_NS).tolist(), event.value.tolist(), strict=True)
    return [
        f'{head}{ns // 1000}.{ns % 1000:03d},"args":{{"{track.unit}":{value:.12g}}}}}'
        for ns, value in rows
    ]


END = ('"s"', '"f","bp":"e"')
