"""Requests that lose their KV and come back → a row a preemption, from when until when."""

from array import array

from npusim.serve_trace import NONE, PREEMPTION_COLUMNS
from npusim.serving.request import Request


class PreemptionLog:
    """Preemptions so far, as columns; those without an end are still away."""

    def __init__(self) -> None:
        self.columns = {name: array("q") for name in PREEMPTION_COLUMNS}
        self._away: dict[int, int] = {}  # row by request

    def begin(self, request: Request, instance: int, now_ps: int) -> None:
        self._away[request.request_id] = len(self.columns["request"])
        values = {"request": request.request_id, "instance": instance}
        for name, value in (values | {"start_ps": now_ps, "end_ps": NONE}).items():
            self.columns[name].append(value)

    def end(self, request: Request, now_ps: int) -> None:
        """It is admitted, again or for the first time."""
        row = self._away.pop(request.request_id, None)
        if row is not None:
            self.columns["end_ps"][row] = now_ps
