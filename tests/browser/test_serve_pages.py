import pytest
from browser_driver import chromium, wait_for
from serve_cases import small_run
from ui import MARKS, check_ui

from npusim.report.serve.plots import OVER_TIME, write_plots
from npusim.report.serve.timeline import write_serve_timeline
from npusim.spec.serving import Slo

pytestmark = MARKS
COUNTS = {
    "select count(*) as n from slice": 20,
    "select count(*) as n from slice where depth > 0 or dur < 0": 0,
    "select count(*) as n from flow": 2,
    "select count(*) as n from counter_track": 6,
    "select count(*) as n from stats where severity = 'error' and value > 0": 0,
}
TRACKS = (
    *("Instance prefill0", "Instance decode0", "iterations", "KV sent", "KV received"),
    *("batch", "waiting", "Requests 0-2", "request 0", "request 1", "request 2"),
)


@pytest.mark.parametrize("name", ["serve.pftrace", "serve.json.gz"])
def test_the_ui_shows_requests_and_instances_unfolded(tmp_path, name):
    check_ui(write_serve_timeline(small_run(), tmp_path / name), tmp_path, TRACKS, COUNTS)


def test_the_plots_are_drawn_without_a_network(tmp_path):
    pytest.importorskip("plotly", reason="the plots extra is not installed")
    path = write_plots(small_run(), tmp_path / "plots.html", Slo(ttft_ms=40), "a title")
    with chromium(tmp_path / "profile") as browser:
        browser.open(path.as_uri())
        wait_for(lambda: browser.run("return document.querySelectorAll('.xy .trace').length"))
        text = browser.run("return document.body.textContent")
        assert all(name in text for name in (*OVER_TIME, "prefill0", "decode0", "goal"))
        assert browser.run("return document.title") == "a title"
        lines = "return document.querySelectorAll('.scatterlayer .js-line').length"
        assert browser.run(lines) == 10  # three distributions, three of two instances, throughput
        browser.screenshot(tmp_path / "plots.png")
