"""Chips that cannot be: each gives one line with place, rule and value."""

import pytest

from npusim.errors import SpecError
from npusim.spec.load import load_hardware

CORE = "clock_mhz: 1000\n      arrays"
MORE = "channels: 2"
GROUP = "- name: main"
LINK = "link_bytes_per_cycle: 32"
CORES_RULE = "must be all, or a list of core ids, [row, column] pairs and first-last ranges"

# what stands in the chip, what stands there instead, the whole error after "chip.yaml:"
KEYS = [
    ("name: tiny", "nme: tiny", "1: unknown key nme; did you mean 'name'?"),
    ("rows: 2, ", "", "2: mesh.rows is missing"),
    (
        CORE,
        "clok_mhz: 1000\n      arrays",
        "6: unknown key core_groups.0.core.clok_mhz; did you mean 'clock_mhz'? (and 1 more)",
    ),
    (
        "lanes: 8}",
        "lanes: 8, zzz: 3}",
        "8: unknown key core_groups.0.core.vector.zzz; known: alus_per_lane, lanes",
    ),
    ("noc: {", "nox: {", "16: unknown key nox; did you mean 'noc'? (and 1 more)"),
    ("noc: {", "mesh: {}\nnoc: {", "16: duplicate key 'mesh'"),
    ("noc: {", "3: 4\nnoc: {", "16: keys must be text, not 3"),
    ("noc: {", "<<: {}\nnoc: {", "16: must not use merge keys (<<); use base: FILE"),
]
TYPES = [
    ("name: tiny", "name: 3", "1: name must be text, not 3"),
    ("name: tiny", "name: ''", "1: name must be a text that is not empty, not ''"),
    ("name: tiny", "name: !foo x", "1: must not use tags such as !foo"),
    ("rows: 2,", "rows: 2.5,", "2: mesh.rows must be a whole number, not 2.5"),
    ("rows: 2,", "rows: '2',", "2: mesh.rows must be a whole number, not '2'"),
    ("rows: 2,", "rows: 8x,", "2: mesh.rows must be a whole number, not '8x'"),
    ("rows: 2,", "rows: true,", "2: mesh.rows must be a whole number, not true"),
    ("rows: 2,", "rows: yes,", "2: mesh.rows must be a whole number, not 'yes'"),
    ("rows: 2,", "rows: ,", "2: mesh.rows must be a whole number, not nothing"),
    ("rows: 2,", "rows: [2],", "2: mesh.rows must be a whole number, not a list"),
    ("rows: 2,", "rows: .nan,", "2: numbers must be finite, not .nan"),
    ("rows: 2,", "rows: -.inf,", "2: numbers must be finite, not -.inf"),
    ("mesh: {rows: 2, columns: 2}", "mesh: 2x2", "2: mesh must be a mapping, not '2x2'"),
    ("mesh: {rows: 2, columns: 2}", "mesh: [2, 2]", "2: mesh must be a mapping, not a list"),
    (
        "clock_mhz: 1000, ",
        "clock_mhz: false, ",
        "16: noc.clock_mhz must be a number, not false",
    ),
    (
        "columns: 8}",
        "columns: 8, fold_overlap: 1}",
        "7: core_groups.0.core.arrays.fold_overlap must be true or false, not 1",
    ),
    (
        "columns: 8}",
        "columns: 8, dataflow: wz}",
        "7: core_groups.0.core.arrays.dataflow must be one of ws, os, is, not 'wz'; "
        "did you mean 'ws'?",
    ),
    (
        "columns: 8}",
        "columns: 8, rate: {int9: 1}}",
        "7: core_groups.0.core.arrays.rate must be one of fp32, fp16, bf16, fp8, int8, int4, fp4, "
        "not 'int9'; did you mean 'int8'?",
    ),
    (
        MORE,
        f"kind: drum\n    {MORE}",
        "14: memories.0.kind must be one of dram, not 'drum'; did you mean 'dram'?",
    ),
]
RANGES = [
    ("rows: 2,", "rows: -2,", "2: mesh.rows must be at least 1, not -2"),
    ("rows: 2,", "rows: 0,", "2: mesh.rows must be at least 1, not 0"),
    ("rows: 2,", "rows: 1e9,", "2: mesh.rows must be at most 128, not 1000000000"),
    (
        CORE,
        "clock_mhz: 0.0001\n      arrays",
        "6: core_groups.0.core.clock_mhz must be at least 1, not 0.0001",
    ),
    (
        "columns: 8}",
        "columns: 8, rate: {int8: 0}}",
        "7: core_groups.0.core.arrays.rate.int8 must be above 0, not 0",
    ),
    (MORE, "channels: 0", "14: memories.0.channels must be at least 1, not 0"),
    (LINK, "link_bytes_per_cycle: 0", "16: noc.link_bytes_per_cycle must be at least 1, not 0"),
    ("t_cl_ns: 14", "t_cl_ns: -1", "15: memories.0.timing.t_cl_ns must be at least 0, not -1"),
    (
        "rows: 2, columns: 2}",
        "rows: -2, columns: -3, x: 1}",
        "2: mesh.rows must be at least 1, not -2 (and 2 more)",
    ),
]
GROUPS = [
    (
        GROUP,
        f"{GROUP}\n    cores: [0, 1]",
        "3: core_groups must cover the mesh; core 2 has no group",
    ),
    (
        GROUP,
        f"{GROUP}\n    cores: [3-1]",
        "5: core_groups.0.cores must hold ids, [row, column] and first-last ranges, not '3-1'",
    ),
    (GROUP, f"{GROUP}\n    cores: [0-9]", "5: core_groups.0.cores must lie in the 2x2 mesh, not 9"),
    (
        GROUP,
        f"{GROUP}\n    cores: [[0, 5]]",
        "5: core_groups.0.cores must lie in the 2x2 mesh, not [0, 5]",
    ),
    (
        GROUP,
        f"{GROUP}\n    cores: [0-3, 2]",
        "5: core_groups.0.cores must not repeat core 2, already in 'main'",
    ),
    (GROUP, f"{GROUP}\n    cores: []", f"5: core_groups.0.cores {CORES_RULE}, not []"),
    (GROUP, f"{GROUP}\n    cores: every", f"5: core_groups.0.cores {CORES_RULE}, not 'every'"),
    (GROUP, f"{GROUP}\n    cores: [-1]", f"5: core_groups.0.cores {CORES_RULE}, not [-1]"),
    (
        GROUP,
        "- name: 7up",
        "4: core_groups.0.name must be a name of letters, digits, _ and -, not '7up'",
    ),
    (
        "capacity_mib: 1}",
        "capacity_mib: 1, block_bytes: 2000000}",
        "10: core_groups.0.core.scratchpad.block_bytes must be at most the 1048576 bytes of "
        "capacity_mib, not 2000000",
    ),
    (
        "capacity_mib: 1}",
        "capacity_mib: 0.001}",
        "5: core_groups.0.core.dma.unit_bytes must be at most the 1048 bytes of the scratchpad, "
        "not 4096",
    ),
]
MEMORIES = [
    (
        MORE,
        f"attach: edge\n    {MORE}",
        "14: memories.0.attach edge needs ports, a list of {at: [row, column]}, or on a crossbar a "
        "number",
    ),
    (
        MORE,
        f"attach: edge\n    ports: 2\n    {MORE}",
        "15: memories.0.ports must be a list of {at: [row, column]} "
        "unless noc.topology is crossbar",
    ),
    (
        MORE,
        f"attach: edge\n    ports: 0\n    {MORE}",
        "15: memories.0.ports must be 1 to 4,096 ports, not 0",
    ),
    (
        MORE,
        f"attach: edge\n    ports: two\n    {MORE}",
        "15: memories.0.ports must be a list, not 'two'",
    ),
    (
        MORE,
        f"ports: [{{at: [0, 0]}}]\n    {MORE}",
        "14: memories.0.ports are for attach: edge, not core",
    ),
    (
        MORE,
        f"attach: edge\n    ports: [{{at: [0, 9]}}]\n    {MORE}",
        "15: memories.0.ports.0.at must lie in the 2x2 mesh, not [0, 9]",
    ),
    (
        MORE,
        f"attach: edge\n    ports: [{{at: [0, 0]}}, {{at: [0, 0]}}]\n    {MORE}",
        "15: memories.0.ports.1.at must differ from the other ports, not [0, 0]",
    ),
    (
        MORE,
        "attach: edge\n    ports: [{at: [0, 0]}, {at: [0, 1]}]\n    channels: 3",
        "16: memories.0.channels must be a multiple of the 2 ports, not 3",
    ),
    (
        MORE,
        f"attach: edge\n    ports: [{{at: [0, 0, 0]}}]\n    {MORE}",
        "15: memories.0.ports.0.at must have at most 2 items, not 3",
    ),
    (
        MORE,
        f"attach: edge\n    ports: [{{at: [0]}}]\n    {MORE}",
        "15: memories.0.ports.0.at must have at least 2 items",
    ),
    (
        MORE,
        f"attach: group\n    cores_per_instance: 3\n    {MORE}",
        "15: memories.0.cores_per_instance must divide the 4 cores, not 3",
    ),
    (
        MORE,
        f"cores_per_instance: 2\n    {MORE}",
        "14: memories.0.cores_per_instance is for attach: group, not core",
    ),
    (MORE, f"cores: [9]\n    {MORE}", "14: memories.0.cores must lie in the 2x2 mesh, not 9"),
    (MORE, f"cores: [1, 0-2]\n    {MORE}", "14: memories.0.cores must not repeat a core"),
    (
        MORE,
        f"interleave_bytes: 100\n    {MORE}",
        "14: memories.0.interleave_bytes must be a multiple of burst_bytes 64, not 100",
    ),
    (
        "capacity_gib: 1",
        "capacity_gib: 0.000001",
        "13: memories.0.capacity_gib must hold channels x interleave_bytes = 8192 bytes, not 1e-06",
    ),
    (
        "t_ras_ns: 33",
        "t_ras: 33",
        "15: unknown key memories.0.timing.t_ras; did you mean 't_ras_ns'? (and 1 more)",
    ),
    (
        "t_ras_ns: 33",
        "t_ras_ns: 33, row_bytes: 100",
        "15: memories.0.timing.row_bytes must be a multiple of burst_bytes 64, not 100",
    ),
    (
        "t_ras_ns: 33",
        "t_ras_ns: 33, t_rfc_ns: 100",
        "15: memories.0.timing.t_rfc_ns needs t_refi_ns above 0, not 0",
    ),
    (
        "t_ras_ns: 33",
        "t_ras_ns: 33, t_rfc_ns: 100, t_refi_ns: 100",
        "15: memories.0.timing.t_rfc_ns must be below t_refi_ns 100, not 100",
    ),
    ("t_ras_ns: 33", "base: 3", "15: base must be a file or a name, not 3"),
]
NOC = [
    (
        LINK,
        f"{LINK}, lock_scope: both",
        "16: noc.lock_scope both needs protocol: handshake, not eager",
    ),
    (
        LINK,
        f"{LINK}, lock_scope: both, protocol: handshake",
        "16: noc.lock_scope both needs flow_control: channel_locked, not virtual_channel",
    ),
    (
        LINK,
        f"{LINK}, min_packet_bytes: 8192",
        "16: noc.min_packet_bytes must be at most max_packet_bytes 4096, not 8192",
    ),
    (
        LINK,
        f"{LINK}, flow_control: channel-locked",
        "16: noc.flow_control must be one of virtual_channel, channel_locked, not "
        "'channel-locked'; did you mean 'channel_locked'?",
    ),
]


