"""The copies of reference figures: each is described, and its rows are read by name."""

import pytest

from npusim.validate.data import FOLDER, read_rows

FILES = sorted(path.name for path in FOLDER.iterdir() if ".csv" in path.suffixes)


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_a_source_and_rows_of_one_width(name):
    assert f"`{name}`" in (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = read_rows(name)
    assert rows and all(None not in row and None not in row.values() for row in rows)
