"""The commands besides run, and what starting the program costs."""

import json
import signal
import subprocess
import sys
import time

import pytest

from npusim.serving.routing import ROUTERS
from npusim.serving.schedulers import SCHEDULERS
from npusim.spec.load import bundled


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from npusim.cli.app import exit_code; exit_code(['--help']);"
        "heavy = {'numpy', 'numba', 'simpy', 'networkx', 'pydantic', 'rich', 'ruamel'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_arguments_it_shows_its_help(npusim):
    done = npusim()
    assert done.code == 0 and "Commands:" in done.out
    assert npusim("--version").out.startswith("npusim 0.")


@pytest.mark.parametrize("kind", ["hardware", "model", "scenario", "part"])
def test_list_names_what_is_bundled(kind, npusim):
    assert npusim("list", kind).out.split() == sorted(bundled(kind))


@pytest.mark.parametrize("kind", ["placement", "partition", "collective"])
def test_list_names_choices(kind, npusim):
    assert len(npusim("list", kind).out.split()) > 2


@pytest.mark.parametrize(("kind", "table"), [("scheduler", SCHEDULERS), ("routing", ROUTERS)])
def test_list_tells_what_policies_of_serving_do(kind, table, npusim):
    lines = npusim("list", kind).out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(table)
    assert all(line.endswith(".") and len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("kind", ["hardware", "scenario", "model"])
def test_schema_is_json_schema(kind, npusim):
    assert json.loads(npusim("schema", kind).out)["type"] == "object"


@pytest.mark.parametrize("kind", ["hardware", "model", "scenario"])
def test_everything_bundled_is_right(kind, npusim):
    done = npusim("check", *bundled(kind))
    assert done.code == 0, done.err
    assert done.out.count(": ok, ") == len(bundled(kind))


def test_check_goes_on_after_a_bad_file(folder, npusim):
    done = npusim("check", "gone.yaml", "chip.yaml", "model.json", "llm.yaml")
    assert done.code == 2 and done.err.count("\n") == 1
    assert done.out.splitlines() == [
        "chip.yaml: ok, hardware of 2x2 cores",
        "model.json: ok, model of 2 layers",
        "llm.yaml: ok, scenario of kind llm on tiny",
    ]


def test_check_takes_the_folder_of_a_config(folder, npusim):
    (folder / "mine").mkdir()
    (folder / "model.json").rename(folder / "mine" / "config.json")
    assert npusim("check", "mine").out == "mine: ok, model of 2 layers\n"


def test_compare_shows_the_ratio(folder, npusim):
    npusim("run", "llm.yaml", "--out", "a")
    npusim("run", "llm.yaml", "--out", "b", "--set", "workload.prompt_tokens=64")
    same, other = npusim("compare", "a", "a"), npusim("compare", "a", "b/result.json")
    assert same.code == other.code == 0
    assert "1.000" in same.out and same.out != other.out


@pytest.mark.slow
def test_ctrl_c_ends_with_one_line_and_130(folder):
    command = [sys.executable, "-m", "npusim", "run", "llm.yaml", "--engine", "simpy"]
    command += ["--set", "workload.prompt_tokens=16384", "--out", "out"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.splitlines()[-1] == "error: interrupted"
    assert not (folder / "out").exists()
