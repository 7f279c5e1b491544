"""Ctrl-C while requests are served: noted, raised where that is harmless, left to others."""

import signal
import threading

import pytest

from npusim.serving.interrupt import Interrupt


def ctrl_c(*_):
    signal.raise_signal(signal.SIGINT)


def test_the_first_ctrl_c_is_only_noted():
    with Interrupt() as interrupt:
        assert not interrupt.asked
        ctrl_c()
        assert interrupt.asked


def test_the_second_one_is_raised():
    with pytest.raises(KeyboardInterrupt), Interrupt():
        ctrl_c()
        ctrl_c()


def test_what_is_prompt_stops_at_once_and_is_noted():
    with Interrupt() as interrupt:
        assert interrupt.prompt(max)(2, 3) == 3
        with pytest.raises(KeyboardInterrupt):
            interrupt.prompt(ctrl_c)(None)
        assert interrupt.asked


def test_after_a_prompt_one_has_failed_ctrl_c_is_only_noted_again():
    def fails():
        raise ValueError

    with Interrupt() as interrupt:
        with pytest.raises(ValueError):
            interrupt.prompt(fails)()
        ctrl_c()
        assert interrupt.asked


@pytest.mark.parametrize("ends", [None, ValueError])
def test_ctrl_c_is_as_before_afterwards(ends):
    try:
        with Interrupt():
            if ends:
                raise ends
    except ValueError:
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def handled_by():
    """Lets someone else handle Ctrl-C for a while."""
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_whoever_handles_or_ignores_ctrl_c_goes_on_doing_so(handled_by):
    seen = []
    for handler in (signal.SIG_IGN, lambda *_: seen.append(1)):
        handled_by(handler)
        with Interrupt() as interrupt:
            ctrl_c()
        assert not interrupt.asked and signal.getsignal(signal.SIGINT) is handler
    assert seen == [1]


def test_another_thread_has_no_ctrl_c_of_its_own():
    def serve():
        with Interrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    handlers = []
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]
