import contextlib
import os
import signal
import time

import pytest

from compress.cli.interrupts import interruptible
from compress.core.progress import Silent


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def drop_one():
    """A Ctrl-C that goes the way of one in a finalizer."""
    with contextlib.suppress(KeyboardInterrupt):
        interrupt()


def test_a_dropped_interrupt_comes_back_at_the_next_step():
    with interruptible(Silent()) as progress, progress.track("work", 2) as advance:
        advance()
        drop_one()
        with pytest.raises(KeyboardInterrupt):
            advance(info="on")


def test_and_before_the_next_piece_of_work():
    with interruptible(Silent()) as progress:
        progress.say("begun")
        drop_one()
        with pytest.raises(KeyboardInterrupt):
            progress.say("more")
        with pytest.raises(KeyboardInterrupt), progress.track("work", 1):
            pass


def test_an_interrupt_still_strikes_at_once_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible(Silent()):
        interrupt()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_ignores_interrupts_goes_on_doing_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(Silent()) as progress:
            os.kill(os.getpid(), signal.SIGINT)
            progress.say("still here")
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
