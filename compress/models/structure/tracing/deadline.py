"""Stops Python work that takes too long, from whatever thread it runs in."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from compress.errors import StageError

AGAIN_S = 1.0
"""Seconds until work that swallowed the interruption is interrupted again; tidying takes less."""

_Result = TypeVar("_Result")


class _Expired(BaseException):
    """Not an Exception: what catches all exceptions on the way shall not catch this."""


def within(limit_s: float, work: Callable[[], _Result], *, what: Callable[[], str]) -> _Result:
    """The result of `work`, which runs in this thread and is interrupted after `limit_s` seconds.

    It is interrupted between two of Python's instructions: a loop is, one call into C that never
    ends is not. A second thread keeps the time, and has ended when this returns; no signal, profile
    or trace function is touched, so that this works in any thread and under any profiler.

    Parameters
    ----------
    limit_s : seconds, > 0.
    what : begins the sentence, when the time is over: "tracing Net, at 'conv1',".

    Raises
    ------
    StageError : the time was over.
    """
    clock = _Clock(limit_s)
    try:
        try:
            clock.start()
            return work()
        finally:
            clock.disarm()
    except _Expired:
        # The clock strikes again only after AGAIN_S, so that this can't be interrupted.
        clock.disarm()
        raise StageError(f"{what()} took longer than {limit_s:g} s and was stopped.") from None
    finally:
        clock.join()


class _Clock:
    """A thread that raises `_Expired` in the thread that made it."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._owner = threading.get_ident()
        self._lock = threading.Lock()
        self._armed = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="deadline")

    def start(self) -> None:
        self._thread.start()

    def disarm(self) -> None:
        """Nothing is raised any more once this has returned; what was on its way arrives here."""
        with self._lock:
            self._armed = False
        _arrive()
        self._over.set()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        end = time.monotonic() + self._limit_s
        while not self._over.wait(max(0.0, end - time.monotonic())):
            with self._lock:
                if self._armed:
                    _raise_in(self._owner)
            end = time.monotonic() + AGAIN_S


def _raise_in(thread: int) -> None:
    """Let a thread raise where it next calls something, or goes round in a loop."""
    raised = ctypes.py_object(_Expired)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def _arrive() -> None:
    """A call: Python raises in it what another thread has set. (To take it back leaves Python 3.11
    looking for it at every call, and looping for ever where a profiler runs.)
    """
