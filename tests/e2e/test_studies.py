"""The scripts of benchmarks/studies, each run alone at its reduced size."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "studies" / "multicore_npu"
# script: targets that hold at the reduced size whatever the machine; others may change with it
SCRIPTS = {
    "traffic": ("1", "2"),
    "strategies": (),
    "placement": (),
    "sram_hbm": ("10",),
    "coarse": ("8",),
    "pd_ratio": (),
    "heterogeneous_decode": (),
    "fusion_stages": ("14",),
    "fusion_or_split": (),
}
CASES = [
    pytest.param(name, marks=[] if name == "traffic" else [pytest.mark.slow]) for name in SCRIPTS
]


@pytest.mark.parametrize("name", CASES)
def test_a_study_prints_its_tables_and_verdicts_and_writes_its_plot(name, tmp_path):
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    verdicts = [line.split() for line in done.stdout.split("Targets\n")[1].splitlines()]
    words = [v[:2] for v in verdicts if len(v) > 1 and v[0].isdigit()]
    assert words and {word for _, word in words} <= {"agrees", "DISAGREES"}
    for target in SCRIPTS[name]:
        assert {word for number, word in words if number == target} == {"agrees"}
    assert "plotly" in (tmp_path / f"{name}.html").read_text("utf-8")


def test_every_script_is_listed_here():
    scripts = {p.stem for p in FOLDER.glob("*.py") if "main(__file__" in p.read_text("utf-8")}
    assert scripts == set(SCRIPTS)


@pytest.mark.parametrize(
    ("first", "expected"),
    (([0, 0, 4], 250), ([5, 5, 5], 0), ([0, 0, 0], None)),
)
def test_a_crossing_is_linear_between_points(first, expected, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from show import crossing

    assert crossing([100, 200, 300], first, [2, 2, 2]) == expected
