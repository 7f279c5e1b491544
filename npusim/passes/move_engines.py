"""A chip that several instances share → the same chip with DMA engines for KV alone.

What an iteration and a move share is the memory, the NoC and the scratchpad's port, not a queue of
a DMA engine, where one that waits for its data would hold up the other.
"""

from dataclasses import dataclass

from npusim.spec.core import Dma
from npusim.spec.hardware import Hardware

MOST_ENGINES = 32  # of a core, see spec.core.Dma


@dataclass(frozen=True)
class MoveEngines:
    """DMA engines that moves use: one sends, one loads, one stores; the last the core has where it
    has fewer."""

    send: int = 0
    load: int = 1
    store: int = 2


COMMON = MoveEngines()


def with_move_engines(hardware: Hardware, num_sources: int) -> Hardware:
    """`hardware` whose cores have an engine more that sends, and one for each of `num_sources`
    instances that loads and stores what it moves; as it is where a core has no room for them.

    Assumes that such queues cost nothing and are as quick as the core's own.
    """
    own, added = _engines(hardware), _added(hardware, num_sources)
    if not added:
        return hardware
    groups = []
    for group in hardware.core_groups:
        dma = Dma.model_validate({**group.core.dma.model_dump(), "engines": own + 1 + added})
        groups.append(group.model_copy(update={"core": group.core.model_copy(update={"dma": dma})}))
    return hardware.model_copy(update={"core_groups": tuple(groups)})


def engines_of(hardware: Hardware, source: int, num_sources: int) -> MoveEngines:
    """Those of the moves of source number `source`; `hardware` is the chip without them."""
    own, added = _engines(hardware), _added(hardware, num_sources)
    if not added:
        return COMMON
    memory = own + 1 + source % added
    return MoveEngines(send=own, load=memory, store=memory)


def _engines(hardware: Hardware) -> int:
    return max(group.core.dma.engines for group in hardware.core_groups)


def _added(hardware: Hardware, num_sources: int) -> int:
    """Engines for loads and stores that there is room for."""
    return max(0, min(num_sources, MOST_ENGINES - _engines(hardware) - 1))
