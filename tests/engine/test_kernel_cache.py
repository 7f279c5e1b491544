"""Where compiled kernels are kept: a folder that changes with any source of theirs."""

from pathlib import Path

import pytest

from npusim.engine.cache import cache_dir
from npusim.validate.noc import flits


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    return tmp_path


def test_same_sources_have_the_same_place(folder):
    assert cache_dir(folder) == cache_dir(folder) != cache_dir()


@pytest.mark.parametrize("name", ["a.py", "b.py", "c.py"])
def test_an_edit_of_any_source_moves_it(folder, name):
    before = cache_dir(folder)
    (folder / name).write_text("# edited\n")
    assert cache_dir(folder) != before


def test_a_reference_simulator_is_kept_by_the_sources_of_its_own_folder():
    kept = Path(flits.run_cycles.stats.cache_path)
    assert cache_dir(Path(flits.__file__).parent) in kept.parents
