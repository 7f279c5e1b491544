"""The log of preemptions: from when until when a request was away."""

from npusim.serving.preemptions import PreemptionLog
from npusim.serving.request import Request


def test_a_row_from_each_preemption_to_the_next_admission():
    log = PreemptionLog()
    first, second = Request(0, 0, 5, 5), Request(1, 0, 5, 5)
    log.end(first, 1)  # admitted for the first time
    log.begin(first, 3, 10)
    log.begin(second, 3, 12)
    log.end(first, 20)
    log.end(first, 30)  # admitted where its KV has gone: it was not away
    log.begin(first, 4, 40)
    found = {name: column.tolist() for name, column in log.columns.items()}
    assert found == {
        "request": [0, 1, 0],
        "instance": [3, 3, 4],
        "start_ps": [10, 12, 40],
        "end_ps": [20, -1, -1],
    }
