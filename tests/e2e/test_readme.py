"""The README shows what `npusim run` prints now; run this file to rewrite it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(<!-- quickstart: [^\n]*-->\n```\n).*?(```\n<!-- end -->)", re.S)
LEFT_OUT = ("Busiest memory channels", "Busiest NoC links")


def printed() -> str:
    """Output of the quickstart without the tables named in LEFT_OUT and without CPU seconds."""
    command = [sys.executable, "-m", "npusim", "run"]
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    parts = [part.rstrip() for part in done.stdout.split("\n\n")]
    kept = [p for p in parts if not p.startswith(LEFT_OUT) and not p.startswith("CPU ")]
    lines = [line.rstrip() for part in kept for line in [*part.splitlines(), ""]]
    return "\n".join(lines).strip() + "\n"


@pytest.mark.slow
def test_the_readme_shows_what_the_main_job_prints():
    shown = BLOCK.search(README.read_text())
    assert shown and shown[0] == shown[1] + printed() + shown[2]


if __name__ == "__main__":
    text = printed()
    README.write_text(BLOCK.sub(lambda m: m[1] + text + m[2], README.read_text()))