@pytest.mark.parametrize(("old", "new", "text"), KEYS + TYPES + RANGES + GROUPS + MEMORIES + NOC)
def test_chip_is_refused_in_one_line(write_chip, old, new, text):
    name = write_chip(old, new)
    with pytest.raises(SpecError) as caught:
        load_hardware(name)
    assert str(caught.value) == f"{name}:{text}"
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty"),
        (b"# a comment\n", "is empty"),
        (b"\x00\x01\xff\xfe", "is not UTF-8 text"),
        (b"a: \x00", "is not YAML: special characters are not allowed"),
        (b"- 1\n", "1: must be a mapping at the top, not a list"),
        (b"hello", "1: must be a mapping at the top, not 'hello'"),
        (b"[" * 3000, "must not nest deeper than 32 levels"),
        (b"name: &a [*a]", "1: must not nest deeper than 32 levels"),
        (b"a: " + b"9" * 5000, f"1: {'9' * 40!r} is not a number"),
        (b"\nb: 1\n\ta: 1", "3: is not YAML"),
        (b"a: 'x", "1: is not YAML: while scanning a quoted scalar"),
        (b"a: 1\n---\nb: 1\n", "2: is not YAML: expected a single document in the stream"),
    ],
)
def test_file_is_refused_in_one_line(folder, data, text):
    (folder / "chip.yaml").write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load_hardware("chip.yaml")
    colon = ":" if text[0].isdigit() else ": "
    assert str(caught.value).startswith(f"chip.yaml{colon}{text}")
    assert "\n" not in str(caught.value)


