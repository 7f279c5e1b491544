import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent

from npusim.report.protobuf import Rows, varint


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=5))
def test_padded_rows_decode_to_their_numbers(values):
    rows = Rows(len(values))
    column = np.array(values, np.int64)
    rows.constant(TrackEvent.TYPE_FIELD_NUMBER, TrackEvent.TYPE_SLICE_BEGIN)
    rows.number(TrackEvent.TRACK_UUID_FIELD_NUMBER, column)
    rows.fixed64(TrackEvent.FLOW_IDS_FIELD_NUMBER, column)
    for row, value in zip(rows.matrix(), values, strict=True):
        event = TrackEvent.FromString(row.tobytes())
        assert (event.type, event.track_uuid, list(event.flow_ids)) == (1, value, [value])


@given(st.integers(0, 2**63 - 1))
def test_a_varint_is_what_the_library_writes(value):
    assert b"\x58" + varint(value) == TrackEvent(track_uuid=value).SerializeToString() or value == 0
