"""`npusim check`, `list` and `schema`: what files exist, what may stand in them, are they right."""

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from npusim.errors import NpusimError, SpecError, nearest, pick

SCENARIO_KEYS = {
    *("workload", "traffic", "serving", "hw", "model"),
    *("parallel", "placement", "engine", "fidelity"),
}


def check(
    names: Annotated[list[str], typer.Argument(metavar="FILE...", help="Files or bundled names.")],
) -> None:
    """Check hardware files, scenarios (with all they refer to) and model configs."""
    failures = 0
    for name in names:
        try:
            print(f"{name}: {CHECKS[kind_of(name)](name)}")
        except NpusimError as error:
            failures += 1
            print("error: " + " ".join(str(error).split()), file=sys.stderr)
    if failures:
        raise typer.Exit(SpecError.exit_code)


def is_chip(path: Path) -> bool:
    """Whether a file has a key that only chips have."""
    text = path.read_text(errors="replace")
    return bool(re.search(r"^(mesh|core_groups|memories|noc)\s*:", text, re.MULTILINE))


def kind_of(name: str) -> str:
    """`hardware`, `model` or `scenario`: by the file's suffix and keys, or where it is bundled."""
    from npusim.spec.load import bundled

    path = Path(name)
    if (path / "config.json").is_file():
        return "model"
    if not path.is_file():
        known = {known: kind for kind in CHECKS for known in bundled(kind)}
        if name not in known:
            raise SpecError(f"no such file, and not bundled{nearest(name, known)}", name)
        return known[name]
    if path.suffix == ".json":
        return "model"
    keys = re.findall(r"^(\w+)\s*:", path.read_text(errors="replace"), re.MULTILINE)
    return "scenario" if SCENARIO_KEYS & set(keys) else "hardware"


def _check_hardware(name: str) -> str:
    from npusim.spec.load import load_hardware

    mesh = load_hardware(name).mesh
    return f"ok, hardware of {mesh.rows}x{mesh.columns} cores"


def _check_model(name: str) -> str:
    from npusim.spec.load import load_model

    model = load_model(name)
    return f"ok, model of {model.num_layers} layers"


def _check_scenario(name: str) -> str:
    from npusim.spec.load import load_scenario, resolve

    setup = resolve(load_scenario(name, []))
    text = f"ok, scenario of kind {setup.scenario.workload.kind} on {setup.hardware.name}"
    if setup.scenario.traffic is None:
        return text
    from npusim.serving.serve import Server
    from npusim.serving.settle import settle
    from npusim.serving.traffic import requests_of

    requests, settled = requests_of(setup.scenario.traffic, setup.scenario.seed), settle(setup)
    Server(setup, settled, requests)  # finds its scheduler, routing and table
    return f"{text}, {len(requests)} requests to {len(settled)} instances"


def list_names(
    kind: str = typer.Argument(
        None, help="hardware, model, scenario, part, placement, partition …"
    ),
) -> None:
    """List what is bundled or may be chosen, names first; without KIND, the kinds."""
    if kind is None:
        print("\n".join(LISTS))
        return
    for line in sorted(pick(LISTS, kind, "kind")()):
        print(line)


def _bundled(kind: str) -> Callable[[], list[str]]:
    def names() -> list[str]:
        from npusim.spec.load import bundled

        return list(bundled(kind))

    return names


def _placements() -> list[str]:
    from npusim.passes.place import PLACEMENTS

    return list(PLACEMENTS)


def _partitions() -> list[str]:
    from npusim.passes.partition import PARTITIONS

    return list(PARTITIONS)


def _collectives() -> list[str]:
    from npusim.passes.collective.lower import ALGORITHMS

    return list(ALGORITHMS)


def _schedulers() -> list[str]:
    from npusim.serving.schedulers import SCHEDULERS

    return _told({name: inspect.getmodule(kind) for name, kind in SCHEDULERS.items()})


def _routings() -> list[str]:
    from npusim.serving.routing import ROUTERS

    return _told(ROUTERS)


def _told(choices: Mapping[str, Any]) -> list[str]:
    """A line a choice: its name, then the docstring's first paragraph of what `choices` has."""
    width = max(map(len, choices))
    paragraphs = [(inspect.getdoc(what) or "").partition("\n\n")[0] for what in choices.values()]
    texts = [" ".join(paragraph.split()) for paragraph in paragraphs]
    return [f"{name:{width}}  {text}" for name, text in zip(choices, texts, strict=True)]


def _suites() -> list[str]:
    from npusim.validate.suites import SUITES

    return list(SUITES)


def schema(kind: Annotated[str, typer.Argument(help="hardware, scenario or model.")]) -> None:
    """Print the JSON Schema of a kind of file, for editors."""
    import json

    from npusim.spec.load import schema as schema_of

    print(json.dumps(schema_of(kind), indent=2))


CHECKS: dict[str, Callable[[str], str]] = {
    "hardware": _check_hardware,
    "model": _check_model,
    "scenario": _check_scenario,
}
LISTS: dict[str, Callable[[], list[str]]] = {
    "hardware": _bundled("hardware"),
    "model": _bundled("model"),
    "scenario": _bundled("scenario"),
    "part": _bundled("part"),
    "traffic": _bundled("traffic"),
    "placement": _placements,
    "partition": _partitions,
    "collective": _collectives,
    "suite": _suites,
    "scheduler": _schedulers,
    "routing": _routings,
}
