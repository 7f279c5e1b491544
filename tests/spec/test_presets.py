"""Bundled chips, parts and scenarios: they load, and their sums are those of the sources."""

import re

import pytest

from npusim.spec.files import read_tree
from npusim.spec.load import bundled, load_hardware, load_scenario, resolve
from npusim.spec.memory import DramTiming
from npusim.spec.tree import plain

# name: cores, GB/s of the chip, GiB of the chip
CHIPS = {
    "npu_large_core": (64, 64 * 120, 256),  # arXiv 2510.05632 Table 3: 30 to 480 GB/s a core
    "npu_small_core": (256, 256 * 30, 256),  # Table 3: 15 to 60
    "npu_hetero_pd": (64, 42 * 60 + 22 * 240, 256),  # section 7.3
    "npu_group_hbm": (64, 64 * 120, 256),
    "npu_edge_hbm": (64, 4 * 819.2, 96),  # four HBM3 stacks
    "tpuv4_like": (4, 614.4, 32),  # ONNXim: 614 GB/s
    "wormhole_n150": (72, 288, 12),  # docs.tenstorrent.com
}
# part: GB/s of a stack, module or device, and its channels
PARTS = {
    "hbm2": (307.2, 16),
    "hbm2e": (409.6, 16),
    "hbm3": (819.2, 32),
    "hbm3e": (1024, 32),
    "hbm4": (2048, 64),
    "ddr5": (51.2, 2),
    "gddr6": (56, 2),
    "lpddr5x": (68.264, 4),
}


def test_every_chip_and_every_memory_part_is_listed_here():
    kernels = {name for name in bundled("hardware") if load_hardware(name).kernels}
    assert set(bundled("hardware")) - kernels == set(CHIPS)  # those: spec/test_kernels.py
    parts = {name: path.read_text() for name, path in bundled("part").items()}
    links = {name for name, text in parts.items() if "protocols:" in text}  # spec/test_links.py
    links |= {name for name, text in parts.items() if "start_us:" in text}  # spec/test_kernels.py
    others = links | {"cache_slice"}  # no DRAM: spec/test_kernels.py
    assert {name for name in parts if not name.startswith("core_")} - others == set(PARTS)


@pytest.mark.parametrize("name", CHIPS)
def test_chip_has_the_published_sums(name):
    chip = load_hardware(name)
    num_cores, gb_s, gib = CHIPS[name]
    instances = chip.memory_instances()
    assert chip.name == name
    assert chip.mesh.num_cores == num_cores
    assert sum(i.memory.gb_s for i in instances) == pytest.approx(gb_s)
    assert sum(i.memory.capacity_gib for i in instances) == gib
    assert sorted(core for i in instances for core in i.cores) == list(range(num_cores))


@pytest.mark.parametrize("name", PARTS)
def test_part_has_the_published_bandwidth(name):
    timing = DramTiming.model_validate(plain(read_tree(bundled("part")[name], "part")))
    gb_s, channels = PARTS[name]
    assert timing.channel_gb_s * channels == pytest.approx(gb_s)
    assert timing.t_ras_ns >= timing.t_rcd_ns
    assert timing.t_refi_ns > 9 * timing.t_rfc_ns


def test_large_core_is_the_study_s():
    chip = load_hardware("npu_large_core")
    core = chip.core(0)
    assert (chip.mesh.rows, chip.mesh.columns, core.clock_mhz) == (8, 8, 500)
    assert (core.arrays.rows, core.arrays.columns) == (128, 128)
    assert core.vector.lanes * core.vector.alus_per_lane == 128 * 64
    assert chip.noc.link_gb_s == 160
    assert core.sfu.lanes == 16 * core.arrays.columns


def test_heterogeneous_chip_has_two_kinds_of_core():
    cores = load_hardware("npu_hetero_pd").cores()
    assert [core.arrays.rows for core in cores] == [64] * 42 + [32] * 22
    assert {core.scratchpad.capacity_mib for core in cores} == {32}


@pytest.mark.parametrize("name", bundled("scenario"))
def test_scenario_resolves(name):
    setup = resolve(load_scenario(name))
    assert (setup.model is not None) == (setup.scenario.workload.kind in ("llm", "serve"))


def test_study_scenario_is_cut_to_16_layers():
    setup = resolve(load_scenario("qwen3_4b_pp16"))
    assert setup.model.num_layers == 16
    assert setup.scenario.parallel.tp * setup.scenario.parallel.pp == 64


@pytest.mark.parametrize("path", [*bundled("hardware").values(), *bundled("part").values()])
def test_file_opens_with_its_source(path):
    assert re.match(r"(#.*\n)+[a-z]", path.read_text())


@pytest.mark.parametrize("name", PARTS)
def test_every_number_of_a_memory_part_has_its_source(name):
    lines = bundled("part")[name].read_text().splitlines()
    assert [line for line in lines if re.search(r"^\w+: [\d.]+ *$", line)] == []


def test_wormhole_has_the_rates_of_its_product_page():
    chip = load_hardware("wormhole_n150")
    arrays = chip.core(0).arrays
    tflops = 72 * 2 * arrays.rows * arrays.columns * arrays.count / 1000
    assert round(tflops) == 74  # FP16
    assert round(tflops / 72 * arrays.rate["fp8"] * 64) == 262  # FP8 of 64 Tensix
    assert chip.core(0).scratchpad.capacity_bytes == 1464 * 1024
    assert chip.noc.link_gb_s == 32
