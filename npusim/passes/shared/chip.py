"""Hardware and data types → the numbers that kernels are cut and costed by."""

from dataclasses import dataclass

from npusim.cost.tensor_core import mma_cycles
from npusim.errors import SpecError
from npusim.spec.hardware import Hardware, MemoryInstance
from npusim.spec.kernels import Kernels
from npusim.spec.scenario import DTYPE_BITS, Dtypes
from npusim.units import GIB, KIB, PS_PER_US, ceil_div, ps_to_cycles


@dataclass(frozen=True)
class Chip:
    """A chip of equal cores. Rates are a core's, by cycle of `khz`: `macs` and `kv_macs` the
    multiply-adds of products with weights and with the KV cache, `vector_rate` and `sfu_rate`
    operations, `port_bytes` what it loads. `hbm` and `cache` are all cores' together."""

    kernels: Kernels
    num_cores: int
    khz: int
    macs: float
    kv_macs: float
    vector_rate: int
    sfu_rate: int
    port_bytes: int
    hbm: MemoryInstance
    cache: MemoryInstance
    activation_bits: int
    weight_bits: int
    kv_bits: int

    @property
    def hbm_id(self) -> int:
        return self.hbm.memory_id

    @property
    def cache_id(self) -> int:
        return self.cache.memory_id

    @property
    def cache_stripes(self) -> tuple[int, int]:
        """Memory id and stripe of the cache, as `Tiles.cache` wants them."""
        return self.cache_id, self.cache.memory.interleave_bytes

    @property
    def start_cycles(self) -> int:
        return ps_to_cycles(round(self.kernels.start_us * PS_PER_US), self.khz)

    @property
    def attention_tile_cycles(self) -> int:
        return ps_to_cycles(round(self.kernels.attention_tile_us * PS_PER_US), self.khz)

    @property
    def chunk_bytes(self) -> int:
        return self.kernels.chunk_kib * KIB

    @property
    def kept_bytes(self) -> int:
        """Largest tensor that stays in the cache. Assumes half of it for what is read again and
        half for what streams through."""
        return self.cache.memory.capacity_bytes // 2

    @property
    def room_bytes(self) -> int:
        """Memory for weights, KV and activations."""
        return self.hbm.memory.capacity_bytes - int(self.kernels.reserved_gib * GIB)

    def bytes_per_cycle(self, memory: MemoryInstance) -> float:
        """Peak rate of `memory`, for all cores together, by cycle of `khz`."""
        return memory.memory.gb_s * 1e6 / self.khz

    def gemm_cycles(self, m: int, k: int, n: int) -> int:
        """Of one core, for a product with weights."""
        kernels = self.kernels
        fraction = kernels.compute_efficiency_fraction
        if max(self.activation_bits, self.weight_bits) <= 8:
            fraction = kernels.narrow_efficiency_fraction or fraction
        return mma_cycles(m, k, n, self.macs, kernels.mma, fraction)

    def attention_cycles(self, m: int, k: int, n: int) -> int:
        """Of one core, for a product with K or V."""
        fraction = self.kernels.attention_efficiency_fraction
        return mma_cycles(m, k, n, self.kv_macs, self.kernels.mma, fraction)

    def vector_cycles(self, vector_ops: int, sfu_ops: int) -> int:
        """Assumes that vector and special-function units are pipelined: the slower sets the
        time."""
        return max(ceil_div(vector_ops, self.vector_rate), ceil_div(sfu_ops, self.sfu_rate))


def chip_of(hardware: Hardware, dtypes: Dtypes) -> Chip:
    """The numbers of `hardware`. Raises SpecError when its cores differ."""
    assert hardware.kernels
    core = hardware.cores()[0]
    if any(other != core for other in hardware.cores()):
        raise SpecError("a chip with kernels needs equal cores", "core_groups")
    by_name = {instance.memory.name: instance for instance in hardware.memory_instances()}
    arrays, types = core.arrays, (dtypes.weights, dtypes.kv)
    peak = arrays.rows * arrays.columns * arrays.count
    wide = [max((dtypes.activations, t), key=DTYPE_BITS.__getitem__) for t in types]
    return Chip(
        kernels=hardware.kernels,
        num_cores=hardware.mesh.num_cores,
        khz=core.khz,
        macs=peak * arrays.rate.get(wide[0], 1.0),
        kv_macs=peak * arrays.rate.get(wide[1], 1.0),
        vector_rate=core.vector.lanes * core.vector.alus_per_lane,
        sfu_rate=core.sfu.lanes,
        port_bytes=core.scratchpad.bytes_per_cycle,
        hbm=by_name[hardware.kernels.memory],
        cache=by_name[hardware.kernels.cache],
        activation_bits=DTYPE_BITS[dtypes.activations],
        weight_bits=DTYPE_BITS[dtypes.weights],
        kv_bits=DTYPE_BITS[dtypes.kv],
    )


def sustained(hardware: Hardware) -> Hardware:
    """`hardware` with the data rate of its main memory times the kernels' sustained fraction; as
    it is without kernels.

    Assumes that what timings do not explain is lost evenly over time.
    """
    kernels = hardware.kernels
    if kernels is None or kernels.memory_efficiency_fraction == 1:
        return hardware
    memories = []
    for memory in hardware.memories:
        if memory.name == kernels.memory:
            gb_s = memory.timing.channel_gb_s * kernels.memory_efficiency_fraction
            timing = memory.timing.model_copy(update={"channel_gb_s": gb_s})
            memory = memory.model_copy(update={"timing": timing})
        memories.append(memory)
    rest = kernels.model_copy(update={"memory_efficiency_fraction": 1.0})
    return hardware.model_copy(update={"memories": tuple(memories), "kernels": rest})
