"""What a user wrote of an instance → Share: the part of a chip that its iterations may use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The part of a chip that one serving instance uses, the same in all its iterations.

    * `cores`: the mapping is placed within these; None: the whole chip.
    * `memory_base`: (memory id, first free byte): what other instances hold lies below.
    * `buffers_bytes`: scratchpad room for activations and streaming on every core, that of its
      largest iteration, so that the same weights stay resident in all of them. It is exceeded only
      where an iteration cannot do with less. 0: what this batch needs.
    * `kv_room_bytes`: scratchpad room for KV blocks on every core; None: what this batch needs.
    * `kv_resident_fraction`: how much of this batch's KV cache lies in that room, in whole blocks
      of every layer and at most the room; the rest is in memory.

    Assumes an even fraction of every request's cache, and that it is the front part.
    """

    cores: tuple[int, ...] | None = None
    memory_base: tuple[tuple[int, int], ...] = ()
    buffers_bytes: int = 0
    kv_room_bytes: int | None = None
    kv_resident_fraction: float = 1.0


WHOLE = Share()
