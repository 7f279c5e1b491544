"""Name of a reference file in `data/` → its rows."""

import csv
import gzip
from pathlib import Path

FOLDER = Path(__file__).parent / "data"


def read_rows(name: str) -> list[dict[str, str]]:
    """Rows of `data/<name>`, a CSV with a header; lines that begin with # are left out. A name that
    ends in .gz is of a compressed one."""
    opened = gzip.open if name.endswith(".gz") else open
    with opened(FOLDER / name, mode="rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))
