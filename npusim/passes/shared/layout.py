"""Ops of one chip → where weights, KV cache and activations lie in its memory and its cache."""

from collections.abc import Sequence
from dataclasses import dataclass

from npusim.errors import CapacityError
from npusim.graph.ir import Op
from npusim.passes.kv_cache import cache_shape
from npusim.passes.shared.chip import Chip
from npusim.passes.shared.fuse import Group
from npusim.units import ceil_div, format_bytes

LIVE_TENSORS = 4  # residual stream, input and output of a kernel, and what it hands to the next


@dataclass(frozen=True)
class Layout:
    """First bytes: of weights by op, of the KV cache by layer, of activations in memory."""

    weights: dict[str, int]
    kv: dict[int, int]
    activations: int
    weight_bytes: int
    kv_bytes: int


def layout_of(
    ops: Sequence[Op], groups: Sequence[Group], chip: Chip, pipeline: int, hint: str
) -> Layout:
    """Places for everything, weights first, each tensor from a new stripe on.

    Assumes that the stages of a `pipeline` hold equal shares. Raises CapacityError with `hint`
    when it exceeds the memory.
    """
    stripe, kv = chip.hbm.memory.interleave_bytes, {}
    weights, weight_bytes = place_weights(ops, chip)
    address = weight_bytes
    for layer, own in by_layer(ops).items():
        shape = cache_shape(own)
        if shape is not None:
            kv[layer] = address
            address += _stripes(shape.rows * shape.row_elements * chip.kv_bits, stripe)
    kv_bytes = address - weight_bytes
    found = Layout(weights, kv, address, weight_bytes, kv_bytes)
    _check(found, live_bytes(groups, chip), chip, pipeline, hint)
    for op in ops:
        if op.tied_to:
            weights[op.name] = weights.get(op.tied_to, 0)
    return found


def place_weights(ops: Sequence[Op], chip: Chip) -> tuple[dict[str, int], int]:
    """First byte of each op's weights, a tied one's left out, and the bytes of all."""
    weights, address = {}, 0
    for op in ops:
        if op.weight_elements and not op.tied_to:
            weights[op.name] = address
            bits = op.weight_elements * chip.weight_bits
            address += _stripes(bits, chip.hbm.memory.interleave_bytes)
    return weights, address


def live_bytes(groups: Sequence[Group], chip: Chip) -> int:
    """Room for activations in memory."""
    tensors = [size for group in groups for size in (*group.reads, *group.writes)]
    return LIVE_TENSORS * max(tensors, default=0) * chip.activation_bits // 8


def _stripes(bits: int, stripe: int) -> int:
    return ceil_div(ceil_div(bits, 8), stripe) * stripe


def by_layer(ops: Sequence[Op]) -> dict[int, list[Op]]:
    found: dict[int, list[Op]] = {}
    for op in ops:
        found.setdefault(op.layer, []).append(op)
    return found


def _check(layout: Layout, live: int, chip: Chip, pipeline: int, hint: str) -> None:
    held = ceil_div(layout.weight_bytes + layout.kv_bytes, pipeline)
    if held + live > chip.room_bytes:
        raise CapacityError(
            f"weights need {format_bytes(ceil_div(layout.weight_bytes, pipeline))}, KV "
            f"{format_bytes(ceil_div(layout.kv_bytes, pipeline))} and activations "
            f"{format_bytes(live)} a chip, {chip.hbm.memory.name} has "
            f"{format_bytes(chip.room_bytes)}; {hint}"
        )
