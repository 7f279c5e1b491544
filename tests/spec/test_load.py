"""Loading: names and paths, base files, overrides."""

import json
from pathlib import Path

import pytest

from npusim.errors import SpecError
from npusim.spec.load import (
    bundled,
    load_hardware,
    load_model,
    load_scenario,
    resolve,
    schema,
)


def test_default_scenario_is_the_quickstart():
    setup = resolve(load_scenario())
    assert setup.scenario.hw == "npu_large_core"
    assert setup.hardware.mesh.num_cores == 64
    assert setup.model is not None


def test_path_goes_before_a_bundled_name(write_chip):
    write_chip(name="npu_large_core")
    assert load_hardware("npu_large_core").mesh.num_cores == 4
    assert load_scenario(hw="npu_large_core").hw == "npu_large_core"


def test_paths_in_a_scenario_are_relative_to_it(write_chip, folder):
    (folder / "deep").mkdir()
    write_chip("rows: 2", "rows: 3", name="deep/chip.yaml")
    (folder / "deep/s.yaml").write_text(
        "hw: chip.yaml\nworkload: {kind: transfer, src: 0, dst: 5, bytes: 64}\n"
    )
    setup = resolve(load_scenario("deep/s.yaml"))
    assert (setup.hardware.mesh.rows, setup.model) == (3, None)


def test_a_chip_without_a_name_takes_that_of_its_file(write_chip, folder):
    (folder / "mine.yaml").write_text("base: npu_large_core\nmesh: {rows: 4}\n")
    assert load_hardware("mine.yaml").name == "mine"
    assert load_hardware(write_chip("name: tiny\n", "")).name == "chip"
    assert load_hardware(write_chip()).name == "tiny"


def test_base_merges_mappings_and_replaces_the_rest(write_chip, folder):
    write_chip()
    (folder / "b.yaml").write_text("base: chip.yaml\nnoc: {clock_mhz: 500}\nmemories: []\n")
    (folder / "c.yaml").write_text("base: b\nmesh: {columns: 4}\n")
    chip = load_hardware("c.yaml")
    assert (chip.mesh.rows, chip.mesh.columns) == (2, 4)
    assert (chip.noc.clock_mhz, chip.noc.link_bytes_per_cycle) == (500, 32)
    assert chip.memories == ()


def test_base_is_found_beside_the_file_then_in_its_parts_then_bundled(write_chip, folder):
    timing = "timing: {base: hbm3, channel_gb_s: 8}"
    old = "timing: {channel_gb_s: 16, t_rcd_ns: 14, t_rp_ns: 14, t_cl_ns: 14, t_ras_ns: 33}"
    name = write_chip(old, timing)

    def t_rcd_ns():
        return load_hardware(name).memories[0].timing.t_rcd_ns

    assert t_rcd_ns() == 19.375  # 31 cycles of 0.625 ns, bundled
    part = "{channel_gb_s: 1, t_rcd_ns: %d, t_rp_ns: 1, t_cl_ns: 1, t_ras_ns: 1}"
    (folder / "parts").mkdir()
    (folder / "parts/hbm3.yaml").write_text(part % 2)
    assert t_rcd_ns() == 2
    (folder / "hbm3.yaml").write_text(part % 3)
    assert t_rcd_ns() == 3
    assert load_hardware(name).memories[0].timing.channel_gb_s == 8


def test_error_points_into_the_base_file_that_wrote_the_value(write_chip, folder):
    write_chip("rows: 2", "rows: 0")
    (folder / "b.yaml").write_text("base: chip.yaml\nnoc: {clock_mhz: 500}\n")
    with pytest.raises(SpecError, match=r"^chip\.yaml:2: mesh\.rows must be at least 1, not 0$"):
        load_hardware("b.yaml")
    (folder / "b.yaml").write_text("base: chip.yaml\nnoc:\n  clock_mhz: 500\nmesh: {rows: -1}\n")
    with pytest.raises(SpecError, match=r"^b\.yaml:4: mesh\.rows must be at least 1, not -1$"):
        load_hardware("b.yaml")


