"""The README shows what `npusim run` and `npusim serve` print now; run this file to rewrite it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
# block → command, and the tables that are left out
BLOCKS = {
    "quickstart": ("run", ("Busiest memory channels", "Busiest NoC links")),
    "serve": ("serve", ("Roles",)),
}


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^\n]*-->\n```\n).*?(```\n<!-- end -->)", re.S)


def printed(name: str) -> str:
    """Output of a block's command without some tables and without CPU seconds."""
    subcommand, left_out = BLOCKS[name]
    command = [sys.executable, "-m", "npusim", subcommand]
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    parts = [part.rstrip() for part in done.stdout.split("\n\n")]
    kept = [p for p in parts if not p.startswith(left_out) and not p.startswith("CPU ")]
    lines = [line.rstrip() for part in kept for line in [*part.splitlines(), ""]]
    return "\n".join(lines).strip() + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_the_readme_shows_what_the_command_prints(name):
    shown = block(name).search(README.read_text())
    assert shown and shown[0] == shown[1] + printed(name) + shown[2]


if __name__ == "__main__":
    for name in sys.argv[1:] or BLOCKS:
        text = printed(name)
        README.write_text(
            block(name).sub(lambda m, text=text: m[1] + text + m[2], README.read_text())
        )
