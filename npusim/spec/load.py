"""Names, files and `--set` texts → validated specs: `Hardware`, `Model`, `Scenario`, `Setup`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from npusim.errors import SpecError
from npusim.spec.base import Spec
from npusim.spec.checks import check_cores, check_mapping, check_memory, check_parallel
from npusim.spec.explain import explain
from npusim.spec.files import bundled, find, read_tree, with_bases
from npusim.spec.hardware import Hardware
from npusim.spec.scenario import PHASE_LENGTHS, Scenario
from npusim.spec.schema import schema
from npusim.spec.tree import Node, parse, plain, put, rooted, walk

if TYPE_CHECKING:
    from npusim.spec.model import Model

__all__ = [
    "Setup",
    "bundled",
    "load_hardware",
    "load_model",
    "load_scenario",
    "resolve",
    "schema",
]

DEFAULT_SCENARIO = "quickstart"
# kind of file → where a scenario names one
FILES = {"hardware": ["hw"], "model": ["model"], "traffic": ["traffic", "path"]}
TABLE = ["serving", "table"]  # a folder, or a bundled name that its reader finds
SpecT = TypeVar("SpecT", bound=Spec)


@dataclass(frozen=True)
class Setup:
    """A scenario with the chip and the model (None for a micro-operation) that it names."""

    scenario: Scenario
    hardware: Hardware
    model: "Model | None"


def load_hardware(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None, option: str = "--set "
) -> Hardware:
    """Chip of a file or a bundled name, with `overrides` {dotted key: value} put in last.

    Raises SpecError for anything that is not a valid chip; its place is `file:line`, or `option`
    and the key for an override.
    """
    file = find("hardware", str(name_or_path))
    root = read_tree(file, "hardware")
    if "name" not in _own_keys(file):
        root = put(root, ["name"], Node(file.stem, str(file)))
    root = _override(root, overrides or {}, option, "hardware")
    return _validate(Hardware, root)


def load_model(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None, option: str = "--set "
) -> "Model":
    """Model of a HF config.json (or the folder that holds one) or a bundled name.

    `overrides` replace keys of the config. Raises SpecError as `load_hardware` does.
    """
    from npusim.spec.model import Model

    file = find("model", str(name_or_path))
    given = read_tree(file, "model")
    root = _override(given, overrides or {}, option, "model")
    name = file.resolve().parent.name if file.stem == "config" else file.stem
    try:
        config = plain(root)
        changed = dict.fromkeys(key.split(".")[0] for key in overrides or {})
        return Model.from_config(plain(given), name, {key: config[key] for key in changed})
    except SpecError as error:
        raise SpecError(error.message, _model_place(error, root, file)) from None
    except ValidationError as error:
        raise explain(error, root, Model) from None
    except ValueError as error:
        raise SpecError(str(error), str(file)) from None


def load_scenario(
    name_or_path: str | Path | None = None,
    overrides: Sequence[str] = (),
    hw: str | None = None,
    model: str | None = None,
) -> Scenario:
    """Scenario of a file, a bundled name, or the quickstart for None.

    `overrides` are `KEY=VALUE` texts with dotted keys and YAML values; a key that begins with `hw.`
    or `model.` changes the chip or the model. `hw` and `model` replace the file's, as options do.
    `parallel.tp: auto` becomes what the chip takes.
    Raises SpecError for anything that is not a valid scenario.
    """
    file = find("scenario", str(DEFAULT_SCENARIO if name_or_path is None else name_or_path))
    root = read_tree(file, "scenario")
    for key, value in (("hw", hw), ("model", model)):
        if value is not None:
            root = put(root, [key], Node(str(value), f"--{key}"))
    for text in overrides:
        root = _set(root, text)
    return _validate(Scenario, _fitted(_files_found(root, file)))


def resolve(scenario: Scenario) -> Setup:
    """Loads the chip and the model of a scenario; checks that its cores and memory exist there,
    and that nothing is asked of the model that it does not have.

    Raises SpecError as the loaders do.
    """
    hardware = load_hardware(scenario.hw, scenario.hw_overrides, "--set hw.")
    model = None
    if scenario.model is not None:
        model = load_model(scenario.model, scenario.model_overrides, "--set model.")
    check_cores(scenario, hardware)
    check_memory(scenario, hardware)
    check_parallel(scenario, model)
    if hardware.kernels and scenario.workload.kind in ("llm", "gemm", "serve"):
        check_mapping(scenario, hardware)
    return Setup(scenario, hardware, model)


def _validate(spec: type[SpecT], root: Node) -> SpecT:
    try:
        return spec.model_validate(plain(root))
    except ValidationError as error:
        raise explain(error, root, spec) from None


def _own_keys(file: Path) -> set[str]:
    """Top-level keys that a file writes itself: a chip derived by `base` has its own name."""
    return set(parse(file.read_text("utf-8-sig"), str(file)).value)


def _override(root: Node, overrides: Mapping[str, object], option: str, kind: str) -> Node:
    for key, value in overrides.items():
        place = f"{option}{key}"
        item = with_bases(rooted(value, place), Path(), kind)
        root = put(root, _split(key, place), item)
    return root


def _split(key: str, place: str) -> list[str]:
    path = key.split(".")
    if not all(path):
        raise SpecError(f"key must be names joined by dots, not {key!r}", place)
    return path


def _set(root: Node, text: str) -> Node:
    """`root` of a scenario with one `KEY=VALUE` applied."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not (equals and key):
        raise SpecError(f"must be KEY=VALUE, not {text!r}", "--set")
    place = f"--set {key}"
    path = _split(key, place)
    item = parse(value, place, lines=False) if value.strip() else Node(None, place)
    if path[0] in ("hw", "model") and len(path) > 1:
        path = [f"{path[0]}_overrides", ".".join(path[1:])]
    else:
        item = with_bases(item, Path(), "scenario")
    root = put(root, path, item)
    return _drop_lengths(root, item.value) if path == ["workload", "phase"] else root