def test_base_cycle_is_an_error(folder):
    (folder / "a.yaml").write_text("base: b.yaml\n")
    (folder / "b.yaml").write_text("name: x\nbase: a.yaml\n")
    with pytest.raises(SpecError, match=r"^b\.yaml:2: base 'a\.yaml' leads back to itself$"):
        load_hardware("a.yaml")


def test_another_kind_replaces_the_workload_of_the_base(folder):
    (folder / "s.yaml").write_text("base: quickstart\nworkload: {kind: gemm, m: 1, k: 2, n: 3}\n")
    assert load_scenario("s.yaml").workload.k == 2
    overrides = ["workload.kind=gemm", "workload.m=1", "workload.k=2", "workload.n=3"]
    assert load_scenario(None, overrides).workload == load_scenario("s.yaml").workload


@pytest.mark.parametrize(
    ("hw", "overrides", "tp"),
    [
        ("npu_large_core", [], 64),
        ("tpuv4_like", [], 4),
        ("npu_large_core", ["hw.mesh.rows=4"], 32),
        ("npu_large_core", ["parallel.pp=4", "parallel.dp=2"], 8),
        ("npu_large_core", ["parallel.pp=4096"], 1),
        ("a100_sxm_80", [], 1),  # one of its chips, not all SMs
        ("a100_sxm_80", ["parallel.tp=8"], 8),
    ],
)
def test_auto_tp_is_what_the_chip_takes(hw, overrides, tp):
    """The quickstart's."""
    assert load_scenario(None, overrides, hw=hw).parallel.tp == tp


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("parallel.partition=k", "parallel.partition: must be left out, .* itself, not 'k'"),
        ("parallel.collective=ring", "parallel.collective: must be left out, .*, not 'ring'"),
        (
            "parallel.grid=[2,2]",
            "parallel.grid: must be left out, as a100_sxm_80 .*, not \\(2, 2\\)",
        ),
        ("placement=ring", "placement: must be left out, as a100_sxm_80 deals .*, not 'ring'"),
    ],
)
def test_mappings_to_a_mesh_are_refused_on_a_chip_with_kernels(key, text):
    with pytest.raises(SpecError, match=text):
        resolve(load_scenario(None, [key], hw="a100_sxm_80"))
    resolve(load_scenario("collective", ["placement=ring"], hw="a100_sxm_80"))


@pytest.mark.parametrize("hw", bundled("hardware"))
@pytest.mark.parametrize("scenario", ["quickstart", "gemm"])
def test_bundled_scenarios_fit_every_chip(scenario, hw):
    setup = resolve(load_scenario(scenario, hw=hw))
    parallel, chip = setup.scenario.parallel, setup.hardware
    assert parallel.tp * parallel.pp <= (1 if chip.kernels else chip.mesh.num_cores)


def test_overrides_of_the_scenario_the_chip_and_the_model():
    overrides = [
        "workload.prompt_tokens=1e3",
        "hw.noc.link_bytes_per_cycle=64",
        "hw.core_groups.0.core.arrays.rows=64",
        "hw.core_groups.large.core.arrays.columns=32",
        "hw.memories.hbm.channels=4",
        "hw.core_groups.0.core.task_start_cycles=0x10",
        "model.num_hidden_layers=2",
    ]
    setup = resolve(load_scenario(None, overrides))
    core = setup.hardware.core_groups[0].core
    assert setup.scenario.workload.prompt_tokens == 1000
    assert setup.hardware.noc.link_bytes_per_cycle == 64
    assert (core.arrays.rows, core.arrays.columns, core.task_start_cycles) == (64, 32, 16)
    assert setup.hardware.memories[0].channels == 4
    assert setup.model.num_layers == 2


