"""Timeline → Perfetto protobuf trace, a chunk at a time; whole nanoseconds (rounded down).

Descriptors are made with the `perfetto` package; slices, of which there are millions, are encoded
by column (protobuf.py), each as a begin and an end packet.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (
    CounterDescriptor,
    DebugAnnotation,
    Trace,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)

from npusim.report.events import Counts, Slices, Timeline
from npusim.report.protobuf import Rows
from npusim.units import PS_PER_NS

SEQUENCE = 1
FIRST_GROUP = 1  # uuids: groups from here, then tracks, then sections
ANNOTATION_NAMES = (
    *("op", "layer", "bytes", "flops", "task", "new_tokens"),  # of a run, then of serving
    *("request", "instance", "prompt_tokens", "output_tokens", "cached_tokens", "preemptions"),
    *("prefill_tokens", "decodes", "requests", "context_tokens", "waiting", "kv_blocks"),
)


def perfetto_chunks(timeline: Timeline) -> Iterator[bytes]:
    """The file's bytes."""
    yield _header(timeline)
    for event in timeline.events():
        if isinstance(event, Slices):
            yield from _slices(event, timeline)
        else:
            yield _counts(event, timeline)


def _header(timeline: Timeline) -> bytes:
    trace = Trace()
    first = trace.packet.add(trusted_packet_sequence_id=SEQUENCE)
    first.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    for iid, text in enumerate(timeline.strings, 1):
        first.interned_data.event_names.add(iid=iid, name=text)
        first.interned_data.debug_annotation_string_values.add(iid=iid, str=text.encode())
    for iid, text in enumerate(ANNOTATION_NAMES, 1):
        first.interned_data.debug_annotation_names.add(iid=iid, name=text)
    for descriptor in _descriptors(timeline):
        packet = trace.packet.add(trusted_packet_sequence_id=SEQUENCE)
        packet.track_descriptor.CopyFrom(descriptor)
    return trace.SerializeToString()


def _descriptors(timeline: Timeline) -> Iterator[TrackDescriptor]:
    """Sections that hold groups that hold tracks; whoever is named comes first."""
    after = _uuid(timeline, len(timeline.tracks))
    names = dict.fromkeys(group.section for group in timeline.groups if group.section)
    sections = {name: after + index for index, name in enumerate(names)}
    for name, uuid in sections.items():
        first = next(i for i, group in enumerate(timeline.groups) if group.section == name)
        yield _parent(uuid, name, first)
    for index, group in enumerate(timeline.groups):
        yield _parent(FIRST_GROUP + index, group.name, index, sections.get(group.section, 0))
    for index in range(len(timeline.tracks)):
        yield _track(index, timeline)


def _parent(uuid: int, name: str, rank: int, parent: int = 0) -> TrackDescriptor:
    descriptor = TrackDescriptor(uuid=uuid, name=name, sibling_order_rank=rank)
    descriptor.child_ordering = TrackDescriptor.EXPLICIT
    if parent:
        descriptor.parent_uuid = parent
    return descriptor


def _track(index: int, timeline: Timeline) -> TrackDescriptor:
    track = timeline.tracks[index]
    descriptor = TrackDescriptor(uuid=_uuid(timeline, index), name=track.name)
    descriptor.parent_uuid = FIRST_GROUP + track.group
    descriptor.sibling_order_rank = track.rank
    if track.unit:
        descriptor.counter.unit_name = track.unit
        if track.unit == "bytes":
            descriptor.counter.unit = CounterDescriptor.UNIT_SIZE_BYTES
    return descriptor


def _uuid(timeline: Timeline, index):
    """uuid of a track by its index, or of an array of them."""
    return FIRST_GROUP + len(timeline.groups) + index


