"""A resolved scenario with traffic → a ServeRun: settles the instances, serves, collects."""

import time
from array import array
from collections.abc import Callable, Sequence

import numpy as np
import simpy
from simpy.core import EmptySchedule

from npusim.errors import StarvationError, pick
from npusim.serve_trace import (
    ITERATION_COLUMNS,
    PREEMPTION_COLUMNS,
    REQUEST_COLUMNS,
    TRANSFER_COLUMNS,
    ServeRun,
)
from npusim.serving.backend import Backend, backend_of
from npusim.serving.cluster import FOREVER, Cluster
from npusim.serving.instance import Instance
from npusim.serving.interrupt import Interrupt
from npusim.serving.iteration.times import Timings
from npusim.serving.kv.cache import KV_CACHES
from npusim.serving.log import Log, new_log
from npusim.serving.moves import MoveLog
from npusim.serving.notes import notes
from npusim.serving.preemptions import PreemptionLog
from npusim.serving.request import NEVER, Request
from npusim.serving.routing import ROUTERS
from npusim.serving.schedulers import SCHEDULERS
from npusim.serving.schedulers.queues import Queues
from npusim.serving.settle import Settled, settle
from npusim.serving.traffic.generate import requests_of
from npusim.spec.load import Setup

Progress = Callable[[str, int, int], None]


def serve(
    setup: Setup, *, progress: Progress | None = None, timings: Timings | None = None
) -> ServeRun:
    """Serves all requests of the scenario's traffic. `timings` of an earlier run of the same
    instances saves the iterations that it has simulated.

    On Ctrl-C the run so far is given back, marked partial. Raises SpecError, CapacityError,
    DeadlockError, StarvationError.
    """
    traffic = setup.scenario.traffic
    assert traffic is not None
    start_s = time.process_time()
    requests = requests_of(traffic, setup.scenario.seed)
    server = Server(setup, settle(setup), requests, progress, timings)
    settled_s = time.process_time()
    partial = server.run()
    cpu_s = {"set-up": settled_s - start_s, "serving": time.process_time() - settled_s}
    return server.collect(partial, cpu_s)


class Server:
    """The instances of a scenario in one simulated time."""

    def __init__(
        self,
        setup: Setup,
        settled: Sequence[Settled],
        requests: Sequence[Request],
        progress: Progress | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.setup = setup
        self.settled = settled
        self.requests = requests
        self.env = simpy.Environment()
        self.interrupt = Interrupt()
        self.log = new_log(ITERATION_COLUMNS)
        self.moves = MoveLog()
        self.preemptions = PreemptionLog()
        self.timings = timings or Timings(setup)
        self.progress = progress or (lambda *_: None)
        self.backend = backend = backend_of(self.env, setup, self.timings, self.interrupt, settled)
        instances = [self._instance(i, one, backend) for i, one in enumerate(settled)]
        serving = setup.scenario.serving
        self.cluster = Cluster(
            self.env, instances, pick(ROUTERS, serving.routing, "serving.routing"),
            backend.moves(self.moves), serving.too_long == "reject",
            setup.model.max_positions if setup.model else FOREVER,
        )  # fmt: skip
        for instance in instances:
            instance.on_swap = self.moves.add_swap

    def run(self) -> str:
        """Serves to the end; why it ended early, or an empty text."""
        self.cluster.serve(self.requests)
        try:
            with self.interrupt:
                self._steps()
        except KeyboardInterrupt:
            return "interrupted"
        except EmptySchedule:
            self._check_all_are_served()
            return ""
        return "interrupted"

    def _steps(self) -> None:
        """Event after event. Raises EmptySchedule when there is none left."""
        total, shown = len(self.requests), -1
        while not self.interrupt.asked:
            if self.cluster.num_open != shown:
                shown = self.cluster.num_open
                self.progress("requests", total - shown, total)
            self.env.step()

    def _check_all_are_served(self) -> None:
        """Raises StarvationError when requests are left though nothing is to come."""
        if not self.cluster.num_open:
            return
        for instance in self.cluster.instances:
            instance.watch.at_end()
        raise StarvationError(
            f"{self.cluster.num_open} requests wait for ever for room at a decode instance; raise "
            "its serving.kv room or limits.max_requests"
        )

    def _instance(self, index: int, settled: Settled, backend: Backend) -> Instance:
        cache = KV_CACHES[settled.kv.layout](settled.size, settled.kv)
        queues, away = Queues(cache, settled.kv), self.preemptions
        queues.on_preempt = lambda request: away.begin(request, index, int(self.env.now))
        queues.on_admit = lambda request: away.end(request, int(self.env.now))
        policy = pick(SCHEDULERS, settled.row.scheduler, "serving.scheduler")
        slo = self.setup.scenario.serving.slo
        scheduler = policy(queues, settled.limits, slo, settled.row.pp)
        execution = backend.execution(index, settled, cache)
        return Instance(self.env, index, settled, queues, scheduler, execution, self.log)

    def _refusals(self) -> list[str]:
        """Why requests were rejected, by the first of them."""
        first = self.cluster.first_refusal
        return [f"rejected: {first}"] if first else []

    def collect(self, partial: str, cpu_s: dict[str, float]) -> ServeRun:
        """What became of all requests so far."""
        facts = self.backend.facts()
        tokens = array("q")
        start = [0]
        for request in self.requests:
            tokens.extend(request.token_ps)
            start.append(len(tokens))
        return ServeRun(
            requests=request_columns(self.requests),
            token_ps=np.array(tokens, np.int64),
            token_start=np.array(start, np.int64),
            iterations=_by_start(self.log, ITERATION_COLUMNS),
            transfers=_by_start(self.moves.columns, TRANSFER_COLUMNS),
            instances=[one.row for one in self.settled],
            iteration_kind=self.timings.kind,
            iteration_facts=facts,
            notes=[*self._refusals(), *notes(self.settled, self.timings.kind, facts)],
            partial=partial,
            cpu_s=cpu_s,
            preemptions=_by_start(self.preemptions.columns, PREEMPTION_COLUMNS),
        )


def request_columns(requests: Sequence[Request]) -> dict[str, np.ndarray]:
    """REQUEST_COLUMNS of the requests."""
    rows = [
        (
            r.request_id, r.arrival_ps, r.scheduled_ps,
            r.token_ps[0] if r.token_ps else NEVER, r.finish_ps, r.prompt_tokens,
            r.output_tokens, r.generated_tokens, r.cached_tokens, r.num_preemptions, r.priority,
            r.instance, r.decode_instance, r.status,
        )
        for r in requests
    ]  # fmt: skip
    table = np.array(rows, np.int64).reshape(-1, len(REQUEST_COLUMNS))
    return {name: table[:, i].copy() for i, name in enumerate(REQUEST_COLUMNS)}


def _by_start(log: Log, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Columns as arrays, rows in order of `start_ps`."""
    columns = {name: np.array(log[name], np.int64) for name in names}
    order = np.argsort(columns["start_ps"], kind="stable")
    return {name: column[order] for name, column in columns.items()}
