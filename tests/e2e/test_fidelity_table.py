"""The fidelity tables are the recorded errors; run this file to rewrite them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from npusim.validate.bands import Record, read_record
from npusim.validate.table import as_markdown, as_overview

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(<!-- fidelity: [^\n]*-->\n).*?(<!-- end -->)", re.S)
TABLES: dict[str, Callable[[Record], str]] = {
    "README.md": as_overview,
    "benchmarks/fidelity.md": as_markdown,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_readme_shows_the_recorded_errors(name):
    shown = BLOCK.search((ROOT / name).read_text())
    table = TABLES[name](read_record(full=True))
    assert shown and shown[0] == shown[1] + table + shown[2]


def rewrite() -> None:
    for name, table in TABLES.items():
        text = table(read_record(full=True))
        path = ROOT / name
        path.write_text(BLOCK.sub(lambda m, t=text: m[1] + t + m[2], path.read_text()))


if __name__ == "__main__":
    rewrite()
