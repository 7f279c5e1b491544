"""Requests that wait, in no order of urgency → the most urgent of them, in logarithmic time."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from npusim.serving.request import Request

Entry = tuple[float, int, int, Request]


class Line:
    """A view of `waiting`, which others only add to, at its ends, and of which only what `pop` is
    told of is taken. By class, those that can be in time stand in order of `latest_ps`, the latest
    time at which they must begin; late ones in order of `due_ps`.

    Assumes that `latest_ps` as known when they came orders those that are in time; whether the
    first of them still is in time is asked anew.
    """

    def __init__(
        self,
        waiting: deque[Request],
        due_ps: Callable[[Request], float],
        latest_ps: Callable[[Request], float],
    ) -> None:
        self._waiting = waiting
        self._due_ps = due_ps
        self._latest_ps = latest_ps
        self._known: set[int] = set()
        self._timely: dict[int, list[Entry]] = {}
        self._late: dict[int, list[Entry]] = {}

    def head(self, now_ps: int, rank: Callable[[Request], Any]) -> Request | None:
        """The request that comes first by `rank`; of equals of a class and lateness only the first
        is asked for its rank."""
        self._join()
        heads = []
        for priority, timely in self._timely.items():
            late = self._late[priority]
            while timely and self._latest_ps(timely[0][3]) < now_ps:
                request = heappop(timely)[3]
                heappush(late, entry(self._due_ps(request), request))
            heads += [heap[0][3] for heap in (timely, late) if heap]
        return min(heads, key=rank, default=None)

    def pop(self, request: Request) -> None:
        """`request`, a head, waits no longer."""
        self._known.remove(request.request_id)
        for heaps in (self._timely, self._late):
            heap = heaps[request.priority]
            if heap and heap[0][3] is request:
                heappop(heap)
                return
        raise AssertionError(f"request {request.request_id} is no head")

    def _join(self) -> None:
        """Takes in what was added to either end of those that wait."""
        for ordered in (self._waiting, reversed(self._waiting)):
            for request in ordered:
                if request.request_id in self._known:
                    break
                self._known.add(request.request_id)
                self._late.setdefault(request.priority, [])
                heap = self._timely.setdefault(request.priority, [])
                heappush(heap, entry(self._latest_ps(request), request))


def entry(time_ps: float, request: Request) -> Entry:
    """Sorts by time, then arrival, then number."""
    return time_ps, request.arrival_ps, request.request_id, request
