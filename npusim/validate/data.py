"""Name of a reference file in `data/` → its rows."""

import csv
from pathlib import Path

FOLDER = Path(__file__).parent / "data"


def read_rows(name: str) -> list[dict[str, str]]:
    """Rows of `data/<name>`, a CSV with a header; lines that begin with # are left out."""
    with open(FOLDER / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
