"""Requests that lose their KV and come back → a row a preemption, from when until when."""

from npusim.serve_trace import NONE, PREEMPTION_COLUMNS
from npusim.serving.log import add_row, new_log
from npusim.serving.request import Request


class PreemptionLog:
    """Preemptions so far, as columns; those without an end are still away."""

    def __init__(self) -> None:
        self.columns = new_log(PREEMPTION_COLUMNS)
        self._away: dict[int, int] = {}  # row by request

    def begin(self, request: Request, instance: int, now_ps: int) -> None:
        """The KV of a running request is taken."""
        values = {
            "request": request.request_id, "instance": instance,
            "start_ps": now_ps, "end_ps": NONE,
        }  # fmt: skip
        self._away[request.request_id] = add_row(self.columns, values)

    def end(self, request: Request, now_ps: int) -> None:
        """It is admitted, again or for the first time."""
        row = self._away.pop(request.request_id, None)
        if row is not None:
            self.columns["end_ps"][row] = now_ps
