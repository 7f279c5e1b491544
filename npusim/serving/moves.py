"""KV of a request, from instance to instance or in and out of swap space → when it has arrived."""

from array import array
from collections.abc import Callable
from typing import Protocol

import simpy

from npusim.serve_trace import KIND_NAMES, TRANSFER_COLUMNS
from npusim.serving.instance import Instance
from npusim.serving.request import Request

TRANSFER, SWAP_OUT, SWAP_IN = range(len(KIND_NAMES))
Duration = Callable[[Instance, Instance, int], int]  # source, destination, tokens → ps


class MoveLog:
    """Moves so far, as columns."""

    def __init__(self) -> None:
        self.columns = {name: array("q") for name in TRANSFER_COLUMNS}

    def add(self, **values: int) -> None:
        for name, column in self.columns.items():
            column.append(values[name])

    def add_swap(
        self, request: Request, instance: Instance, start_ps: int, end_ps: int, num_bytes: int,
        out: bool,
    ) -> None:  # fmt: skip
        """KV that left for swap space, or came back."""
        self.add(
            request=request.request_id, source=instance.index, destination=instance.index,
            start_ps=start_ps, end_ps=end_ps, bytes=num_bytes, kind=SWAP_OUT if out else SWAP_IN,
        )  # fmt: skip


class Moves(Protocol):
    """What moves KV between instances."""

    def start(
        self,
        request: Request,
        source: Instance,
        destination: Instance,
        tokens: int,
        num_bytes: int,
        prompt_start_ps: int,
    ) -> simpy.Event:
        """Begins the move of `tokens` tokens, `num_bytes` bytes, whose last iteration began at
        `prompt_start_ps` and ended with the last token; the event of its arrival."""


class TimedMoves:
    """Moves that take what `duration` says, alone; an instance sends one at a time.

    Layer by layer, the first layer's KV leaves when the iteration has come so far, and the last
    one's when it has ended; KV that had to wait for room leaves as a whole. Assumes that layers
    take equal time, and that neither moves nor iterations slow one another.
    """

    def __init__(
        self,
        env: simpy.Environment,
        log: MoveLog,
        duration: Duration,
        num_layers: int,
        layered: bool,
    ) -> None:
        self.env = env
        self.log = log
        self._duration = duration
        self._num_layers = num_layers
        self._layered = layered
        self._free_ps: dict[int, int] = {}

    def start(
        self,
        request: Request,
        source: Instance,
        destination: Instance,
        tokens: int,
        num_bytes: int,
        prompt_start_ps: int,
    ) -> simpy.Event:
        """As `Moves.start`."""
        now = int(self.env.now)
        took = self._duration(source, destination, tokens)
        free = self._free_ps.get(source.index, 0)
        begin, end = max(now, free), max(now, free) + took
        if self._layered and request.token_ps[-1] == now:
            first = (now - prompt_start_ps) // self._num_layers
            begin = max(prompt_start_ps + first, free)
            end = max(begin + took, now + took // self._num_layers)
        self._free_ps[source.index] = end
        self.log.add(
            request=request.request_id, source=source.index, destination=destination.index,
            start_ps=begin, end_ps=end, bytes=num_bytes, kind=TRANSFER,
        )  # fmt: skip
        return self.env.timeout(end - now)
