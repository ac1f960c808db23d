import io
import threading
import time

import pytest
from rich.console import Console

from compress.core.progress import Silent
from compress.report.progress import Bars, Lines, on_stderr, progress_for


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def file_console() -> Console:
    return Console(file=io.StringIO(), width=100)


def wait_for(console: Console, text: str) -> bool:
    """Whether a text appears within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if text in console.file.getvalue():
            return True
        time.sleep(0.01)
    return False


def test_who_gets_what():
    assert isinstance(progress_for(terminal(), quiet=False), Bars)
    assert isinstance(progress_for(file_console(), quiet=False), Lines)
    assert isinstance(progress_for(terminal(), quiet=True), Silent)


def test_short_work_is_not_shown():
    console = terminal()
    with Bars(console, patience=60).track("train", 2) as advance:
        advance()
        advance()
    assert console.file.getvalue() == ""


def test_long_work_gets_a_bar_even_before_its_first_step():
    console = terminal()
    bars = Bars(console, patience=0.01)
    with bars.track("train", 4) as advance:
        assert wait_for(console, "0/4")
        advance(info="loss 0.41")
        assert wait_for(console, "1/4")
        assert wait_for(console, "loss 0.41")
        bars.say("a line that stays")
    assert "a line that stays" in console.file.getvalue()


def test_work_inside_work_and_work_after_it():
    console = terminal()
    bars = Bars(console, patience=0.01)
    with bars.track("outer", 2):
        assert wait_for(console, "outer")
        with bars.track("inner", 3) as advance:
            assert wait_for(console, "inner")
            advance()
    with bars.track("later", 5):
        assert wait_for(console, "later")
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_a_failure_takes_the_bar_away():
    console = terminal()
    bars = Bars(console, patience=0.01)

    def fail() -> None:
        with bars.track("train", 2):
            wait_for(console, "train")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert bars._bars.live.is_started is False


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_come_every_ten_seconds_and_tenth():
    console, clock = file_console(), Clock()
    with Lines(console, clock=clock).track("train", 100) as advance:
        for _ in range(100):
            clock.now += 1
            advance(info="loss 0.4")
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 9
    assert lines[0] == "  train: 10/100, loss 0.4, 90.0 s left"


def test_slow_work_is_not_silent_for_more_than_a_minute():
    console, clock = file_console(), Clock()
    with Lines(console, clock=clock).track("train", 1000) as advance:
        for _ in range(13):
            clock.now += 10
            advance()
    assert len(console.file.getvalue().splitlines()) == 2


def test_short_work_has_no_line():
    console = file_console()
    with Lines(console).track("train", 3) as advance:
        for _ in range(3):
            advance()
    assert console.file.getvalue() == ""


def test_a_line_is_not_wrapped_and_brackets_stay():
    console = file_console()
    Lines(console).say("[bold] " + "x" * 300)
    assert console.file.getvalue() == "[bold] " + "x" * 300 + "\n"


def test_a_run_from_python_shows_lines_on_stderr(capsys):
    progress = on_stderr()
    assert isinstance(progress, Lines)
    progress.say("01-train: taken from disk")
    shown = capsys.readouterr()
    assert (shown.out, "01-train: taken from disk" in shown.err) == ("", True)
