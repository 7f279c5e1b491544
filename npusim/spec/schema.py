"""A kind of file → its JSON Schema, for editors that complete and check YAML while one types."""

from typing import Any

from npusim.errors import pick


def schema(kind: str) -> dict:
    """JSON Schema (draft 2020-12) of `hardware`, `scenario` or `model` files.

    Every mapping may have a `base`, and then needs no other key. Raises SpecError for other kinds.
    """
    return pick(SCHEMAS, kind, "schema")()


def _hardware() -> dict:
    from npusim.spec.hardware import Hardware

    return _with_base(Hardware.model_json_schema())


def _scenario() -> dict:
    from npusim.spec.scenario import Scenario

    return _with_base(Scenario.model_json_schema())


def _model() -> dict:
    from npusim.spec.model import Model

    return Model.model_json_schema()


def _with_base(found: Any) -> Any:
    """The schema with a `base` key allowed in each of its mappings."""
    if isinstance(found, list):
        return [_with_base(item) for item in found]
    if not isinstance(found, dict):
        return found
    result = {key: _with_base(item) for key, item in found.items()}
    if found.get("type") == "object" and "properties" in found:
        result["properties"] = {"base": {"type": "string"}, **result["properties"]}
        required = result.pop("required", None)
        if required:
            result["anyOf"] = [{"required": ["base"]}, {"required": required}]
    return result


SCHEMAS = {"hardware": _hardware, "scenario": _scenario, "model": _model}
