"""Signals that end the command: one exception that can't be lost, then an orderly end.

Python drops an exception that is raised in a finalizer or in a weak reference's callback. Foreign
code may catch it, and no handler runs while C code runs. So a signal is kept and raised again at
the next step of progress. If that has no effect, the process ends after some seconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time

TYPE_CHECKING = False  # as typing's, without importing it: an interrupt may come at any moment
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from compress.core.progress import Advance, Progress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 10.0
"""Seconds that an orderly end may take."""
AGAIN_S = 2.0
"""Seconds after which a further signal ends the process at once."""
_LAST_WORDS_S = 3.0
_DROPPED, _OVER = 254, 255
_SOON_S = 0.05


class Interrupted(KeyboardInterrupt):
    """Raised when a signal ends the command.

    Parameters
    ----------
    number : the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """The signals that this process has received.

    Attributes
    ----------
    came : the first signal that asked for the end; None before it.
    last_words : called in a thread when the process is ended without an orderly end.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self.last_words: Callable[[], object] = _nothing
        self._silent = self._dropped = False
        self._own: int | None = None
        self._process = os.getpid()
        self._before: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None
        self._unraisable = sys.unraisablehook

    def listen(self) -> None:
        """Let the first signal from now on raise `Interrupted` in the main thread.

        A signal that the process was told to ignore (`nohup`) stays ignored. In another thread than
        the main one, which alone can handle signals, this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = signal.signal(number, self._handle)
        sys.unraisablehook = self._catch_dropped
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._plug()
        os.register_at_fork(
            before=self._unplug, after_in_parent=self._plug, after_in_child=self._leave_child
        )
        threading.Thread(target=self._watch, args=(self._pipe[0],), daemon=True).start()

    def release(self, *signals: int) -> None:
        """Handle these signals as before `listen`."""
        for number in signals:
            if number in self._before:
                signal.signal(number, self._before.pop(number))

    def settle(self) -> None:
        """Raise nothing from now on; a signal is only recorded."""
        self._silent = True

    def restore(self) -> None:
        """Handle signals as before `listen`."""
        if self._pipe is None:
            return
        self._unplug()
        self.release(*SIGNALS)
        sys.unraisablehook = self._unraisable
        os.write(self._pipe[1], bytes([_OVER]))
        os.close(self._pipe[1])
        self._pipe = None

    def strike(self, number: int) -> None:
        """Act as if that signal had come; callable from any thread.

        Raises
        ------
        Interrupted : in the main thread, the first time.
        """
        first, self.came = self.came is None, self.came or number
        if not first or self._silent:
            return
        if threading.current_thread() is threading.main_thread():
            raise Interrupted(self.came)
        self._raise_soon()

    def check(self) -> None:
        """Raise an interrupt that came and was dropped.

        Raises
        ------
        Interrupted : a signal has come.
        """
        if self.came is not None:
            raise Interrupted(self.came)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # forked off just now
            self._leave_child()
            signal.raise_signal(number)
            return
        again, self._dropped = self._dropped, False
        first, self.came = self.came is None, self.came or number
        if (first or again) and not self._silent:
            raise Interrupted(self.came)

    def _catch_dropped(self, unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, Interrupted):
            self._raise_soon()
        else:
            self._unraisable(unraisable)

    def _raise_soon(self) -> None:
        """Let the watching thread raise it: raised here, in a finalizer, it would be lost again."""
        if self._pipe is not None:
            os.write(self._pipe[1], bytes([_DROPPED]))

    def _watch(self, pipe: int) -> None:
        """Run the thread that sees signals while the main thread can't."""
        number, first, deadline = 0, 0.0, None
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                self._end_now(number)
            for byte in os.read(pipe, 64):
                if byte == _OVER:
                    os.close(pipe)
                    return
                if byte == _DROPPED:
                    time.sleep(_SOON_S)
                    self._raise_in_main()
                elif byte in self._before and not self._is_again(byte):
                    if deadline is None:
                        number, first = byte, time.monotonic()
                        deadline = first + PATIENCE_S
                    elif time.monotonic() > first + AGAIN_S:
                        self._end_now(number)

    def _raise_in_main(self) -> None:
        ident = threading.main_thread().ident
        if self._before and ident is not None:
            self._own, self._dropped = next(iter(self._before)), True
            signal.pthread_kill(ident, self._own)

    def _is_again(self, number: int) -> bool:
        """Return whether the signal is the one that this thread has sent."""
        own, self._own = self._own, None
        return own == number

    def _end_now(self, number: int) -> None:
        """End the process from this thread: the main one may be anywhere, even in an import."""
        last = threading.Thread(target=self._say_last_words, daemon=True)
        last.start()
        last.join(_LAST_WORDS_S)
        os._exit(exit_code(self.came or number))

    def _say_last_words(self) -> None:
        with contextlib.suppress(OSError):
            self.last_words()

    def _plug(self) -> None:
        """Let the thread see signals."""
        if self._pipe is not None and threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)

    def _unplug(self) -> None:
        """Hide signals from the thread before a fork: else it would see the child's signals too."""
        if self._pipe is not None and threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(-1)

    def _leave_child(self) -> None:
        """Handle signals as a forked child: they don't concern this object any more."""
        if self._pipe is not None:
            self._unplug()
            self.release(*SIGNALS)
            self._pipe = None

    def watched(self, progress: Progress) -> Progress:
        """Return the progress, which raises a dropped `Interrupted` at its next step."""
        return _Watched(progress, self.check)


class _Watched:
    """A `compress.core.progress.Progress` that checks for interrupts before each line and step."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress, self._check = progress, check

    @contextlib.contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        """See `Progress.track`."""
        self._check()
        with self._progress.track(description, total) as advance:

            def checked(steps: int = 1, *, info: str = "") -> None:
                self._check()
                advance(steps, info=info)

            yield checked

    def say(self, line: str) -> None:
        """See `Progress.say`."""
        self._check()
        self._progress.say(line)


def exit_code(number: int) -> int:
    """Return the exit code of a process that a signal ended, as shells give it.

    The other codes are in `compress.errors.ExitCode`.
    """
    return 128 + number


def _nothing() -> None:
    pass