def _slices(event: Slices, timeline: Timeline) -> Iterator[bytes]:
    """Begin and end packets, each begin right before its end: so those of a track are in order.

    Rows with an arrow are longer than those without: one table for each, joined run by run.
    """
    flow = event.flow
    end = _end(event, timeline)
    if flow is None or not flow.any():
        yield np.hstack((_begin(event, timeline), end)).tobytes()
        return
    choice = (flow > 0) + 2 * (flow < 0)
    tables = [np.hstack((_begin(event, timeline, field), end)) for field in FLOW_FIELDS]
    bounds = np.flatnonzero(np.diff(choice, prepend=-1, append=-1)).tolist()
    kinds = choice[bounds[:-1]].tolist()
    runs = zip(kinds, pairwise(bounds), strict=True)
    yield b"".join(tables[kind][first:last].tobytes() for kind, (first, last) in runs)


def _begin(event: Slices, timeline: Timeline, flow_field: int = 0) -> np.ndarray:
    """uint8 (slices, bytes of a packet)."""
    num_rows = len(event.track)
    inner = Rows(num_rows)
    inner.constant(TrackEvent.TYPE_FIELD_NUMBER, TrackEvent.TYPE_SLICE_BEGIN)
    inner.number(TrackEvent.TRACK_UUID_FIELD_NUMBER, _uuid(timeline, event.track))
    inner.number(TrackEvent.NAME_IID_FIELD_NUMBER, event.name + 1)
    for name, column in event.texts.items():
        field = DebugAnnotation.STRING_VALUE_IID_FIELD_NUMBER
        inner.message(ANNOTATION, _annotation(name, field, column + 1))
    for name, column in event.numbers.items():
        inner.message(ANNOTATION, _annotation(name, UINT, column))
    if flow_field:
        assert event.flow is not None
        inner.fixed64(flow_field, np.abs(event.flow))
    return _packet(event.start_ps, inner)


def _end(event: Slices, timeline: Timeline) -> np.ndarray:
    inner = Rows(len(event.track))
    inner.constant(TrackEvent.TYPE_FIELD_NUMBER, TrackEvent.TYPE_SLICE_END)
    inner.number(TrackEvent.TRACK_UUID_FIELD_NUMBER, _uuid(timeline, event.track))
    return _packet(event.end_ps, inner)


def _counts(event: Counts, timeline: Timeline) -> bytes:
    inner = Rows(len(event.time_ps))
    inner.constant(TrackEvent.TYPE_FIELD_NUMBER, TrackEvent.TYPE_COUNTER)
    inner.constant(TrackEvent.TRACK_UUID_FIELD_NUMBER, _uuid(timeline, event.track))
    values = event.value.astype("<f8").view(np.int64)
    inner.fixed64(TrackEvent.DOUBLE_COUNTER_VALUE_FIELD_NUMBER, values)
    return _packet(event.time_ps, inner).tobytes()


def _annotation(name: str, field: int, values: np.ndarray) -> Rows:
    rows = Rows(len(values))
    rows.constant(DebugAnnotation.NAME_IID_FIELD_NUMBER, ANNOTATION_NAMES.index(name) + 1)
    rows.number(field, values)
    return rows


def _packet(time_ps: np.ndarray, inner: Rows) -> np.ndarray:
    packet = Rows(len(time_ps))
    packet.number(TracePacket.TIMESTAMP_FIELD_NUMBER, time_ps // PS_PER_NS)
    packet.constant(TracePacket.TRUSTED_PACKET_SEQUENCE_ID_FIELD_NUMBER, SEQUENCE)
    flags = TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
    packet.constant(TracePacket.SEQUENCE_FLAGS_FIELD_NUMBER, flags)
    packet.message(TracePacket.TRACK_EVENT_FIELD_NUMBER, inner)
    rows = Rows(len(time_ps))
    rows.message(Trace.PACKET_FIELD_NUMBER, packet)
    return rows.matrix()


ANNOTATION = TrackEvent.DEBUG_ANNOTATIONS_FIELD_NUMBER
UINT = DebugAnnotation.UINT_VALUE_FIELD_NUMBER
FLOW_FIELDS = (0, TrackEvent.FLOW_IDS_FIELD_NUMBER, TrackEvent.TERMINATING_FLOW_IDS_FIELD_NUMBER)
