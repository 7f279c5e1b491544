"""The line of those that wait against sorting all of them."""

from collections import deque

import numpy as np

from npusim.serving.request import Request
from npusim.serving.schedulers.line import Line


def test_the_head_is_the_first_of_all_that_wait_at_any_time():
    rng = np.random.default_rng(3)
    waiting, taken, now = deque(), [], 0

    def due_ps(request):
        return request.arrival_ps + 50 + 9 * (request.request_id % 5)

    def latest_ps(request):
        return due_ps(request) - request.prompt_tokens

    def rank(request):
        late = latest_ps(request) < now
        time_ps = due_ps(request) if late else latest_ps(request)
        return request.priority, late, time_ps, request.arrival_ps, request.request_id

    line = Line(waiting, due_ps, latest_ps)
    for number in range(400):
        now += int(rng.integers(0, 5))
        waiting.append(Request(number, now, int(rng.integers(1, 40)), 1, priority=number % 3))
        if taken and rng.random() < 0.2:  # preempted: it comes back to the front
            waiting.appendleft(taken.pop())
        if rng.random() < 0.7:
            head = line.head(now, rank)
            assert head is min(waiting, key=rank)
            waiting.remove(head)
            line.pop(head)
            taken.append(head)
    while waiting:
        head = line.head(now, rank)
        assert head is min(waiting, key=rank)
        waiting.remove(head)
        line.pop(head)
    assert line.head(now, rank) is None
