"""Trees of nodes: parsing, merging, putting."""

import pytest

from npusim.errors import SpecError
from npusim.spec.tree import Node, merge, parse, plain, put, rooted, walk


def tree(text: str) -> Node:
    return parse(text, "f")


def test_scalars_are_those_of_yaml_1_2():
    text = "[1, 1.5, 1e3, 0x10, 0o17, 1_000, no, yes, true, ~, 'x', 2026-01-01, 1:30]"
    assert plain(tree(text)) == [
        1,
        1.5,
        1000,
        16,
        15,
        1000,
        "no",
        "yes",
        True,
        None,
        "x",
        "2026-01-01",
        "1:30",
    ]


def test_places_are_the_lines_of_keys_and_items():
    root = tree("a: 1\nb:\n  c:\n    - x\n    - y\n")
    places = {step: node.place for step, node in walk(root, ("b", "c", 1))}
    assert places == {"b": "f:2", "c": "f:3", 1: "f:5"}


def test_walk_passes_over_steps_that_are_not_there():
    root = tree("a: {b: [{c: 1}]}")
    assert [step for step, _ in walk(root, ("a", "tag", "b", 0, "dict", "c", "d"))] == [
        "a",
        "b",
        0,
        "c",
    ]
    assert [step for step, _ in walk(root, ("a", "b", 1))] == ["a", "b"]


@pytest.mark.parametrize(
    ("base", "own", "merged"),
    [
        ("{a: 1, b: {c: 2}}", "{b: {d: 3}}", {"a": 1, "b": {"c": 2, "d": 3}}),
        ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
        ("{a: {b: 1}}", "{a: null}", {"a": None}),
        ("{a: 1}", "{a: {b: 1}}", {"a": {"b": 1}}),
        ("{a: {kind: x, b: 1}}", "{a: {kind: y}}", {"a": {"kind": "y"}}),
        ("{a: {kind: x, b: 1}}", "{a: {kind: x}}", {"a": {"kind": "x", "b": 1}}),
    ],
)
def test_merge(base, own, merged):
    assert plain(merge(tree(base), tree(own))) == merged


@pytest.mark.parametrize(
    ("text", "path", "value", "result"),
    [
        ("{a: 1}", "a", "2", {"a": 2}),
        ("{a: 1}", "b.c", "2", {"a": 1, "b": {"c": 2}}),
        ("{a: {b: 1}}", "a", "{c: 2}", {"a": {"b": 1, "c": 2}}),
        ("{a: [1, 2]}", "a.1", "3", {"a": [1, 3]}),
        ("[{name: x}, {name: y}]", "y.b", "3", [{"name": "x"}, {"name": "y", "b": 3}]),
        ("[{name: '1'}, {name: y}]", "1.b", "3", [{"name": "1", "b": 3}, {"name": "y"}]),
        ("{a: {kind: x, b: 1}}", "a.kind", "y", {"a": {"kind": "y"}}),
        ("{a: null}", "a.b", "1", {"a": {"b": 1}}),
    ],
)
def test_put_leaves_the_old_tree_alone(text, path, value, result):
    before = tree(text)
    same = plain(before)
    assert plain(put(before, path.split("."), tree(value))) == result
    assert plain(before) == same


def test_put_below_a_scalar_or_outside_a_list():
    item = Node(1, "--set x")
    with pytest.raises(SpecError, match=r"^--set x: 'b' is below 1, which has no keys$"):
        put(tree("{a: 1}"), ["a", "b"], item)
    with pytest.raises(SpecError, match=r"^--set x: list item must be one of 0, not '1'$"):
        put(tree("{a: [5]}"), ["a", "1"], item)
    with pytest.raises(SpecError, match=r"list item must be one of none, not '0'$"):
        put(tree("{a: []}"), ["a", "0"], item)


def test_rooted_refuses_what_is_not_finite():
    assert plain(rooted({"a": (1, [2.0])}, "p")) == {"a": [1, [2]]}
    with pytest.raises(SpecError, match=r"^p: numbers must be finite, not nan$"):
        rooted([float("nan")], "p")
