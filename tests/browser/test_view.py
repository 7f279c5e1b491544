import sys
from pathlib import Path

import pytest
from ui import MARKS, check_ui

sys.path.append(str(Path(__file__).parents[1] / "report"))
from report_cases import setup, small_run

from npusim.report.timeline import write_timeline

pytestmark = MARKS
COUNTS = {
    "select count(*) as n from slice": 20,
    "select count(*) as n from slice where depth > 0 or dur < 0": 0,
    "select count(*) as n from slice where dur = 0": 2,
    "select count(*) as n from flow": 2,
    "select count(distinct name) as n from counter_track": 3,
    "select count(*) as n from stats where severity = 'error' and value > 0": 0,
}
TRACKS = ("Chip", "Core 0,0", "Core 0,1", "array 0", "dma 0", "dma 1", "Memory", "NoC")


@pytest.mark.parametrize("name", ["small.pftrace", "small.json.gz"])
def test_the_ui_shows_our_tracks_and_holds_every_event(tmp_path, name):
    run = small_run()
    run.iterations[0].trace.end_ps[4] = 360_000  # a slice that takes no time
    check_ui(write_timeline(setup(), run, tmp_path / name), tmp_path, TRACKS, COUNTS)