def test_the_last_override_wins_and_may_hold_a_base():
    overrides = ["hw.noc.clock_mhz=1", "hw.noc.clock_mhz=2", "hw.memories.0.timing={base: hbm3}"]
    chip = resolve(load_scenario(None, overrides)).hardware
    assert chip.noc.clock_mhz == 2
    assert chip.memories[0].timing == load_hardware("npu_edge_hbm").memories[0].timing


def test_override_may_name_a_section_that_the_file_leaves_out(write_chip):
    chip = load_hardware(write_chip(), {"core_groups.main.core.dma.engines": 5})
    assert chip.core_groups[0].core.dma.engines == 5


def test_overrides_may_be_nested():
    nested = load_hardware("tpuv4_like", {"noc": {"clock_mhz": 3}, "mesh": {"rows": 4}})
    assert nested == load_hardware("tpuv4_like", {"noc.clock_mhz": 3, "mesh.rows": 4})


def test_specs_are_hashable_by_value():
    one, two = load_hardware("tpuv4_like"), load_hardware("tpuv4_like")
    other = load_hardware("tpuv4_like", {"core_groups.0.core.arrays.rate": {"int8": 2}})
    assert one == two and hash(one) == hash(two)
    assert hash(one) != hash(other)
    assert hash(load_scenario(None, ["hw.noc.clock_mhz=1"])) is not None


def test_chip_of_the_readme_loads(folder):
    readme = (Path(__file__).parents[2] / "hw_configs/README.md").read_text()
    (folder / "mine.yaml").write_text(readme.split("```yaml\n")[1].split("```")[0])
    chip = load_hardware("mine.yaml")
    assert (chip.mesh.rows, chip.mesh.columns, chip.noc.link_gb_s) == (4, 8, 320)
    assert chip.memories[0].gb_s == 8 * 32


def test_yaml_is_1_2(write_chip):
    chip = load_hardware(write_chip("name: tiny", "name: no"))
    assert chip.name == "no"  # a truth value in YAML 1.1


def test_model_may_be_a_folder_with_tabs_in_its_config(folder):
    config = json.loads(bundled("model")["llama-3.1-8b"].read_text())
    (folder / "mine").mkdir()
    (folder / "mine/config.json").write_text(json.dumps(config, indent="\t"))
    model = load_model("mine")
    assert model.name == "mine"
    assert model.num_layers == load_model("llama-3.1-8b").num_layers


def test_model_name_is_that_of_the_bundled_file():
    assert load_model("qwen3-4b").name == "qwen3-4b"


@pytest.mark.parametrize("kind", ["hardware", "scenario", "model"])
def test_schema_is_json_and_knows_base(kind):
    found = json.loads(json.dumps(schema(kind)))
    assert found["type"] == "object"
    if kind != "model":
        assert found["properties"]["base"] == {"type": "string"}
        assert {"required": ["base"]} in found["anyOf"]


def test_schema_of_something_else():
    with pytest.raises(SpecError, match=r"schema must be one of .*did you mean 'hardware'"):
        schema("hardwar")
    with pytest.raises(SpecError, match="kind must be one of hardware, part, model, scenario"):
        bundled("chips")


def test_bundled_files_of_a_wheel_come_before_the_checkout(monkeypatch, tmp_path):
    from npusim.spec import files

    (tmp_path / "_data/hw_configs").mkdir(parents=True)
    (tmp_path / "_data/hw_configs/only.yaml").write_text("")
    monkeypatch.setattr(files, "PACKAGE", tmp_path)
    assert list(bundled("hardware")) == ["only"]


def test_another_phase_drops_the_lengths_it_cannot_have():
    work = load_scenario(None, ["workload.phase=decode", "workload.context_tokens=7"]).workload
    assert (work.prompt_tokens, work.context_tokens) == (None, 7)
    work = load_scenario(None, ["workload.phase=generate", "workload.output_tokens=3"]).workload
    assert (work.prompt_tokens, work.output_tokens) == (256, 3)
