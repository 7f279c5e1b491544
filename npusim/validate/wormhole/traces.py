"""Data files → recorded NoC traces of Wormhole: which tile read what from which tile, and when.

Cycles count from a trace's first event, the start of its first kernel. The published golden figure
of a trace is the cycle of its last event, the end of a kernel's last read barrier, less 20 (tt-npe,
npeWorkloadIngest.cpp): both files hold that, and a test checks it.
"""

from dataclasses import dataclass

import numpy as np

from npusim.validate.data import read_rows
from npusim.validate.wormhole.chip import COLUMNS


@dataclass(frozen=True)
class Trace:
    """A kernel's reads, one row each: NoC, cycle at which the reader issued it, tiles, bytes."""

    name: str
    noc: np.ndarray
    cycle: np.ndarray
    source: np.ndarray
    reader: np.ndarray
    bytes: np.ndarray
    span_cycles: int
    golden_cycles: int
    tt_npe_cycles: int
    tt_npe_no_congestion_cycles: int


def read_traces() -> list[Trace]:
    """All 36 traces, in the order of their names."""
    found = []
    reads = read_rows("wormhole_noc_reads.csv.gz")
    for row in read_rows("wormhole_noc_traces.csv"):
        own = [read for read in reads if read["trace"] == row["trace"]]

        def column(name: str, own=own) -> np.ndarray:
            return np.array([int(read[name]) for read in own], dtype=np.int64)

        found.append(
            Trace(
                name=row["trace"],
                noc=column("noc"),
                cycle=column("cycle"),
                source=column("source_y") * COLUMNS + column("source_x"),
                reader=column("reader_y") * COLUMNS + column("reader_x"),
                bytes=column("bytes"),
                **{name: int(row[name]) for name in row if name != "trace"},
            )
        )
    return found
