"""Headless Chromium by the WebDriver protocol: plain JSON over HTTP to chromedriver."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1600,1200",
]


def find_chromium() -> tuple[str, str] | None:
    """Paths of browser and driver, None when one is missing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    browser = browser or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One session of one page."""

    def __init__(self, base: str, session: str):
        self._base, self._session = base, session

    def open(self, url: str) -> None:
        call(f"{self._base}/session/{self._session}/url", {"url": url})

    def run(self, script: str):
        body = {"script": script, "args": []}
        return call(f"{self._base}/session/{self._session}/execute/sync", body)

    def run_async(self, script: str):
        """Runs a script that calls `done(value)`."""
        text = "const done = arguments[arguments.length - 1];" + script
        path = f"{self._base}/session/{self._session}/execute/async"
        return call(path, {"script": text, "args": []})

    def screenshot(self, path) -> None:
        data = call(f"{self._base}/session/{self._session}/screenshot")
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        call(f"{self._base}/session/{self._session}", method="DELETE")


def call(url: str, body: dict | None = None, method: str | None = None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        return json.load(answer)["value"]


@contextlib.contextmanager
def chromium(profile):
    """A Browser with an empty profile, for as long as the context lasts."""
    found = find_chromium()
    assert found
    binary, driver = found
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: call(f"{base}/status")["ready"])
        options = {"binary": binary, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wishes = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        browser = Browser(base, call(f"{base}/session", wishes)["sessionId"])
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for(condition, timeout_s: float = 60):
    """The first true value of `condition()`; AssertionError when there is none in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.1)
    raise AssertionError(f"not true within {timeout_s} s")
