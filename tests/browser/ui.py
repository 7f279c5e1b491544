"""A timeline's file in the Perfetto UI of a headless browser: what it shows and what it holds."""

import threading
from contextlib import contextmanager

import pytest
from browser_driver import chromium, find_chromium, wait_for

from npusim.report.view import make_server

MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="chromium and chromedriver are needed"),
]
QUERY = """
    window.app.trace.engine.query({sql!r}).then(
        answer => done(Number(answer.iter({{}}).get("n"))),
        error => done(String(error)));
"""


@contextmanager
def served(path):
    """The URL under which `npusim view` has a file."""
    pytest.importorskip("viztracer", reason="the view extra is not installed")
    server, url = make_server(path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()


def check_ui(path, folder, tracks, counts):
    """The UI shows all `tracks`, and its queries (`counts`: SQL → n) give what they should."""
    with served(path) as url, chromium(folder / "profile") as browser:
        browser.open(url)

        def missing():
            text = browser.run("return document.body.innerText") or ""
            return [track for track in tracks if track not in text]

        try:
            wait_for(lambda: not missing())
        finally:
            browser.screenshot(folder / f"{path.name}.png")
        assert missing() == []
        assert {sql: browser.run_async(QUERY.format(sql=sql)) for sql in counts} == counts
