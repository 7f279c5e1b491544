"""The layer table of the architecture, held by reading every import statement of the package."""

import ast
import sys
from pathlib import Path

import pytest

import npusim

PACKAGE = Path(npusim.__file__).parent
FOUNDATION = {"units", "errors", "program", "trace", "serve_trace"}
# layer: (layers it may import, third-party packages it may import)
TABLE = {
    "units": (set(), set()),
    "errors": (set(), set()),
    "program": (set(), {"numpy"}),
    "trace": ({"program"}, {"numpy"}),
    "serve_trace": (set(), {"numpy"}),
    "engine": ({"units"}, {"simpy", "numpy", "numba"}),
    "cost": ({"units"}, {"numpy", "numba"}),
    "spec": ({"units", "errors"}, {"pydantic", "pydantic_core", "ruamel"}),
    "graph": ({"spec", "units", "errors"}, {"networkx"}),
    "passes": ({"graph", "cost", "program", "spec", "units", "errors"}, {"networkx", "numpy"}),
    "machine": (FOUNDATION | {"engine", "cost", "spec"}, {"simpy", "numpy"}),
    "steps": ({"graph", "spec", "errors"}, set()),
    "simulate": ({"steps", "graph", "passes", "machine", "trace", "spec", "errors"}, set()),
    "report": (
        {"trace", "serve_trace", "spec", "cost", "units", "errors"},
        {"numpy", "plotly", "orjson", "perfetto", "vcd", "viztracer"},
    ),
    "serving": (
        FOUNDATION | {"simulate", "passes", "machine", "graph", "spec"},
        {"simpy", "numpy"},
    ),
    # above all of them: an oracle drives the piece that it is held against, alone
    "validate": (
        FOUNDATION
        | {"engine", "cost", "spec", "graph", "passes", "machine", "simulate", "serving", "report"},
        {"numpy", "numba"},
    ),
    "cli": (None, {"typer", "rich"}),
    "__main__": ({"cli"}, set()),
    "__init__": (set(), set()),
}


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.name))
def test_a_module_imports_only_what_stands_before_its_layer(path):
    layer = layer_of(path)
    layers, packages = TABLE[layer]
    for name in imports_of(path):
        top, *rest = name.split(".")
        if top == "npusim":
            target = rest[0] if rest else "__init__"
            allowed = layers is None or target in layers | {layer} or target == "__version__"
        else:
            allowed = top in packages | set(sys.stdlib_module_names)
        assert allowed, f"{path.relative_to(PACKAGE)} imports {name}"
