"""Where instances lie: every policy on many lists, and by hand on small meshes."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from npusim.errors import SpecError
from npusim.serving.placement import PLACEMENTS, place_instances
from npusim.spec.hardware import Hardware
from npusim.spec.parallel import Parallel
from npusim.spec.serving import Instance

CORE = {
    "clock_mhz": 1000, "arrays": {"rows": 8, "columns": 8}, "vector": {"lanes": 8},
    "sfu": {"lanes": 2}, "scratchpad": {"capacity_mib": 1},
}  # fmt: skip


def mesh(rows, columns, **groups):
    """A chip; `groups`: name → cores."""
    listed = [{"name": name, "cores": cores, "core": CORE} for name, cores in groups.items()]
    return Hardware.model_validate({
        "name": "tiny", "mesh": {"rows": rows, "columns": columns},
        "core_groups": listed or [{"name": "all", "core": CORE}],
        "noc": {"clock_mhz": 1000, "link_bytes_per_cycle": 32},
    })  # fmt: skip


def one(role="both", tp=1, pp=1, **changes):
    return Instance(role=role, parallel=Parallel(tp=tp, pp=pp), **changes)


roles = st.sampled_from(["both", "prefill", "decode"])
lists = st.lists(
    st.builds(one, roles, st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=10
)


@pytest.mark.parametrize("policy", PLACEMENTS)
@settings(max_examples=40)
@given(st.integers(3, 6), st.integers(4, 6), lists)
def test_every_instance_has_its_cores_and_nobody_elses(policy, rows, columns, wanted):
    needed = [one.parallel.tp * one.parallel.pp for one in wanted]
    assume(sum(needed) <= rows * columns)
    plan = place_instances(policy, mesh(rows, columns), wanted)
    assert [len(cores) for cores in plan] == needed
    cores = [core for own in plan for core in own]
    assert len(set(cores)) == len(cores) and set(cores) <= set(range(rows * columns))


@pytest.mark.parametrize("policy", PLACEMENTS)
@settings(max_examples=40)
@given(st.integers(3, 5), st.integers(4, 6), lists, st.data())
def test_listed_cores_are_kept(policy, rows, columns, wanted, data):
    count = rows * columns
    sizes = [one.parallel.tp * one.parallel.pp for one in wanted]
    assume(sum(sizes) <= count)
    order = data.draw(st.randoms(use_true_random=False)).sample(range(count), count)
    index = data.draw(st.integers(0, len(wanted) - 1))
    cores = tuple(order[: sizes[index]])
    wanted[index] = wanted[index].model_copy(update={"cores": cores})
    plan = place_instances(policy, mesh(rows, columns), wanted)
    assert plan[index] == cores
    assert len({core for own in plan for core in own}) == sum(sizes)


@pytest.mark.parametrize("policy", PLACEMENTS)
@settings(max_examples=40)
@given(lists)
def test_one_core_too_few(policy, wanted):
    needed = sum(one.parallel.tp * one.parallel.pp for one in wanted)
    assume(needed > 1)
    place_instances(policy, mesh(1, needed) if needed <= 128 else mesh(8, 16), wanted)
    with pytest.raises(
        SpecError, match=r"instances\[\d+\]: each needs \d+ cores \(tp x pp\), \d+ are left"
    ):
        place_instances(policy, mesh(1, needed - 1), wanted)


def columns_of(cores, columns):
    return sorted({core % columns for core in cores})


def test_pp_first_has_prefill_at_both_sides_of_decode():
    wanted = [one("prefill", 4)] * 4 + [one("decode", 4)] * 4
    plan = place_instances("pp_first", mesh(4, 8), wanted)
    assert [columns_of(cores, 8) for cores in plan] == [[0], [1], [6], [7], [2], [3], [4], [5]]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3))
def test_pp_first_never_has_prefill_inside(num_prefill, num_decode, tp_prefill, tp_decode):
    """Along the columns: prefill, decode, prefill; the left side has as many or one more."""
    wanted = [one("prefill", tp_prefill)] * num_prefill + [one("decode", tp_decode)] * num_decode
    total = num_prefill * tp_prefill + num_decode * tp_decode
    plan = place_instances("pp_first", mesh(1, total), wanted)
    kinds = {core: wanted[i].role for i, own in enumerate(plan) for core in own}
    left = -(-num_prefill // 2)
    middle = num_decode * tp_decode
    expected = (["prefill"] * (left * tp_prefill) + ["decode"] * middle
                + ["prefill"] * ((num_prefill - left) * tp_prefill))  # fmt: skip
    assert [kinds[core] for core in range(total)] == expected


def test_dp_first_has_each_group_side_by_side():
    """2 prefill to 1 decode, twice: row by row, there and back."""
    wanted = [one("prefill", 2)] * 4 + [one("decode", 2)] * 2
    plan = place_instances("dp_first", mesh(3, 4), wanted)
    assert plan == [(0, 1), (2, 3), (5, 4), (8, 9), (7, 6), (10, 11)]


def test_in_order_is_row_by_row_there_and_back():
    plan = place_instances("in_order", mesh(2, 3), [one("decode", 2), one("prefill", 2), one()])
    assert plan == [(0, 1), (2, 5), (4,)]


def test_fused_instances_alone_are_as_listed():
    wanted = [one(tp=2)] * 3
    chip = mesh(2, 3)
    assert place_instances("pp_first", chip, wanted) == place_instances("in_order", chip, wanted)


def test_instances_of_a_core_group():
    chip = mesh(2, 4, fast=["0-1", 6], slow=["2-5", 7])
    wanted = [one("prefill", 3, core_group="slow"), one("decode", 3, core_group="fast")]
    for policy in PLACEMENTS:
        slow, fast = place_instances(policy, chip, wanted)
        assert set(slow) <= {2, 3, 4, 5, 7} and set(fast) == {0, 1, 6}


def test_a_group_that_is_called_as_a_role_is_for_it():
    hardware = mesh(2, 4, prefill=["0-3"], decode=["4-7"])
    wanted = [one("decode", tp=2), one("prefill", tp=2), one("decode", core_group="prefill")]
    found = place_instances("in_order", hardware, wanted)
    assert [set(cores) <= set(range(4)) for cores in found] == [False, True, True]


def test_a_core_group_that_is_full():
    chip = mesh(2, 4, fast=["0-1", 6], slow=["2-5", 7])
    with pytest.raises(SpecError, match=r"instances\[1\]: each needs 2 cores .*, 1 are left"):
        place_instances("in_order", chip, [one(tp=2, core_group="fast")] * 2)


def test_a_core_group_that_is_not_there():
    with pytest.raises(SpecError, match=r"instances\[0\].core_group: must be one of all, not 'a'"):
        place_instances("in_order", mesh(2, 2), [one(core_group="a")])


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (
            [one(cores=[0]), one(cores=[1, 0], tp=2)],
            r"instances\[1\].cores: must not repeat core 0",
        ),
        ([one(cores=[3, 3], tp=2)], r"instances\[0\].cores: must not repeat core 3"),
        ([one(cores=[4])], r"instances\[0\].cores: must lie in .* not 4"),
        ([one(cores=[[2, 0]])], r"instances\[0\].cores: must lie in .* not \[2, 0\]"),
    ],
)
def test_bad_lists_of_cores(wanted, text):
    with pytest.raises(SpecError, match=text):
        place_instances("in_order", mesh(2, 2), wanted)


def test_a_place_is_where_the_user_wrote_it():
    wanted = [one(), one(), one(tp=9)]
    with pytest.raises(SpecError, match=r"instances\[1\]: each needs 9 cores .*, 2 are left"):
        place_instances("in_order", mesh(2, 2), wanted, rows=[0, 0, 1])


def test_a_list_has_as_many_cores_as_the_mapping():
    with pytest.raises(SpecError, match=r"\[0\].cores: must be 4 cores \(tp 2 x pp 2\), not 2"):
        place_instances("in_order", mesh(2, 2), [one(cores=[0, 1], tp=2, pp=2)])
