"""What a chip knows about itself: ids, groups, memory instances, derived rates."""

import pytest
from pydantic import ValidationError

from npusim.spec.hardware import Hardware

CORE = {
    "clock_mhz": 1000,
    "arrays": {"rows": 8, "columns": 8},
    "vector": {"lanes": 8},
    "sfu": {"lanes": 2},
    "scratchpad": {"capacity_mib": 0.5},
}
SLOW = {**CORE, "clock_mhz": 500}
TIMING = {"channel_gb_s": 16, "t_rcd_ns": 14, "t_rp_ns": 14, "t_cl_ns": 14, "t_ras_ns": 33}
HBM = {"capacity_gib": 1, "channels": 2, "timing": TIMING}


def chip(rows=2, columns=3, groups=({"name": "all", "core": CORE},), memories=()):
    return Hardware.model_validate(
        {
            "name": "t",
            "mesh": {"rows": rows, "columns": columns},
            "core_groups": groups,
            "memories": memories,
            "noc": {"clock_mhz": 500, "link_bytes_per_cycle": 320},
        }
    )


def served(hardware):
    return [(i.memory_id, i.memory.name, i.cores) for i in hardware.memory_instances()]


def test_core_ids_are_row_major():
    assert [chip().core_id(at) for at in (0, 5, (0, 2), (1, 0), [1, 2])] == [0, 5, 2, 3, 5]


@pytest.mark.parametrize("at", [6, -1, (2, 0), (0, 3), (-1, 0)])
def test_core_outside_the_mesh(at):
    with pytest.raises(ValueError, match="is outside the 2x3 mesh"):
        chip().core_id(at)


def test_groups_take_theirs_from_all():
    groups = [{"name": "a", "core": CORE}, {"name": "b", "cores": ["1-2", [1, 2]], "core": SLOW}]
    hardware = chip(groups=groups)
    assert hardware.group_of_core() == [0, 1, 1, 0, 0, 1]
    assert [core.clock_mhz for core in hardware.cores()] == [1000, 500, 500, 1000, 1000, 500]
    assert hardware.core(5).khz == 500_000


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        ([("a", "all"), ("b", "all")], "must not repeat|leave no core"),
        ([("a", ["0-3"]), ("b", ["3-5"])], "must not repeat core 3, already in 'a'"),
        ([("a", "all"), ("a", [1])], "must differ from the others, not 'a'"),
        ([("a", "all"), ("b", ["0-5"])], "leave no core to this group"),
        ([("a", ["0-4"])], "must cover the mesh; core 5 has no group"),
        ([], "must cover the mesh; core 0 has no group"),
    ],
)
def test_groups_that_do_not_fit(groups, text):
    with pytest.raises(ValidationError, match=text):
        chip(groups=[{"name": name, "cores": cores, "core": CORE} for name, cores in groups])


def test_memory_instances_by_attachment():
    private = {**HBM, "name": "p", "cores": ["4-5"]}
    shared = {**HBM, "name": "s", "attach": "group", "cores_per_instance": 3}
    edge = {**HBM, "name": "e", "attach": "edge", "ports": [{"at": [0, 0]}, {"at": [1, 2]}]}
    assert served(chip(memories=[private, shared, edge])) == [
        (0, "p", (4,)),
        (1, "p", (5,)),
        (2, "s", (0, 1, 2)),
        (3, "s", (3, 4, 5)),
        (4, "e", (0, 1, 2, 3, 4, 5)),
    ]


def test_two_memories_of_one_name():
    with pytest.raises(ValidationError, match="must differ from the others, not 'hbm'"):
        chip(memories=[HBM, HBM])


def test_derived_units():
    hardware = chip(memories=[HBM])
    core, memory = hardware.core(0), hardware.memories[0]
    assert core.scratchpad.capacity_bytes == 524_288
    assert core.scratchpad.bytes_per_cycle == 256
    assert (memory.capacity_bytes, memory.gb_s) == (1_073_741_824, 32)
    assert memory.timing.num_banks == 16
    assert hardware.noc.link_gb_s == 160


@pytest.mark.parametrize(("block", "fits"), [(524_288, True), (524_289, False)])
def test_a_block_fits_the_scratchpad_to_the_byte(block, fits):
    core = {**CORE, "scratchpad": {"capacity_mib": 0.5, "block_bytes": block}}
    groups = [{"name": "all", "core": core}]
    if fits:
        assert chip(groups=groups)
    else:
        with pytest.raises(ValidationError, match="must be at most the 524288 bytes"):
            chip(groups=groups)


@pytest.mark.parametrize(("t_rfc_ns", "fits"), [(3899.9, True), (3900, False)])
def test_refresh_ends_before_the_next(t_rfc_ns, fits):
    timing = {**TIMING, "t_refi_ns": 3900, "t_rfc_ns": t_rfc_ns}
    if fits:
        assert chip(memories=[{**HBM, "timing": timing}])
    else:
        with pytest.raises(ValidationError, match="must be below t_refi_ns 3900, not 3900"):
            chip(memories=[{**HBM, "timing": timing}])


def test_specs_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        chip().mesh.rows = 3
