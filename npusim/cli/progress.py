"""Progress of a run → stderr: one changing line on a terminal, else a line now and then."""

import sys
import time
from typing import TextIO

LINE_EVERY_S = 10.0  # when not on a terminal
REDRAW_EVERY_S = 0.05  # on a terminal
FIRST_LINE_AFTER_S = 0.5
COMPILE_ABOUT_S = 15


class Progress:
    """Context manager whose `update(label, done, total)` shows how far a simulation is. The first
    update says whether the kernels of `engine` must be compiled."""

    def __init__(self, stream: TextIO, engine: str):
        self._stream = stream
        self._engine: str | None = engine
        self._on_terminal = stream.isatty()
        self._drawn_s = 0.0
        self._shown_s = time.monotonic() - LINE_EVERY_S + FIRST_LINE_AFTER_S

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._on_terminal:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def update(self, label: str, done: int, total: int) -> None:
        """`done` of `total` iterations are simulated, the one called `label` begins."""
        self._announce()
        text = f"simulating {label} ({done + 1} of {total})" if total > 1 else f"simulating {label}"
        self._show(text)

    def served(self, label: str, done: int, total: int) -> None:
        """`done` of `total` requests have been served."""
        self._announce()
        if not self._on_terminal or time.monotonic() - self._drawn_s >= REDRAW_EVERY_S:
            self._drawn_s = time.monotonic()
            self._show(f"served {done:,} of {total:,} {label}")

    def _announce(self) -> None:
        if self._engine:
            announce_compilation(self._engine)
            self._engine = None

    def _show(self, text: str) -> None:
        if self._on_terminal:
            self._stream.write(f"\r\033[K{text}")
            self._stream.flush()
        elif time.monotonic() - self._shown_s >= LINE_EVERY_S:
            self._shown_s = time.monotonic()
            print(text, file=self._stream, flush=True)


def announce_compilation(engine: str) -> None:
    """Says so when this run must first compile the kernels of the fast engine."""
    from npusim.engine import is_compiled

    if engine == "fast" and not is_compiled():
        print(f"compiling kernels (once, about {COMPILE_ABOUT_S} s) …", file=sys.stderr, flush=True)
