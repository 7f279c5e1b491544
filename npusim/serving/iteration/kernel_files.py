"""A folder of measured kernel times → their points by kernel, every bad line refused by its place.

The format is that of LLMServingSim's profiler (github.com/casys-kaist/LLMServingSim): `meta.yaml`
and, in the folder itself or in `tp1`, `tp2` … for each degree of tensor parallelism,

* `dense.csv`: layer, tokens, time_us;
* `per_sequence.csv`: layer, sequences, time_us;
* `attention.csv`: prefill_chunk, kv_prefill, n_decode, kv_decode, time_us.

`workloads/tables` holds the bundled ones.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TypeGuard

from npusim.errors import SpecError, nearest
from npusim.spec.files import data_root
from npusim.spec.model import Model
from npusim.spec.tree import Node, parse, show

BUNDLED = "workloads/tables"
ATTENTION_KEYS = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
ATTENTION_ONLY = {"layer": "attention", "decode_q_len": "1"}  # columns of later versions
IN_A_LAYER = {
    "layernorm": 2,
    "qkv_proj": 1,
    "qk_norm": 1,
    "rotary_emb": 1,
    "o_proj": 1,
    "gate_up_proj": 1,
    "act_fn": 1,
    "down_proj": 1,
}  # dense kernels → how often a layer runs them
ONCE = ("embedding", "final_layernorm")
OF_SEQUENCES = ("lm_head", "sampler")
WEIGHTS = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
MODEL_FIELDS = {
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "vocab_size": "vocab_size",
}

Points = dict[float, float]  # coordinate → µs
At = tuple[float, float, float, float]


@dataclass(frozen=True)
class KernelFiles:
    """Points of each dense kernel by tokens, of each per-sequence one by sequences, of attention
    by (prefill chunk, KV before it, decodes, KV of a decode); and where they are from."""

    folder: Path
    dense: dict[str, Points]
    sequence: dict[str, Points]
    attention: dict[At, float]


def read_kernels(path: str | Path, model: Model, tp: int = 1) -> KernelFiles:
    """All kernels of a folder, measured for `model` at `tp`.

    Raises SpecError at `file:line` for what is missing, malformed, measured twice, or measured for
    another model.
    """
    folder = find_folder(path)
    _check_meta(folder / "meta.yaml", model, tp)
    own = folder / f"tp{tp}"
    files = own if own.is_dir() else folder
    return KernelFiles(
        folder,
        _by_layer(files / "dense.csv", "tokens", (*IN_A_LAYER, *ONCE), WEIGHTS),
        _by_layer(files / "per_sequence.csv", "sequences", OF_SEQUENCES, ("lm_head",)),
        _attention(files / "attention.csv"),
    )


def find_folder(path: str | Path) -> Path:
    """The folder of a path or of a bundled table's name."""
    if Path(path).is_dir():
        return Path(path)
    found = sorted(folder.name for folder in (data_root() / BUNDLED).iterdir())
    if str(path) in found:
        return data_root() / BUNDLED / path
    choices = f"{', '.join(found)}, not {str(path)!r}{nearest(path, found)}"
    raise SpecError(f"must be a folder of measured kernels or one of {choices}", "serving.table")


def _check_meta(file: Path, model: Model, tp: int) -> None:
    """Refuses a table of another model or without this tensor parallelism."""
    meta = parse(_text(file), str(file))
    if not isinstance(meta.value, dict):
        raise SpecError(f"must be a mapping, not {show(meta.value)}", meta.place)
    degrees = meta.value.get("tp_degrees")
    measured = [node.value for node in degrees.value] if _holds(degrees, list) else [1]
    if tp not in measured:
        place = degrees.place if degrees else str(file)
        raise SpecError(f"has tensor parallelism {', '.join(map(str, measured))}, not {tp}", place)
    for key, node in _overrides(meta).items():
        field = MODEL_FIELDS.get(key)
        if field and node.value != getattr(model, field):
            ours = f"{model.name} has {getattr(model, field)}"
            raise SpecError(f"is measured with {key} {show(node.value)}, {ours}", node.place)


def _overrides(meta: Node) -> dict[str, Node]:
    """Keys of the model's config that the measurement was made with."""
    engine = meta.value.get("engine_effective")
    found = engine.value.get("hf_overrides") if _holds(engine, dict) else None
    return found.value if _holds(found, dict) else {}


def _holds(node: Node | None, kind: type) -> TypeGuard[Node]:
    return node is not None and isinstance(node.value, kind)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SpecError(f"cannot be read: {why}", str(file)) from None


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells of each line; refuses a header without one of the columns."""
    lines = _text(file).splitlines()
    reader = csv.DictReader(lines)
    header = reader.fieldnames or []
    for name in columns:
        if name not in header:
            raise SpecError(f"has no column {name}{nearest(name, header)}", f"{file}:1")
    for row in reader:
        place = f"{file}:{reader.line_num}"
        if None in row or None in row.values():
            raise SpecError(f"must have {len(header)} cells", place)
        yield place, row
    if reader.line_num < 2:
        raise SpecError("has no rows", str(file))


def _by_layer(
    file: Path, key: str, known: tuple[str, ...], needed: tuple[str, ...]
) -> dict[str, Points]:
    """Points of each kernel; refuses those that are not known, and a file without needed ones."""
    found: dict[str, Points] = {}
    for place, row in _rows(file, ("layer", key, "time_us")):
        layer = row["layer"]
        if layer not in known:
            choices = f"{', '.join(known)}, not {layer!r}{nearest(layer, known)}"
            raise SpecError(f"layer must be one of {choices}", place)
        at = _number(row, key, place)
        if found.setdefault(layer, {}).setdefault(at, time := _time_us(row, place)) != time:
            raise SpecError(f"{layer} is measured twice at {key} {row[key]}", place)
    if missing := [layer for layer in needed if layer not in found]:
        raise SpecError(f"has no times of {', '.join(missing)}", str(file))
    return found


def _attention(file: Path) -> dict[At, float]:
    """Points of attention; refuses a file without prefill, decodes, or both at once."""
    points: dict[At, float] = {}
    for place, row in _rows(file, (*ATTENTION_KEYS, "time_us")):
        for column, only in ATTENTION_ONLY.items():
            if row.get(column, only) != only:
                text = f"{column} must be {only}, not {row[column]!r}: other kernels are not known"
                raise SpecError(text, place)
        chunk, before, decodes, context = [_number(row, key, place) for key in ATTENTION_KEYS]
        at = (chunk, before, decodes, context)
        if points.setdefault(at, time := _time_us(row, place)) != time:
            written = ", ".join(f"{key} {row[key]}" for key in ATTENTION_KEYS)
            raise SpecError(f"is measured twice: {written}", place)
    kinds = {(bool(chunk), bool(decodes)) for chunk, _, decodes, _ in points}
    for kind, what in (
        ((True, False), "prefill alone"),
        ((False, True), "decodes alone"),
        ((True, True), "decodes beside prefill"),
    ):
        if kind not in kinds:
            raise SpecError(f"has no rows of {what}", str(file))
    return points


def _time_us(row: dict[str, str], place: str) -> float:
    time_us = _number(row, "time_us", place)
    if time_us == 0:
        raise SpecError("time_us must be above 0", place)
    return time_us


def _number(row: dict[str, str], column: str, place: str) -> float:
    """A cell as a number of at least 0."""
    try:
        value = float(row[column])
    except ValueError:
        value = -1.0
    if not (isfinite(value) and value >= 0):
        raise SpecError(f"{column} must be a number of at least 0, not {row[column]!r}", place)
    return value