def _drop_lengths(root: Node, phase: object) -> Node:
    """`root` without the lengths that the workload's new phase cannot have."""
    work = root.value["workload"]
    if phase not in PHASE_LENGTHS or not isinstance(work.value, dict):
        return root
    known = {name for lengths in PHASE_LENGTHS.values() for name in lengths[0] + lengths[1]}
    gone = known.difference(*PHASE_LENGTHS[phase])
    left = {key: node for key, node in work.value.items() if key not in gone}
    return Node({**root.value, "workload": Node(left, work.place)}, root.place)


def _files_found(root: Node, file: Path) -> Node:
    """`root` with `hw`, `model` and a trace found; a path in the file is relative to that file."""
    for kind, path in FILES.items():
        node = _at(root, path)
        if node is None or not isinstance(node.value, str):
            continue
        near = None if node.place.startswith("--") else file.parent
        found = find(kind, node.value, node.place, near)
        if found not in bundled(kind).values():
            root = put(root, path, Node(str(found), node.place))
    return _table_found(root, file)


def _table_found(root: Node, file: Path) -> Node:
    """`root` with a folder of measured kernels beside the file by its path."""
    node = _at(root, TABLE)
    if node is None or not isinstance(node.value, str) or node.place.startswith("--"):
        return root
    beside = file.parent / node.value
    return put(root, TABLE, Node(str(beside), node.place)) if beside.is_dir() else root


def _at(root: Node, path: list[str]) -> Node | None:
    """Node at `path`, or None where the tree has none."""
    steps = list(walk(root, tuple(path)))
    return steps[-1][1] if len(steps) == len(path) else None


def _fitted(root: Node) -> Node:
    """`root` with a `parallel.tp: auto` as a number: one of the chips that run kernels, else all
    cores of the chip, shared by `pp` x `dp`."""
    parallel = root.value.get("parallel")
    if not parallel or not isinstance(parallel.value, dict):
        return root
    tp = parallel.value.get("tp")
    if not tp or tp.value != "auto":
        return root
    rest = put(root, ["parallel", "tp"], Node(1, tp.place))
    scenario = _validate(Scenario, rest)
    hardware = load_hardware(scenario.hw, scenario.hw_overrides, "--set hw.")
    if hardware.kernels:
        return rest
    degree = hardware.mesh.num_cores // (scenario.parallel.pp * scenario.parallel.dp)
    return put(root, ["parallel", "tp"], Node(max(1, degree), tp.place))


def _model_place(error: SpecError, root: Node, file: Path) -> str:
    """Line of the config key that a model's error names first, or the file."""
    words = error.message.replace(",", " ").replace(":", " ").split()
    key = next((word.strip("'\"") for word in words if word.strip("'\"") in root.value), None)
    return root.value[key].place if key else str(file)
