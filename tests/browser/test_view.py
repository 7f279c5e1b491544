import sys
import threading
from pathlib import Path

import pytest
from browser_driver import chromium, find_chromium, wait_for

sys.path.append(str(Path(__file__).parents[1] / "report"))
from report_cases import setup, small_run

from npusim.report.timeline import write_timeline
from npusim.report.view import make_server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="chromium and chromedriver are needed"),
]
QUERY = """
    window.app.trace.engine.query({sql!r}).then(
        answer => done(Number(answer.iter({{}}).get("n"))),
        error => done(String(error)));
"""
COUNTS = {
    "select count(*) as n from slice": 20,
    "select count(*) as n from slice where depth > 0 or dur < 0": 0,
    "select count(*) as n from slice where dur = 0": 2,
    "select count(*) as n from flow": 2,
    "select count(distinct name) as n from counter_track": 3,
    "select count(*) as n from stats where severity = 'error' and value > 0": 0,
}
TRACKS = ("Chip", "Core 0,0", "Core 0,1", "array 0", "dma 0", "dma 1", "Memory", "NoC")


@pytest.fixture
def served(tmp_path):
    pytest.importorskip("viztracer", reason="the view extra is not installed")
    servers = []

    def start(name):
        run = small_run()
        run.iterations[0].trace.end_ps[4] = 360_000  # a slice that takes no time
        server, url = make_server(write_timeline(setup(), run, tmp_path / name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ["small.pftrace", "small.json.gz"])
def test_the_ui_shows_our_tracks_and_holds_every_event(served, tmp_path, name):
    with chromium(tmp_path / "profile") as browser:
        browser.open(served(name))

        def missing():
            text = browser.run("return document.body.innerText") or ""
            return [track for track in TRACKS if track not in text]

        try:
            wait_for(lambda: not missing())
        finally:
            browser.screenshot(tmp_path / f"{name}.png")
        assert missing() == []
        assert {sql: browser.run_async(QUERY.format(sql=sql)) for sql in COUNTS} == COUNTS
