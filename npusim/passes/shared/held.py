"""An iteration on chips with kernels → Held: what one chip of `tp` x `pp` holds beside KV cache."""

from dataclasses import dataclass
from fractions import Fraction

import networkx as nx

from npusim.errors import CapacityError
from npusim.passes.kv_cache import cache_shape
from npusim.passes.shared.chip import Chip, chip_of
from npusim.passes.shared.layout import by_layer, live_bytes, place_weights
from npusim.passes.shared.lower import Work, check_mapping
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import Dtypes, Parallel
from npusim.units import ceil_div, format_bytes


@dataclass(frozen=True)
class Held:
    """Bytes of one chip: `room_bytes` in all (what the software reserves is not among them),
    weights and activations; the KV cache of one token in the layers that it has."""

    memory_id: int
    room_bytes: int
    weight_bytes: int
    activation_bytes: int
    kv_bits_per_token: Fraction


def held_by_chip(graph: nx.DiGraph, hardware: Hardware, parallel: Parallel, dtypes: Dtypes) -> Held:
    """Assumes that the stages of a pipeline hold equal shares.

    Raises SpecError for a mapping that such a chip does not have, CapacityError when weights and
    activations exceed its memory.
    """
    check_mapping(hardware, parallel)
    chip = chip_of(hardware, dtypes)
    work = Work(graph, parallel)
    _, weight_bytes = place_weights(work.ops, chip)
    live = live_bytes(work.groups, chip)
    held = Held(
        chip.hbm_id,
        chip.room_bytes,
        ceil_div(weight_bytes, parallel.pp),
        live,
        Fraction(_row_elements(work) * chip.kv_bits, parallel.pp),
    )
    _check(held, chip)
    return held


def _row_elements(work: Work) -> int:
    """Elements that a token adds to the caches of all layers."""
    shapes = [cache_shape(ops) for ops in by_layer(work.ops).values()]
    return sum(shape.row_elements for shape in shapes if shape)


def _check(held: Held, chip: Chip) -> None:
    if held.weight_bytes + held.activation_bytes > held.room_bytes:
        raise CapacityError(
            f"weights need {format_bytes(held.weight_bytes)} and activations "
            f"{format_bytes(held.activation_bytes)} a chip, {chip.hbm.memory.name} has "
            f"{format_bytes(held.room_bytes)}; raise tp or pp"
        )
