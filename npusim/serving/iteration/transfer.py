"""Two instances and tokens → how long the KV of a request takes from one to the other, alone."""

from npusim.errors import SpecError
from npusim.graph import batch as batches
from npusim.graph.transformer import build
from npusim.machine.system import run as run_machine
from npusim.passes.chip_links import message_ps
from npusim.passes.kv_flows import KvRow, kv_home, kv_rows
from npusim.passes.kv_transfer import lower_kv_transfer
from npusim.passes.move_engines import COMMON, MoveEngines
from npusim.passes.shared.chip import sustained
from npusim.program import Program
from npusim.serving.iteration.memo import LEAST_CONTEXT, Grid, edges
from npusim.serving.settle import Settled
from npusim.spec.hardware import Hardware
from npusim.spec.load import Setup
from npusim.spec.scenario import Fidelity
from npusim.units import ceil_div, ns_to_ps, transfer_ps

RATIO = 4.0  # between lengths that are simulated; bytes are proportional to tokens


class TransferTimes:
    """Times of moves by source, destination and tokens. On one chip the messages of
    `lower_kv_transfer` are simulated at a few lengths and interpolated; between chips the
    bytes of a rank cross its links.

    Assumes between chips that the links are the slower part of the way, that ranks which are
    chips themselves, those of the smaller side, move equal parts side by side, and that links of
    other chips do not matter.
    """

    def __init__(self, setup: Setup, fidelity: Fidelity | None = None) -> None:
        self._setup = setup
        self._fidelity = fidelity or setup.scenario.fidelity
        self._grids: dict[tuple[int, int, int], Grid] = {}  # by chip and first cores
        self._rows: tuple[KvRow, ...] = ()

    @property
    def rows(self) -> tuple[KvRow, ...]:
        """The cache rows of the model's layers."""
        if not self._rows:
            assert self._setup.model
            self._rows = kv_rows(build(self._setup.model, batches.prefill(1, 2), "auto"))
        return self._rows

    def ps(self, source: Settled, destination: Settled, tokens: int) -> int:
        """Ps of a move. Raises SpecError when nothing says how KV gets from chip to chip."""
        if not crosses_links(source, destination):
            key = (source.row.chip, source.row.cores[0], destination.row.cores[0])
            if key not in self._grids:
                self._grids[key] = self._grid(source, destination)
            return max(1, round(self._grids[key].at(tokens, 0)[0]))
        return self._between_chips(source, destination, tokens)

    def program(
        self,
        source: Settled,
        destination: Settled,
        tokens: int,
        hardware: Hardware | None = None,
        engines: MoveEngines = COMMON,
    ) -> Program:
        """The messages of a move on one chip (default: the scenario's)."""
        assert source.footprint and destination.footprint
        return lower_kv_transfer(
            self.rows, tokens, kv_home(source.footprint), kv_home(destination.footprint),
            hardware or self._setup.hardware, self._setup.scenario.dtype, engines,
        )  # fmt: skip

    def _grid(self, source: Settled, destination: Settled) -> Grid:
        def simulate(tokens: int, _: int) -> tuple[float, ...]:
            program = self.program(source, destination, tokens)
            trace = run_machine(
                program, sustained(self._setup.hardware),
                engine=self._setup.scenario.engine, fidelity=self._fidelity,
            )  # fmt: skip
            return (float(trace.makespan_ps),)

        most = max(LEAST_CONTEXT, min(source.kv_tokens, destination.kv_tokens))
        return Grid(simulate, edges(LEAST_CONTEXT, most, RATIO), [0], lambda _: 0.0)

    def _between_chips(self, source: Settled, destination: Settled, tokens: int) -> int:
        link, chips = self._setup.scenario.serving.kv_link, self._setup.hardware.chips
        apart = self._setup.hardware.kernels is not None  # each rank is a chip
        ranks = min(source.row.tp, destination.row.tp) if apart else 1
        num_bytes = ceil_div(tokens * source.row.kv_bytes_per_token, ranks)
        if link is not None:
            return ns_to_ps(1000 * link.latency_us) + transfer_ps(num_bytes, link.gb_s)
        if chips is None:
            raise SpecError(
                f"is missing; KV goes from chip {source.row.chip} to {destination.row.chip} and "
                f"{self._setup.hardware.name} has no chips",
                "serving.kv_link",
            )
        return message_ps(num_bytes, chips)


def crosses_links(source: Settled, destination: Settled) -> bool:
    """Whether two instances lie on different chips; those of chips that run kernels always do."""
    kernels = source.setup.hardware.kernels is not None
    return kernels or source.footprint is None or source.row.chip != destination.row.chip
