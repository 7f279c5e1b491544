"""What an instance holds beside KV → its room for KV: bytes of scratchpads, blocks, tokens."""

from npusim.errors import CapacityError
from npusim.graph.params import kv_bytes_per_token
from npusim.passes.footprint import Footprint
from npusim.passes.share import Share
from npusim.serving.kv.blocks import KvSize
from npusim.spec.load import Setup
from npusim.spec.serving import Kv
from npusim.units import GIB

LEAST_SHARE = 0.01  # of the KV in memory, for scratchpad room that nobody asked for


def given_room(setup: Setup, kv: Kv, cores: tuple[int, ...]) -> int | None:
    """Bytes of every core's scratchpad that `kv.sram_fraction` gives to KV; None: not given."""
    if kv.sram_fraction is None:
        return None
    specs = setup.hardware.cores()
    return min(int(kv.sram_fraction * specs[core].scratchpad.capacity_bytes) for core in cores)


def spare_room(found: Footprint, share: Share) -> int:
    """Scratchpad room for KV on every core: what was asked for, else what nothing claims, unless
    that is too little to tell beside the memory's."""
    if share.kv_room_bytes is not None:
        return share.kv_room_bytes
    holders = [core for core in found.cores if core.kv_bits_per_token]
    room = min((core.unclaimed_bytes for core in holders), default=0)
    tokens = min((8 * room / core.kv_bits_per_token for core in holders), default=0)
    return 0 if tokens < LEAST_SHARE * found.memory_tokens() else max(0, room)


def kv_size(setup: Setup, kv: Kv, found: Footprint, share: Share, fraction: float) -> KvSize:
    """Blocks that the scratchpads of an instance, and its `fraction` of what is free in memories,
    hold; a ring in memory for layout sram_ring.

    Raises CapacityError when `kv.num_blocks` are asked for and do not fit.
    """
    room_bits = 8 * (share.kv_room_bytes or 0)
    bits = [core.kv_bits_per_token for core in found.cores if core.kv_bits_per_token]
    sram_tokens = int(room_bits / max(bits)) if bits else 0
    memory_tokens = int(found.memory_tokens() * kv.memory_fraction * fraction)
    if kv.layout == "sram_ring":
        block_bytes = setup.hardware.cores()[found.cores[0].core].scratchpad.block_bytes
        block_tokens = max(1, int(8 * block_bytes / max(bits)))
        num_blocks = sram_tokens // block_tokens
        _check_blocks(kv, num_blocks, block_tokens)
        num_blocks = kv.num_blocks or num_blocks
        return KvSize(num_blocks, num_blocks, block_tokens, memory_tokens)
    most = (sram_tokens + int(found.memory_tokens() * fraction)) // kv.block_tokens
    _check_blocks(kv, most, kv.block_tokens)
    num_blocks = kv.num_blocks or (sram_tokens + memory_tokens) // kv.block_tokens
    sram_blocks = min(sram_tokens // kv.block_tokens, num_blocks)
    swap_blocks = int(kv.swap_gib * GIB / (token_bytes(setup) * kv.block_tokens))
    return KvSize(num_blocks, sram_blocks, kv.block_tokens, swap_blocks=swap_blocks)


def token_bytes(setup: Setup) -> int:
    """KV of a token in all layers; 0 without a model."""
    model = setup.model
    return 0 if model is None else kv_bytes_per_token(model, setup.scenario.dtype.kv)


def _check_blocks(kv: Kv, most: int, block_tokens: int) -> None:
    if kv.num_blocks is not None and kv.num_blocks > most:
        raise CapacityError(
            f"serving.kv.num_blocks is {kv.num_blocks:,}, an instance has room for {most:,} blocks "
            f"of {block_tokens} tokens; lower it, or raise tp or pp"
        )


def check_room(index: int, size: KvSize) -> None:
    """Raises CapacityError when instance `index` has no room for any KV."""
    if size.num_tokens < 1:
        raise CapacityError(
            f"instance {index}: weights and buffers leave no room for KV; raise tp or pp, "
            "lower limits.max_tokens, or use fewer bits"
        )
