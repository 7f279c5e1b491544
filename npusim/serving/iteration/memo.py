"""Simulated iterations, kept by the batch's signature → the time of any batch, interpolated.

A batch of prompts is told by its tokens and how much context a token attends to on average, a
batch of decodes by their number and mean context. Both make a table whose edges differ by the
ratios of `Buckets`; what stands at a corner is simulated when it is first needed, as a batch of
equal requests, and times in between are interpolated linearly in both directions, which is exact
where time is a constant plus so much a token plus so much a token and token of context.

Assumes that prompts and decodes in one batch add up: all tokens pass the linear layers together,
and the decodes' attention takes what it takes in a batch of decodes alone. And that a batch which
puts out no token (chunks that do not end their prompts) saves the same time whatever its size.

How far single iterations are from the same batches simulated whole (60 batches of serving runs with
chunked_prefill, prefill_first and budgeted_fusion; Qwen3-4B and 1.7B on npu_large_core at tp 16, 32
and 64, tp 32 with pp 2 and tp 1 with pp 7): decodes 1.5 % at most, also of contexts from 10 to
4,000 beside one another; prompts 1 % on average and 3.5 % at most; both together 1.1 % and 2 %,
from the assumption above. Edges closer together (ratios 1.41, 2, 1.41) halve the error of prompts,
not of both together, for 1.4 times the simulations; twice as far (4, 16, 4) they save a third, and
chunks are up to 17 % off. A `tolerance` of 0.01 instead of 0.05 changes 1 % at most. Of whole runs:
`npusim validate serving`, families "memo against live".
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from npusim.graph import batch as batches
from npusim.graph.batch import Batch, Slice
from npusim.serving.iteration.curves import around
from npusim.serving.request import Work
from npusim.spec.serving import Buckets

Times = tuple[float, ...]  # ps of each pipeline stage
LEAST_CONTEXT = 64  # below, attention is too little to tell
LEAST_TOKENS = 16
FAR = 2  # times the last column that fits


@dataclass
class Grid:
    """Times over (tokens or decodes, context) from a simulation at corners. `most_context(row)`:
    the largest context that fits the machine there; above, the last two columns are prolonged. It
    is a column itself where it is far from the last one that fits, or that one is alone."""

    simulate: Callable[[int, int], Times]
    rows: Sequence[int]
    columns: Sequence[int]
    most_context: Callable[[int], float]
    known: dict[tuple[int, int], Times] = field(default_factory=dict)
    _fitting: dict[int, list[int]] = field(default_factory=dict, init=False, repr=False)

    def at(self, row: float, column: float) -> Times:
        """Time at any place inside the rows; columns are prolonged."""
        index, share = around(self.rows, row)
        first = self._in_row(self.rows[index], column)
        if not share:
            return first
        return _mix(first, self._in_row(self.rows[index + 1], column), share)

    def _in_row(self, row: int, column: float) -> Times:
        columns = self._columns_of(row)
        index, share = around(columns, column)
        first = self._corner(row, columns[index])
        return first if not share else _mix(first, self._corner(row, columns[index + 1]), share)

    def _columns_of(self, row: int) -> Sequence[int]:
        if row not in self._fitting:
            most = self.most_context(row)
            fitting = list(self.columns[: max(1, bisect_right(self.columns, most))])
            beyond = most > fitting[-1] and len(fitting) < len(self.columns)
            if beyond and (len(fitting) == 1 or most >= FAR * fitting[-1]):
                fitting.append(int(most))
            self._fitting[row] = fitting
        return self._fitting[row]

    def _corner(self, row: int, column: int) -> Times:
        if (row, column) not in self.known:
            self.known[row, column] = self.simulate(row, column)
        return self.known[row, column]


def _mix(first: Times, second: Times, share: float) -> Times:
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))


def _plus(first: Times, second: Times) -> Times:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _minus(first: Times, second: Times) -> Times:
    return tuple(a - b for a, b in zip(first, second, strict=True))


def edges(first: int, last: int, ratio: float) -> list[int]:
    """`first`, then each `ratio` times the one before, up to `last`, which is one of them."""
    found = [first]
    while found[-1] < last:
        found.append(min(last, max(found[-1] + 1, round(found[-1] * ratio))))
    return found


class Memo:
    """Times of iterations of one instance. `simulate(batch, resident_level)` gives the ps of every
    stage; `max_tokens`, `max_requests` and `kv_tokens` bound what can be asked for, and
    `kv_tokens_at(level)` what fits with KV at that level."""

    def __init__(
        self,
        simulate: Callable[[Batch, int], Times],
        buckets: Buckets,
        max_tokens: int,
        max_requests: int,
        kv_tokens: int,
        kv_tokens_at: Callable[[int], float] | None = None,
    ) -> None:
        self._simulate = simulate
        self._token_rows = edges(LEAST_TOKENS, max(LEAST_TOKENS, max_tokens), buckets.tokens_ratio)
        self._decode_rows = edges(1, max_requests, buckets.decodes_ratio)
        self._columns = edges(LEAST_CONTEXT, max(kv_tokens, 4 * LEAST_CONTEXT),
                              buckets.context_ratio)  # fmt: skip
        self._kv_tokens_at = kv_tokens_at or (lambda level: kv_tokens)
        self._grids: dict[tuple[str, int], Grid] = {}
        self._unsampled: dict[int, Times] = {}  # by level, what is saved when nothing samples

    @property
    def num_simulated(self) -> int:
        corners = sum(len(grid.known) for grid in self._grids.values())
        return corners + len(self._unsampled)

    def stage_ps(self, works: Sequence[Work], level: int = 0) -> tuple[int, ...]:
        """Ps of each pipeline stage for a batch whose KV lies at `level` in the scratchpads."""
        tokens = pairs = decodes = context = 0
        samples = False
        for work in works:
            samples = samples or work.samples
            if work.decodes:
                decodes += 1
                context += work.context_tokens
            else:
                tokens += work.new_tokens
                pairs += work.new_tokens * (2 * work.context_tokens + work.new_tokens)
        if not tokens:
            times = self._grid("decodes", level).at(decodes, context / decodes)
        else:
            rows = tokens + decodes
            times = self._grid("prompts", level).at(rows, pairs / 2 / rows)
        if tokens and decodes:
            grid = self._grid("decodes", level)
            alone, nothing = grid.at(decodes, context / decodes), grid.at(decodes, 0)
            times = _plus(times, _minus(alone, nothing))
        if not samples:
            times = _plus(times, self._without_sampling(level))
        return tuple(max(1, round(ps)) for ps in times)

    def _grid(self, kind: str, level: int) -> Grid:
        if (kind, level) not in self._grids:
            room = self._kv_tokens_at(level)
            batch_of, decodes = BATCHES[kind], kind == "decodes"
            rows = self._decode_rows if decodes else self._token_rows
            self._grids[kind, level] = Grid(
                lambda row, column: self._simulate(batch_of(row, column), level),
                rows, self._columns, lambda row: room / row if decodes else room - row / 2,
            )  # fmt: skip
        return self._grids[kind, level]

    def _without_sampling(self, level: int) -> Times:
        """What an iteration takes less when it puts out no token, at the first corner."""
        if level not in self._unsampled:
            row, column = self._token_rows[-1], self._columns[0]
            sampled = self._grid("prompts", level).at(row, column)
            batch = prompts_of(row, column, samples=False)
            self._unsampled[level] = _minus(self._simulate(batch, level), sampled)
        return self._unsampled[level]


def prompts_of(tokens: int, attended: int, samples: bool = True) -> Batch:
    """Prompts of `tokens` tokens together that attend to `attended` tokens each on average: equal
    fresh prompts, or one chunk behind a context when a single prompt attends to less."""
    if 2 * attended >= tokens:
        return (Slice(tokens, attended - tokens // 2, samples),)
    count = max(1, round(tokens / (2 * attended)))
    lengths = [tokens // count + (i < tokens % count) for i in range(count)]
    return tuple(Slice(length, 0, samples) for length in lengths)


BATCHES: dict[str, Callable[[int, int], Batch]] = {"decodes": batches.decode, "prompts": prompts_of}
