"""KV of a request, from instance to instance or in and out of swap space → when it has arrived."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import simpy

from npusim.serve_trace import SWAP_IN, SWAP_OUT, TRANSFER, TRANSFER_COLUMNS
from npusim.serving.instance import Instance
from npusim.serving.log import add_row, new_log
from npusim.serving.request import Request

Duration = Callable[[Instance, Instance, int], int]  # source, destination, tokens → ps
Lane = tuple[str, int]
Lanes = Callable[[Instance, Instance], tuple[Lane, ...]]


@dataclass(frozen=True, slots=True)
class Handover:
    """KV of `tokens` tokens, `num_bytes` bytes, of a request whose prompt's last iteration began at
    `prompt_start_ps` and ended with its last token."""

    request: Request
    source: Instance
    destination: Instance
    tokens: int
    num_bytes: int
    prompt_start_ps: int


class MoveLog:
    """Moves so far, as columns."""

    def __init__(self) -> None:
        self.columns = new_log(TRANSFER_COLUMNS)

    def add_handover(self, handover: Handover, start_ps: int, end_ps: int) -> None:
        """KV that has gone, or goes, from one instance to another."""
        source, destination = handover.source, handover.destination
        self._add(
            handover.request, source, destination, start_ps, end_ps, handover.num_bytes, TRANSFER
        )

    def add_swap(
        self, request: Request, instance: Instance, start_ps: int, end_ps: int, num_bytes: int,
        out: bool,
    ) -> None:  # fmt: skip
        """KV that left for swap space, or came back."""
        kind = SWAP_OUT if out else SWAP_IN
        self._add(request, instance, instance, start_ps, end_ps, num_bytes, kind)

    def _add(
        self, request: Request, source: Instance, destination: Instance, start_ps: int,
        end_ps: int, num_bytes: int, kind: int,
    ) -> None:  # fmt: skip
        values = {
            "request": request.request_id, "source": source.index,
            "destination": destination.index, "start_ps": start_ps, "end_ps": end_ps,
            "bytes": num_bytes, "kind": kind,
        }  # fmt: skip
        add_row(self.columns, values)


class Moves(Protocol):
    """What moves KV between instances. With `plans_ahead` it wants to know where KV goes before the
    iteration that makes it begins."""

    plans_ahead: bool

    def plan(self, request: Request, source: Instance, destination: Instance) -> None:
        """`source` launches the iteration next that ends the request's prompt."""

    def start(self, handover: Handover) -> simpy.Event:
        """Begins the move; the event of its arrival."""


class TimedMoves:
    """Moves that take what `duration_ps` says, alone; of those that share one of `lanes` (what a
    move keeps busy from its source to its destination) one goes at a time.

    Layer by layer, the first layer's KV leaves when the iteration has come so far, and the last
    one's when it has ended; KV that had to wait for room leaves as a whole. Assumes that layers
    take equal time, and that neither moves nor iterations slow one another.
    """

    plans_ahead = False

    def __init__(
        self,
        env: simpy.Environment,
        log: MoveLog,
        duration_ps: Duration,
        lanes: Lanes,
        num_layers: int,
        layered: bool,
    ) -> None:
        self.env = env
        self.log = log
        self._duration_ps = duration_ps
        self._lanes = lanes
        self._num_layers = num_layers
        self._layered = layered
        self._free_ps: dict[Lane, int] = {}

    def plan(self, request: Request, source: Instance, destination: Instance) -> None:
        """Nothing: what a move takes is known when it starts."""

    def start(self, handover: Handover) -> simpy.Event:
        """As `Moves.start`."""
        now_ps, source = int(self.env.now), handover.source
        took_ps = self._duration_ps(source, handover.destination, handover.tokens)
        lanes = self._lanes(source, handover.destination)
        free_ps = max(self._free_ps.get(lane, 0) for lane in lanes)
        begin_ps = max(now_ps, free_ps)
        end_ps = begin_ps + took_ps
        if self._layered and handover.request.token_ps[-1] == now_ps:
            layer_ps = (now_ps - handover.prompt_start_ps) // self._num_layers
            begin_ps = max(handover.prompt_start_ps + layer_ps, free_ps)
            end_ps = max(begin_ps + took_ps, now_ps + took_ps // self._num_layers)
        self._free_ps.update(dict.fromkeys(lanes, end_ps))
        self.log.add_handover(handover, begin_ps, end_ps)
        return self.env.timeout(end_ps - now_ps)
