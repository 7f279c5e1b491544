"""Whatever a file or an override says: a spec or one SpecError of one line, no other error."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npusim.errors import SpecError
from npusim.spec.load import bundled, load_hardware, load_scenario, resolve

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CHIPS = [path.read_text() for path in bundled("hardware").values()]
SCENARIOS = [path.read_text() for path in bundled("scenario").values()]
WORDS = [*sorted(set(re.findall(r"[\w.]+", "".join(CHIPS + SCENARIOS)))), "nan", ".inf", "-1"]
WORDS += [
    "1e999",
    "true",
    "~",
    "''",
    "[]",
    "{}",
    "&a",
    "*a",
    "!!binary x",
    "? x",
    "- ",
    "base: hbm3",
]
PATHS = [
    "hw",
    "hw.mesh.rows",
    "hw.mesh",
    "hw.core_groups",
    "hw.core_groups.0.cores",
    "hw.memories.hbm",
    "hw.core_groups.large.core.arrays.rate",
    "hw.memories.0.ports",
    "hw.memories.0.timing.t_rfc_ns",
    "hw.noc.clock_mhz",
    "hw.name",
    "hw.base",
    "model",
    "model.hidden_size",
    "model.rope_scaling",
    "workload",
    "workload.kind",
    "workload.requests",
    "workload.prompt_tokens",
    "parallel.grid",
    "dtype",
    "seed",
    "hw_overrides",
    "model_overrides",
    "base",
    "zzz",
    "workload.0",
]
VALUES = [
    "",
    "0",
    "-1",
    "1",
    "3",
    "1e6",
    "1e300",
    "0.5",
    "true",
    "x",
    "[]",
    "{}",
    "[1]",
    "[[1, 2]]",
    "all",
    "['0-3']",
    "{kind: gemm, m: 1, k: 1, n: 1}",
    "{kind: memory, bytes: 1}",
    "{name: 3}",
    "{a: {b: c}}",
    "{base: hbm3}",
    "{base: base}",
    "&a [*a]",
    "'",
    "npu_small_core",
    "qwen3-4b",
    "9" * 400,
    "{1: 2}",
]


def loads_or_is_refused(load) -> None:
    try:
        load()
    except SpecError as error:
        assert str(error) and "\n" not in str(error)
        assert not re.search(r"pydantic|Input should|validation error|tuple\[", str(error))


def mutate(text: str, start: int, length: int, new: str) -> str:
    start = start % (len(text) + 1)
    return text[:start] + new + text[start + length :]


edits = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.integers(0, 12),
        st.sampled_from(WORDS)
        | st.text(max_size=4)
        | st.sampled_from(["\n", "  ", ": ", "\t", "#"]),
    ),
    min_size=1,
    max_size=3,
)


@SETTINGS
@given(text=st.sampled_from(CHIPS), edits=edits)
def test_any_mutated_chip(folder: Path, text: str, edits):
    for start, length, new in edits:
        text = mutate(text, start, length, new)
    (folder / "m.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    loads_or_is_refused(lambda: load_hardware("m.yaml"))


@SETTINGS
@given(text=st.sampled_from(CHIPS), word=st.sampled_from(WORDS), data=st.data())
def test_any_value_replaced_by_another(folder: Path, text: str, word: str, data):
    values = list(re.finditer(r"(?<=[:\[,] )[\w.]+", text))
    at = data.draw(st.sampled_from(values))
    (folder / "m.yaml").write_text(text[: at.start()] + word + text[at.end() :])
    loads_or_is_refused(lambda: load_hardware("m.yaml"))


@SETTINGS
@given(text=st.sampled_from(SCENARIOS), edits=edits)
def test_any_mutated_scenario(folder: Path, text: str, edits):
    for start, length, new in edits:
        text = mutate(text, start, length, new)
    (folder / "m.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    loads_or_is_refused(lambda: resolve(load_scenario("m.yaml")))


@SETTINGS
@given(
    overrides=st.lists(
        st.tuples(st.sampled_from(PATHS), st.sampled_from(VALUES)), min_size=1, max_size=3
    )
)
def test_any_overrides(overrides):
    texts = [f"{path}={value}" for path, value in overrides]
    loads_or_is_refused(lambda: resolve(load_scenario(None, texts)))


@pytest.mark.parametrize("size", [0, 1, 100, 10_000])
def test_noise(folder, size):
    (folder / "m.yaml").write_bytes(bytes((i * 7919) % 251 for i in range(size)))
    loads_or_is_refused(lambda: load_hardware("m.yaml"))
