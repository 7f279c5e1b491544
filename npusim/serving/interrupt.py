"""Ctrl-C → an end between two events, so that what was served until then is whole."""

import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Interrupt:
    """Context manager. While it is open the first Ctrl-C is only noted (`asked`), unless one of the
    functions of `prompt` runs, which it stops at once with KeyboardInterrupt; a second one is
    raised wherever it comes.

    Does nothing outside the main thread, and where someone else handles or ignores Ctrl-C.
    """

    def __init__(self) -> None:
        self.asked = False
        self._raises = False
        self._installed = False

    def __enter__(self) -> "Interrupt":
        ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if ours and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def prompt(self, work: Callable[..., T]) -> Callable[..., T]:
        """`work`, which may take long and changes nothing that a user is shown."""

        def interruptible(*arguments: Any) -> T:
            self._raises = True
            try:
                return work(*arguments)
            finally:
                self._raises = False

        return interruptible

    def _note(self, number: int, frame: object) -> None:
        raises, self.asked = self._raises or self.asked, True
        if raises:
            raise KeyboardInterrupt
