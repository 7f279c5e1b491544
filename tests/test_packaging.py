"""What a release holds: sdist and wheel, built from a copy without the leftovers of a checkout."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
DATA = sorted(
    str(path.relative_to(CHECKOUT))
    for top in ("hw_configs", "workloads")
    for path in (CHECKOUT / top).rglob("*")
    if path.suffix in (".yaml", ".json", ".md", ".csv", ".jsonl")
)
DATA_OF_MODULES = sorted(
    str(path.relative_to(CHECKOUT))
    for path in (CHECKOUT / "npusim").rglob("*")
    if path.suffix in (".csv", ".gz", ".json")
)
MODULES = sorted(str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "npusim").rglob("*.py"))
LEFTOVERS = (".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "out")


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Folder with the sdist, and the wheel built from it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("packaging")
    copy = shutil.copytree(
        CHECKOUT, folder / "copy", ignore=shutil.ignore_patterns(*LEFTOVERS), symlinks=True
    )
    command = [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_holds_code_chips_models_and_scenarios(dist):
    names = set(zipfile.ZipFile(next(dist.glob("*.whl"))).namelist())
    assert DATA and {f"npusim/_data/{name}" for name in DATA} <= names
    assert DATA_OF_MODULES and {*MODULES, *DATA_OF_MODULES} <= names
    assert not [n for n in names if not n.startswith(("npusim/", "npusim-"))]


@pytest.mark.slow
def test_the_sdist_builds_and_so_holds_the_data(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*DATA, *MODULES, "LICENSE", "README.md", "pyproject.toml"} <= names


@pytest.mark.slow
def test_the_wheel_runs_from_its_own_folder(dist, tmp_path):
    """Unpacked away from the checkout, it finds its own files."""
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    command = [sys.executable, "-m", "npusim", "check", "npu_large_core", "quickstart"]
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": ok, ") == 2, done.stderr


def test_every_dependency_has_a_lower_and_a_tested_upper_bound():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = [item for items in project["optional-dependencies"].values() for item in items]
    for requirement in [*project["dependencies"], *extras]:
        assert ">=" in requirement and ",<" in requirement, requirement
