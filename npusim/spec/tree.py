"""YAML text → a tree of nodes that know where they were written, and edits on such trees."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

from npusim.errors import SpecError, nearest

MAX_DEPTH = 32
MAX_NODES = 100_000
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Node:
    """A value and its place (`file:line` or an option). A mapping's value is a dict of nodes, a
    list's a list of nodes, a scalar's the Python scalar."""

    value: Any
    place: str


def parse(text: str, source: str, *, lines: bool = True) -> Node:
    """The tree of one YAML 1.2 document; places are `source:line`, or `source` without lines.

    Raises SpecError for anything that is not one well-formed document of plain mappings, lists,
    numbers and texts.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}" if lines and mark else source
        what = ", ".join(_first_line(text) for text in (error.context, error.problem) if text)
        raise SpecError(f"is not YAML: {what or 'cannot be read'}", place) from None
    except YAMLError as error:
        raise SpecError(
            f"is not YAML: {_first_line(getattr(error, 'reason', error))}", source
        ) from None
    except RecursionError:
        raise SpecError(f"must not nest deeper than {MAX_DEPTH} levels", source) from None
    if root is None:
        raise SpecError("is empty", source)
    return _Converter(yaml, source, lines).convert(root, 0)


def _first_line(problem: object) -> str:
    return (str(problem or "cannot be read").strip().splitlines() or ["cannot be read"])[0]


class _Converter:
    """Turns the parser's nodes into ours; counts them, so that aliases cannot blow up."""

    def __init__(self, yaml: YAML, source: str, lines: bool):
        self.constructor = yaml.constructor
        self.source = source
        self.lines = lines
        self.num_nodes = 0

    def convert(self, node: Any, depth: int) -> Node:
        place = f"{self.source}:{node.start_mark.line + 1}" if self.lines else self.source
        self.num_nodes += 1
        if depth > MAX_DEPTH:
            raise SpecError(f"must not nest deeper than {MAX_DEPTH} levels", place)
        if self.num_nodes > MAX_NODES:
            raise SpecError(f"must not hold more than {MAX_NODES} values", place)
        if isinstance(node, MappingNode):
            return Node(self._mapping(node, depth), place)
        if isinstance(node, SequenceNode):
            return Node([self.convert(item, depth + 1) for item in node.value], place)
        return Node(self._scalar(node, place), place)

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key = self.convert(key_node, depth + 1)
            if key.value == "<<":
                raise SpecError("must not use merge keys (<<); use base: FILE", key.place)
            if not isinstance(key.value, str):
                raise SpecError(f"keys must be text, not {show(key.value)}", key.place)
            if key.value in found:
                raise SpecError(f"duplicate key {key.value!r}", key.place)
            value = self.convert(value_node, depth + 1)
            # The key's line, not the value's: a block's value starts one line later.
            found[key.value] = Node(value.value, key.place)
        return found

    def _scalar(self, node: Any, place: str) -> Any:
        kind = str(node.tag).rsplit(":", 1)[-1]
        if kind == "merge":
            return "<<"
        if not str(node.tag).startswith("tag:yaml.org,2002:"):
            raise SpecError(f"must not use tags such as {node.tag}", place)
        if kind not in ("int", "float", "bool", "null"):
            return str(node.value)
        try:
            value = self.constructor.construct_object(node)
        except (ValueError, OverflowError, YAMLError):
            raise SpecError(f"{str(node.value)[:40]!r} is not a number", place) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise SpecError(f"numbers must be finite, not {node.value}", place)
        return value


def plain(node: Node) -> Any:
    """Dicts, lists and scalars without places; a float that is whole becomes an int (`1e6`)."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    is_whole = isinstance(node.value, float) and node.value.is_integer()
    return int(node.value) if is_whole else node.value


def rooted(value: Any, place: str) -> Node:
    """Plain Python data as a tree whose nodes all stand at `place`; SpecError as in `parse`."""
    if isinstance(value, dict):
        return Node({str(key): rooted(item, place) for key, item in value.items()}, place)
    if isinstance(value, list | tuple):
        return Node([rooted(item, place) for item in value], place)
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"numbers must be finite, not {value}", place)
    return Node(value, place)


def merge(base: Node, own: Node) -> Node:
    """`own` over `base`: mappings key by key and deep; everything else, and a mapping that says
    another `kind`, replaced."""
    if not (isinstance(base.value, dict) and isinstance(own.value, dict)):
        return own
    kinds = [node.value["kind"].value for node in (base, own) if "kind" in node.value]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        return own
    merged = dict(base.value)
    for key, item in own.value.items():
        merged[key] = merge(merged[key], item) if key in merged else item
    return Node(merged, own.place)


def put(node: Node, path: list[str], item: Node) -> Node:
    """A copy of `node` with `item` merged in at `path`: keys, and indices or names in lists.

    Raises SpecError at `item.place` where the path meets something that has no keys.
    """
    if not path:
        return merge(node, item)
    key, rest = path[0], path[1:]
    if isinstance(node.value, list):
        index = _index(node.value, key, item.place)
        copy = list(node.value)
        copy[index] = put(copy[index], rest, item)
        return Node(copy, node.place)
    if node.value is None or isinstance(node.value, dict):
        children = dict(node.value or {})
        if path == ["kind"] and "kind" in children and children["kind"].value != item.value:
            return Node({"kind": item}, node.place)  # the other keys belong to the old kind
        below = children.get(key, Node({}, item.place) if rest else item)
        children[key] = put(below, rest, item)
        return Node(children, node.place)
    raise SpecError(f"{key!r} is below {show(node.value)}, which has no keys", item.place)


def _index(items: list[Node], key: str, place: str) -> int:
    names = [
        plain(item.value["name"])
        if isinstance(item.value, dict) and "name" in item.value
        else str(index)
        for index, item in enumerate(items)
    ]
    if key in names:
        return names.index(key)
    if key.isdecimal() and int(key) < len(items):
        return int(key)
    choices = ", ".join(dict.fromkeys([*map(str, names), *map(str, range(len(items)))])) or "none"
    raise SpecError(f"list item must be one of {choices}, not {key!r}{nearest(key, names)}", place)


def walk(node: Node, path: Path) -> Iterator[tuple[str | int, Node]]:
    """The steps of `path` that exist in the tree, each with its node; others are passed over."""
    for step in path:
        if isinstance(node.value, dict) and step in node.value:
            node = node.value[str(step)]
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            continue
        yield step, node


def show(value: Any) -> str:
    """A value as an error prints it: scalars in short, `a mapping`, `a list`, `nothing`."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
