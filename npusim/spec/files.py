"""A path or a bundled name → the file, and the file → its tree with `base:` files read in."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from npusim.errors import SpecError, nearest
from npusim.spec.tree import Node, merge, parse, rooted, show

PACKAGE = Path(__file__).parents[1]
MAX_FILE_BYTES = 4 << 20

# kind → folder below the data root, suffixes
FOLDERS = {
    "hardware": ("hw_configs", (".yaml",)),
    "part": ("hw_configs/parts", (".yaml",)),
    "model": ("workloads/models", (".json",)),
    "scenario": ("workloads/scenarios", (".yaml",)),
    "traffic": ("workloads/traffic", (".csv", ".jsonl")),
}


def data_root() -> Path:
    """Folder that holds hw_configs/ and workloads/: the wheel's, else the checkout's."""
    installed = PACKAGE / "_data"
    return installed if installed.is_dir() else PACKAGE.parent


def bundled(kind: str) -> dict[str, Path]:
    """The files that come with npusim, by name; `kind` is a row of FOLDERS."""
    if kind not in FOLDERS:
        raise SpecError(f"kind must be one of {', '.join(FOLDERS)}, not {kind!r}")
    folder, suffixes = FOLDERS[kind]
    files = sorted((data_root() / folder).glob("*"))
    return {file.stem: file for file in files if file.suffix in suffixes}


def find(kind: str, name: str, place: str = "", near: Path | None = None) -> Path:
    """File of a path (relative to the folder `near`, then to the current one) or a bundled name.

    Raises SpecError at `place` when there is none, listing the bundled names and the nearest.
    """
    folders = ([near] if near else []) + [Path()]
    for path in (folder / os.path.expanduser(name) for folder in folders):
        file = path / "config.json" if kind == "model" else path
        for candidate in (path, file):
            if _is_file(candidate, place):
                return candidate
    table = bundled(kind)
    if name in table:
        return table[name]
    if _looks_like_path(name):
        what = "a folder, not a file" if _is_folder(name) else "not there"
        raise SpecError(f"{kind} file {name!r} is {what}", place)
    choices = ", ".join(table) or "none"
    raise SpecError(
        f"{kind} must be a file or one of {choices}, not {name!r}{nearest(name, table)}", place
    )


def _looks_like_path(name: str) -> bool:
    suffixes = (".yaml", ".yml", ".json", ".csv", ".jsonl")
    return "/" in name or name.endswith(suffixes) or _is_folder(name)


def _is_folder(name: str) -> bool:
    return bool(name) and Path(name).is_dir()


def _is_file(path: Path, place: str) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise SpecError(f"file {str(path)[:60]!r}: {error.strerror}", place) from None


def read_tree(file: Path, kind: str) -> Node:
    """Tree of a YAML file or JSON model, every `base:` in it replaced by what it names.

    Raises SpecError for a file that cannot be read, is not a mapping at the top, or has a base
    that is missing or leads back to itself.
    """
    return _read(file, kind, ())


def _read(file: Path, kind: str, above: tuple[Path, ...]) -> Node:
    text = _text(file)
    node = _json(text, str(file)) if file.suffix == ".json" else parse(text, str(file))
    if not isinstance(node.value, dict):
        raise SpecError(f"must be a mapping at the top, not {show(node.value)}", node.place)
    return with_bases(node, file.parent, kind, (*above, file.resolve()))


def _text(file: Path) -> str:
    try:
        data = file.read_bytes() if file.stat().st_size <= MAX_FILE_BYTES else None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", str(file)) from None
    if data is None:
        raise SpecError(f"must be at most {MAX_FILE_BYTES} bytes", str(file))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError("is not UTF-8 text", str(file)) from None


def _json(text: str, source: str) -> Node:
    """JSON is checked by the json module, then read as YAML for the line numbers."""
    if not text.strip():
        raise SpecError("is empty", source)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"is not JSON: {error.msg}", f"{source}:{error.lineno}") from None
    except (RecursionError, ValueError):
        raise SpecError("is not JSON: nested too deep or a number too long", source) from None
    try:
        return parse(text.replace("\t", " "), source)
    except SpecError as error:
        if error.message.startswith("is not YAML"):
            return rooted(value, source)
        raise


def with_bases(node: Node, folder: Path, kind: str, above: tuple[Path, ...] = ()) -> Node:
    """`node` with every mapping's `base:` (a file or a name) read first and its own keys over it.

    `above` are the files that are being read, outermost first.
    """
    if isinstance(node.value, list):
        return Node([with_bases(i, folder, kind, above) for i in node.value], node.place)
    if not isinstance(node.value, dict) or kind == "model":
        return node
    own = {
        key: with_bases(item, folder, kind, above)
        for key, item in node.value.items()
        if key != "base"
    }
    if "base" not in node.value:
        return Node(own, node.place)
    base = node.value["base"]
    if not isinstance(base.value, str):
        raise SpecError(f"base must be a file or a name, not {show(base.value)}", base.place)
    file = _find_base(base, folder, kind)
    if file.resolve() in above:
        raise SpecError(f"base {base.value!r} leads back to itself", base.place)
    return merge(_read(file, kind, above), Node(own, node.place))


def _find_base(base: Node, folder: Path, kind: str) -> Path:
    """Beside the file, in its parts/, a bundled part, a bundled file of the same kind."""
    for where in (folder, folder / "parts"):
        for name in (base.value, f"{base.value}.yaml"):
            if _is_file(where / name, base.place):
                return where / name
    table: Mapping[str, Path] = {**bundled(kind), **bundled("part")}
    if base.value in table:
        return table[base.value]
    raise SpecError(
        f"base must be a file or one of {', '.join(table)}, not {base.value!r}"
        f"{nearest(base.value, table)}",
        base.place,
    )
