"""Chips of the GPU kind: they load with their published sums, and bad kernels are refused."""

import re

import pytest

from npusim.cost.roofline import peak_gflop_s
from npusim.errors import SpecError
from npusim.spec.load import bundled, load_hardware

# name: SMs, dense bf16 TFLOPS, 8-bit TFLOPS, GB/s of HBM or GDDR, its GiB, L2 MiB (data sheets)
GPUS = {
    "a100_sxm_80": (108, 312, 624, 2039, 80, 40),
    "a100_sxm_40": (108, 312, 624, 1555, 40, 40),
    "h100_sxm": (132, 989, 1979, 3350, 80, 50),
    "h200_sxm": (132, 989, 1979, 4800, 131.3, 50),
    "l40s": (142, 362, 724, 864, 44.99, 96),
    "rtx_6000_pro": (188, 468, 936, 1792, 95.59, 128),
}


def test_every_chip_with_the_family_s_constants_is_listed_here():
    texts = {name: path.read_text() for name, path in bundled("hardware").items()}
    found = {name for name, text in texts.items() if re.search("cuda_kernels|base: a100", text)}
    assert found == set(GPUS)


HOPPER = {"h100_sxm", "h200_sxm"}
OWN_TO_HOPPER = ("overlapped_softmax", "compute_efficiency_fraction", "narrow_efficiency_fraction")


def test_the_family_has_one_set_of_constants_and_hopper_changes_what_is_its_own():
    kernels = {name: load_hardware(name).kernels for name in GPUS}
    family = {k for name, k in kernels.items() if name not in HOPPER}
    hopper = {kernels[name] for name in HOPPER}
    assert len(family) == len(hopper) == 1
    (one,), (other,) = family, hopper
    own = {name: getattr(one, name) for name in OWN_TO_HOPPER}
    assert other.model_copy(update=own) == one


@pytest.mark.parametrize("name", GPUS)
def test_chip_has_the_published_sums(name):
    chip = load_hardware(name)
    num_sms, tflops, int8_tops, gb_s, gib, l2_mib = GPUS[name]
    core, arrays = chip.core(0), chip.core(0).arrays
    by_name = {i.memory.name: i.memory for i in chip.memory_instances()}
    assert chip.mesh.num_cores == num_sms
    for rate, published in ((1.0, tflops), (arrays.rate["int8"], int8_tops)):
        peak = peak_gflop_s(arrays.rows, arrays.columns, core.clock_mhz, rate=rate) * num_sms
        assert peak / 1000 == pytest.approx(published, rel=0.001)
    assert by_name["hbm"].gb_s == pytest.approx(gb_s)
    assert by_name["hbm"].capacity_gib == gib
    assert by_name["l2"].capacity_bytes == l2_mib << 20
    cache = by_name["l2"]
    assert cache.timing.t_rcd_ns == 0
    assert cache.timing.row_bytes == cache.interleave_bytes  # else served in several steps


@pytest.mark.parametrize("name", [n for n in bundled("hardware") if load_hardware(n).kernels])
def test_transfers_of_all_stages_may_be_on_their_way(name):
    """Else a core waits for latency, however much memory could deliver."""
    chip = load_hardware(name)
    memory = next(m for m in chip.memories if m.name == chip.kernels.memory)
    dma = chip.core(0).dma
    under_way = dma.max_outstanding * min(dma.unit_bytes, memory.interleave_bytes)
    assert under_way >= chip.kernels.stages * chip.kernels.chunk_kib * 1024


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("kernels.cache", "l3", "must name one of the memories, not 'l3'"),
        ("kernels.cache", "hbm", "must differ from memory, not 'hbm'"),
        ("kernels.compute_efficiency_fraction", 1.5, "must be at most 1"),
        ("kernels.tiles", [], "kernels.tiles must have at least 1 item"),
        ("kernels.reserved_gib", 80.0, "must be below the 80 GiB of hbm, not 80"),
        ("memories.1.cores_per_instance", 54, "a memory that all cores share, not 'l2'"),
    ],
)
def test_kernels_that_contradict_the_chip_are_refused(key, value, text):
    with pytest.raises(SpecError, match=text):
        load_hardware("a100_sxm_80", {key: value})
