"""Progress while requests are served: one changing line on a terminal, else a line now and then."""

import io

import pytest

from npusim.cli import progress
from npusim.cli.progress import FIRST_LINE_AFTER_S, LINE_EVERY_S, Progress


class Stream(io.StringIO):
    def __init__(self, on_terminal):
        super().__init__()
        self.on_terminal = on_terminal

    def isatty(self):
        return self.on_terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: `clock.now_s`."""

    class Clock:
        now_s = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now_s)
    return Clock


def test_a_file_gets_a_line_soon_and_then_now_and_then(clock):
    stream = Stream(on_terminal=False)
    with Progress(stream, "") as shown:
        for after_s in (0.0, FIRST_LINE_AFTER_S, 1.0, LINE_EVERY_S, LINE_EVERY_S + 1.0):
            clock.now_s = 1000.0 + after_s
            shown.served("requests", int(1000 * after_s), 20_000)
    assert stream.getvalue() == "served 500 of 20,000 requests\nserved 11,000 of 20,000 requests\n"


def test_a_terminal_has_one_line_that_is_wiped_and_not_redrawn_too_often(clock):
    stream = Stream(on_terminal=True)
    with Progress(stream, "") as shown:
        for number in range(3):
            clock.now_s += 0.04
            shown.served("requests", number, 3)
    texts = stream.getvalue().split("\r\033[K")
    assert texts == ["", "served 0 of 3 requests", "served 2 of 3 requests", ""]


def test_kernels_are_announced_once_and_never_without_an_engine(clock, monkeypatch):
    announced = []
    monkeypatch.setattr(progress, "announce_compilation", announced.append)
    for engine in ("fast", ""):
        with Progress(Stream(on_terminal=False), engine) as shown:
            shown.served("requests", 0, 2)
            shown.served("requests", 1, 2)
    assert announced == ["fast"]
