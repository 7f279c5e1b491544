"""`chips` of a hardware file: the bundled links, and what is refused."""

import pytest

from npusim.cost.interconnect import FABRICS, LOADS, link_collective_ps
from npusim.errors import SpecError
from npusim.spec.links import ALGORITHM_OPS, ALL_OPS, Chips
from npusim.spec.load import load_hardware

PARTS = {
    "nvlink3": {"count": 8},
    "nvlink3_vllm": {"count": 8},
    "nvlink4": {"count": 8},
    "pcie4": {"count": 4},
    "pcie5": {"count": 4},
    "ici4": {"count": 64, "grid": [4, 4, 4]},
}
PLAIN = {"count": 4, "topology": "ring", "link_gb_s": 100, "protocols": {"a": {"alpha_us": 1}}}


def chips(value):
    return load_hardware("tpuv4_like", {"chips": value}).chips


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("op", ALL_OPS)
def test_bundled_links_time_every_collective(part, op):
    links = chips({"base": part, **PARTS[part]})
    times = [link_collective_ps(op, 1 << power, links.count, links) for power in (8, 20, 30)]
    assert 0 < times[0] < times[1] < times[2]
    assert times[2] > (1 << 30) / 4 / links.link_gb_s * 1000  # not above a multiple of the rate


def test_a_chip_alone_has_no_chips():
    assert load_hardware("tpuv4_like").chips is None


def test_chips_are_hashable():
    assert hash(chips(PLAIN)) == hash(chips(PLAIN))


def test_spec_and_cost_know_the_same_choices():
    assert {a: set(ops) for a, ops in ALGORITHM_OPS.items()} == {
        a: set(ops) for a, ops in LOADS.items()
    }
    topologies = Chips.model_json_schema()["properties"]["topology"]["enum"]
    assert set(topologies) == {*FABRICS, "torus"}


BAD = [
    ({"topology": "torus"}, "chips.topology torus needs grid"),
    ({"grid": [2, 2]}, "chips.grid is for topology torus, not ring"),
    ({"topology": "torus", "grid": [2, 3]}, r"chips.grid must hold the 4 chips, not \[2, 3\]"),
    (
        {"protocols": {"a": {"alpha_us": 1, "ops": ["all_reduce"]}}},
        "chips.protocols must cover all_gather of any size",
    ),
    ({"protocols": {"a": {"alpha_us": 1, "max_bytes": 9}}}, "must cover all_gather of any size"),
    (
        {"protocols": {"a": {"alpha_us": 1, "algorithm": "one_shot"}}},
        "ops.1 must be one of all_reduce for one_shot, not 'all_gather'",
    ),
    (
        {
            "protocols": {
                "a": {"alpha_us": 1},
                "b": {"alpha_us": 1, "algorithm": "direct", "ops": ["all_reduce"]},
            }
        },
        "chips.protocols.b.algorithm must be ring on a ring, not direct",
    ),
    ({"link_gb_s": 0}, "chips.link_gb_s"),
    ({"protocols": {}}, "chips.protocols"),
]


@pytest.mark.parametrize("change, text", BAD)
def test_bad_chips_are_refused(change, text):
    with pytest.raises(SpecError, match=text):
        chips({**PLAIN, **change})
