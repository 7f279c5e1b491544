"""Hardware and a Schedule → an α-β estimate of a collective, to choose an algorithm by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npusim.cost.paths import Grid, hops, max_link_load
from npusim.passes.collective.schedule import Schedule, Step
from npusim.spec.hardware import Hardware
from npusim.units import ceil_div


@dataclass(frozen=True)
class Fabric:
    """What a collective needs to know of a chip. By core id: elements the vector unit reduces a
    cycle, cycles to start a task, scratchpad bytes a cycle, NoC cycles a core cycle. NoC in its
    own cycles."""

    grid: Grid
    elements_per_cycle: tuple[int, ...]
    start_cycles: tuple[int, ...]
    scratchpad_bytes_per_cycle: tuple[int, ...]
    noc_cycles_per_cycle: tuple[float, ...]
    link_bytes_per_cycle: int
    hop_cycles: int
    message_cycles: int  # before the first byte moves
    handshake: bool
    one_way: bool  # an acknowledge locks what a core would send its own data through

    @property
    def columns(self) -> int:
        return self.grid.columns


def fabric_of(hardware: Hardware) -> Fabric:
    """What a chip's cores and NoC mean for a collective; cycles are the NoC's."""
    noc, cores = hardware.noc, hardware.cores()
    return Fabric(
        grid=Grid(*hardware.grid),
        elements_per_cycle=tuple(c.vector.lanes * c.vector.alus_per_lane for c in cores),
        start_cycles=tuple(c.task_start_cycles for c in cores),
        scratchpad_bytes_per_cycle=tuple(c.scratchpad.bytes_per_cycle for c in cores),
        noc_cycles_per_cycle=tuple(noc.khz / c.khz for c in cores),
        link_bytes_per_cycle=noc.link_bytes_per_cycle,
        hop_cycles=noc.router_cycles + noc.link_cycles,
        # The links in and out of the mesh; Assumes 4 cycles at the two scratchpad ports.
        message_cycles=2 * noc.link_cycles + noc.router_cycles + 4,
        handshake=noc.protocol == "handshake",
        one_way=noc.lock_scope == "both",
    )


def rectangle(cores: Sequence[int], columns: int) -> tuple[tuple[int, ...], ...]:
    """Ranks by row and column when `cores` are the whole product of two or more mesh rows and
    columns, else ()."""
    rank_at = {divmod(core, columns): rank for rank, core in enumerate(cores)}
    rows, cols = (sorted({place[axis] for place in rank_at}) for axis in (0, 1))
    if min(len(rows), len(cols)) < 2 or len(rows) * len(cols) != len(cores):
        return ()
    return tuple(tuple(rank_at[row, column] for column in cols) for row in rows)


def estimate(schedule: Schedule, cores: np.ndarray, fabric: Fabric, element_bytes: int) -> float:
    """α-β cost in NoC cycles: each step takes its start, its longest path, its largest message
    times the messages on the busiest link, and the reduction.

    Assumes that steps follow one another and that the slowest core reduces.
    """
    paths: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    num_phases = 2 if schedule.phased or fabric.one_way else 1
    total = 0.0
    for step in schedule.steps:
        key = (step.src.tobytes(), step.dst.tobytes())
        if key not in paths:
            src, dst = cores[step.src], cores[step.dst]
            longest = int(hops(src, dst, fabric.grid).max())
            paths[key] = longest, max_link_load(src, dst, fabric.grid)
        total += num_phases * _message_cycles(step, *paths[key], fabric, element_bytes)
        total += _reduce_cycles(step, element_bytes, fabric)
    return total


def _message_cycles(step: Step, longest: int, load: int, fabric: Fabric, element_bytes: int) -> int:
    num_bytes = int((step.last - step.first).max()) * element_bytes
    path = fabric.message_cycles + longest * fabric.hop_cycles
    # A handshake crosses the path twice before the data does.
    return path * (3 if fabric.handshake else 1) + ceil_div(
        num_bytes * load, fabric.link_bytes_per_cycle
    )


def _reduce_cycles(step: Step, element_bytes: int, fabric: Fabric) -> float:
    """What the vector unit takes, or the scratchpad to read two chunks and write one."""
    if not step.reduces:
        return 0.0
    elements = int((step.last - step.first).max())
    vector = ceil_div(elements, min(fabric.elements_per_cycle)) + max(fabric.start_cycles)
    moved_bytes = 3 * elements * element_bytes
    port = ceil_div(moved_bytes, min(fabric.scratchpad_bytes_per_cycle))
    return max(vector, port) * max(fabric.noc_cycles_per_cycle)