def test_aliases_cannot_blow_up(folder):
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for above, key in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{key}: &{key} [{', '.join([f'*{above}'] * 10)}]")
    (folder / "chip.yaml").write_text("\n".join(lines))
    with pytest.raises(SpecError, match=r"must not hold more than 100000 values"):
        load_hardware("chip.yaml")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nowhere.yaml", "hardware file 'nowhere.yaml' is not there"),
        ("~nobody-here/x.yaml", "hardware file '~nobody-here/x.yaml' is not there"),
        ("no/where", "hardware file 'no/where' is not there"),
        (".", "hardware file '.' is a folder, not a file"),
        ("x" * 300, "File name too long"),
        ("a\0b", r"must be a file or one of .*, not 'a\\x00b'"),
        ("", "must be a file or one of .*, not ''"),
        ("npu_lage_core", "not 'npu_lage_core'; did you mean 'npu_large_core'"),
    ],
)
def test_name_is_refused_with_the_nearest(folder, name, text):
    with pytest.raises(SpecError, match=text):
        load_hardware(name)


@pytest.mark.parametrize(
    "base", ["/", ".", "..", "''", "'a\\0b'", "~x", '"\\ud800"', "npu_lage_core"]
)
def test_base_is_refused_with_its_line(folder, base):
    (folder / "chip.yaml").write_text(f"name: x\nbase: {base}\n")
    with pytest.raises(SpecError, match=r"^chip\.yaml:2: base must be a file or one of"):
        load_hardware("chip.yaml")
