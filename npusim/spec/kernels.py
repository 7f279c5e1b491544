"""Kernels part of hardware YAML → `Kernels`: how a chip of the GPU kind runs its operators.

Such a chip runs one kernel after another on all of its cores (SMs), which share one memory and one
cache behind a crossbar; nothing stays in a core between kernels.
"""

from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from npusim.spec.base import Count, Name, NotNegative, Spec, at
from npusim.spec.memory import Memory

Fraction = Annotated[StrictFloat, Field(gt=0, le=1)]
TileSide = Annotated[StrictInt, Field(ge=1, le=4096)]


class Kernels(Spec):
    """One operator, or a fused run of them, is a kernel: its output tiles are dealt to the cores.

    * `memory`, `cache`: names of the memory that holds weights and KV, and of the shared cache.
    * `start_us`: from the end of one kernel to the first loads of the next. `attention_starts`: so
      many of them stand before fused attention, whose call prepares its work in kernels of its own.
      `attention_tile_us`: what a tile of it takes beside its work (first loads, output).
    * `compute_efficiency_fraction`, `attention_efficiency_fraction`: sustained part of the matrix
      rate within a tile of a product, and of fused attention (its softmax not counted).
      `narrow_efficiency_fraction`: that of products of 8 bits and fewer, where it differs.
    * `memory_efficiency_fraction`: what is left of the data rate beyond what timings lose.
    * `tiles`: [m, n] of the output tiles tried; the one with the least estimated time is
      taken. `max_split_k`: parts that a tile's k may be cut into, summed by a second kernel.
    * `mma`: [m, n, k] of one matrix instruction; a tile's sides are rounded up to it.
    * `chunk_kib`: operands of one step of a tile, more where a tile would take over eight steps;
      `stages` steps are on their way at once.
    * `query_block`: rows of q of an attention tile. `overlapped_softmax`: as FlashAttention-3
      (arXiv 2407.08608) does, softmax runs beside the matrix products of a tile and the longest
      tiles come first; else as in FlashAttention-2 (arXiv 2307.08691), after them and in order.
    * `reserved_gib`: memory that weights and KV cannot have (driver, buffers of the runtime).
    """

    memory: Name = "hbm"
    cache: Name = "l2"
    start_us: NotNegative = 0.0
    attention_starts: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    attention_tile_us: NotNegative = 0.0
    compute_efficiency_fraction: Fraction = 1.0
    narrow_efficiency_fraction: Fraction | None = None
    attention_efficiency_fraction: Fraction = 1.0
    memory_efficiency_fraction: Fraction = 1.0
    tiles: Annotated[tuple[tuple[TileSide, TileSide], ...], Field(min_length=1)] = ((128, 128),)
    max_split_k: Annotated[StrictInt, Field(ge=1, le=64)] = 1
    mma: tuple[TileSide, TileSide, TileSide] = (16, 8, 16)
    chunk_kib: Count = 64
    stages: Annotated[StrictInt, Field(ge=1, le=64)] = 3
    query_block: TileSide = 128
    overlapped_softmax: StrictBool = False
    reserved_gib: NotNegative = 0.0

    @model_validator(mode="after")
    def _memory_is_not_the_cache(self) -> Self:
        if self.memory == self.cache:
            raise at(("cache",), f"must differ from memory, not {self.cache!r}")
        return self

    def check(self, memories: tuple[Memory, ...], num_cores: int) -> None:
        """Raises the error of a chip whose `memories` lack one that all cores share, or room."""
        for key in ("memory", "cache"):
            name = getattr(self, key)
            found = next((memory for memory in memories if memory.name == name), None)
            if found is None:
                raise at(("kernels", key), f"must name one of the memories, not {name!r}")
            shared = found.attach == "edge" or found.cores_per_instance == num_cores
            if found.cores != "all" or not shared:
                raise at(("kernels", key), f"must name a memory that all cores share, not {name!r}")
            if key == "memory" and self.reserved_gib >= found.capacity_gib:
                text = f"must be below the {found.capacity_gib:g} GiB of {name}"
                raise at(("kernels", "reserved_gib"), f"{text}, not {self.reserved_gib:g}")
