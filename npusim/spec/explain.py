"""A pydantic ValidationError and the tree that failed → one SpecError with place and rule."""

import re
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from npusim.errors import SpecError, nearest
from npusim.spec.tree import Node, Path, plain, show, walk


def explain(error: ValidationError, root: Node, spec: type[BaseModel]) -> SpecError:
    """The error that stands first in the files, and how many more there are.

    Missing keys come last: a mistyped key is a missing one too, and its own line says more.
    """
    rows = [row for row in error.errors(include_url=False) if not _echoes(row)]
    ranked = [(row["type"] == "missing", _one(row, root, spec)) for row in rows]
    ranked.sort(key=lambda pair: (pair[0], _file_order(pair[1].place)))
    messages = list(dict.fromkeys((found.place, found.message) for _, found in ranked))
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    place, message = messages[0]
    return SpecError(message + more, place)


def _echoes(row: Any) -> bool:
    """Whether it is about a list that pydantic finds short only because an item is wrong."""
    short = row["type"] == "too_short" and isinstance(row["input"], (list, tuple))
    return short and len(row["input"]) >= row["ctx"]["min_length"]


def _file_order(place: str) -> tuple[str, int]:
    source, _, line = place.rpartition(":")
    return (source, int(line)) if line.isdecimal() else (place, 0)


def _one(row: Any, root: Node, spec: type[BaseModel]) -> SpecError:
    """One pydantic error in our words, at the place of the deepest node on its way."""
    context = row.get("ctx", {})
    loc: Path = (*row["loc"], *context.get("path", ()))
    steps = list(walk(root, loc))
    node = steps[-1][1] if steps else root
    name = ".".join(str(step) for step, _ in steps)
    if row["type"] == "union_tag_invalid":
        node = node.value.get("kind", node)
    if row["type"] in WHOLE:
        return SpecError(WHOLE[row["type"]](name, loc, spec, context), node.place)
    value = plain(node)
    if loc and loc[-1] == "[key]":
        name, _, value = name.rpartition(".")
    elif row["type"] == "at":  # its path may name keys that the file leaves to the defaults
        name = ".".join(map(str, [step for step, _ in walk(root, row["loc"])] + [*context["path"]]))
    text = _text(row["type"], context, value) or f"{row['msg'][:1].lower()}{row['msg'][1:]}"
    return SpecError(f"{name} {text}" if name else text, node.place)


def _text(kind: str, context: dict, value: Any) -> str:
    """What the value must be, and what it is; nothing for an error type that has no row here."""
    if kind == "literal_error":
        return _choice(re.findall(r"'([^']*)'", context["expected"]), value)
    if kind == "rule":
        return f"{context['text']}, not {_short(value)}"
    if kind in ("at", "value_error"):
        return str(context.get("text") or context.get("error"))
    if kind in ("too_long", "too_short") and isinstance(value, list):
        return f"{_items(context)}, not {len(value)}"
    return f"must be {RULES[kind](context)}, not {show(value)}" if kind in RULES else ""


def _short(value: object) -> str:
    text = str(value) if isinstance(value, list) else show(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _choice(choices: list[str], value: object) -> str:
    close = nearest(value, choices) if isinstance(value, str) else ""
    return f"must be one of {', '.join(choices)}, not {show(value)}{close}"


def _unknown(name: str, loc: Path, spec: type[BaseModel], context: dict) -> str:
    choices = _keys_at(spec, loc)
    close = nearest(loc[-1], choices)
    return f"unknown key {name}{close or '; known: ' + ', '.join(choices)}"


def _missing(name: str, loc: Path, spec: type[BaseModel], context: dict) -> str:
    if isinstance(loc[-1], int):
        return f"{name} must have at least {loc[-1] + 1} items"
    return f"{name}.{loc[-1]} is missing" if name else f"{loc[-1]} is missing"


def _no_kind(name: str, loc: Path, spec: type[BaseModel], context: dict) -> str:
    kinds = _kinds(_specs_at(spec, loc))
    return f"{name}.kind is missing; it must be one of {', '.join(kinds)}"


def _wrong_kind(name: str, loc: Path, spec: type[BaseModel], context: dict) -> str:
    return f"{name}.kind {_choice(_kinds(_specs_at(spec, loc)), context['tag'])}"


def _keys_at(spec: type[BaseModel], loc: Path) -> list[str]:
    """Keys that the spec at `loc` (without its last step) may have."""
    return sorted({key for found in _specs_at(spec, loc[:-1]) for key in found.model_fields})


def _specs_at(spec: type[BaseModel], loc: Path) -> list[type[BaseModel]]:
    """The spec classes that can stand at `loc`; a step may be the `kind` of a union's member."""
    specs = [spec]
    for step in loc:
        below = [
            member
            for found in specs
            if step in found.model_fields
            for member in _specs_in(found.model_fields[str(step)].annotation)
        ]
        chosen = [found for found in specs if step in _kinds([found])]
        specs = below or chosen or specs
    return specs


def _specs_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _specs_in(part)]


def _kinds(specs: list[type[BaseModel]]) -> list[str]:
    fields = [spec.model_fields["kind"] for spec in specs if "kind" in spec.model_fields]
    return [str(kind) for field in fields for kind in get_args(field.annotation)]


def _number(bound: float) -> str:
    return f"{int(bound):,}" if bound == int(bound) else f"{bound:g}"


def _items(context: dict) -> str:
    if "max_length" in context:
        return f"must have at most {context['max_length']} items"
    return f"must have at least {context['min_length']} items"


# pydantic's error type → what the value must be
RULES: dict[str, Callable[[dict], str]] = {
    "greater_than": lambda c: f"above {_number(c['gt'])}",
    "greater_than_equal": lambda c: f"at least {_number(c['ge'])}",
    "less_than": lambda c: f"below {_number(c['lt'])}",
    "less_than_equal": lambda c: f"at most {_number(c['le'])}",
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), lambda c: "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), lambda c: "a number"),
    "finite_number": lambda c: "a finite number",
    "string_type": lambda c: "text",
    "string_too_short": lambda c: "a text that is not empty",
    "string_pattern_mismatch": lambda c: "a name of letters, digits, _ and -",
    "bool_type": lambda c: "true or false",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), lambda c: "a mapping"),
    **dict.fromkeys(("tuple_type", "list_type"), lambda c: "a list"),
}

# error type → whole sentence, from the name of the place, its loc, the spec class and the context
WHOLE: dict[str, Callable[[str, Path, type[BaseModel], dict], str]] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "union_tag_not_found": _no_kind,
    "union_tag_invalid": _wrong_kind,
}
