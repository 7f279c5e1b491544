import numpy as np
import pytest

from npusim.trace import SPAN_DTYPE, SpanLog


def spans(first, count):
    rows = np.zeros(count, SPAN_DTYPE)
    rows["start_ps"] = np.arange(first, first + count)
    return rows


@pytest.mark.parametrize("memory_spans", [0, 4, 5, 100])
def test_spans_come_back_in_order_whether_spooled_or_not(memory_spans):
    log = SpanLog([spans(0, 3)], memory_spans=memory_spans)
    log.append(spans(3, 4))
    assert np.concatenate(list(log.chunks()))["start_ps"].tolist() == list(range(7))
    log.append(spans(7, 2))
    assert np.concatenate(list(log.chunks()))["start_ps"].tolist() == list(range(9))
    assert log.num_spans == 9


def test_an_empty_log_has_no_chunks_but_is_a_log():
    log = SpanLog()
    assert list(log.chunks()) == [] and log.num_spans == 0 and log


def test_rows_of_a_buffer_that_is_used_again_are_copied():
    buffer = np.array([[3, 1, 10, 20, 64], [4, 2, 30, 2**40, 128]])
    log = SpanLog()
    log.append(buffer)
    log.append(spans(0, 1))
    buffer[:] = 0
    first, second = log.chunks()
    assert first.dtype == SPAN_DTYPE and second.dtype == SPAN_DTYPE
    assert first.tolist() == [(3, 1, 10, 20, 64), (4, 2, 30, 2**40, 128)]
