"""The process in which foreign ONNX files are loaded and called; `apart` starts it.

It is told what to do in a line of JSON, and answers in lines of JSON. A timer of the system ends it
when a call takes too long, whatever code is running then.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from compress.core.foreign.boundary import described
from compress.core.progress import Advance
from compress.errors import CompressError
from compress.measurement.child.watch import Watch

Work = Callable[[Mapping[str, Any], Watch, "Told"], None]
"""What is done: with plain JSON, the watch to tell of calls, and whom to tell results."""

WORDS = 512
"""Bytes of the file in which the call under way stands."""
_DIE_WITH_PARENT = 1  # see prctl(2), PR_SET_PDEATHSIG


def serve(answers: int, calls: int, parent: int) -> None:
    """Do what the standard input says, and end.

    Parameters
    ----------
    answers : the pipe for answers.
    calls : the file in which the call under way is named.
    parent : the process that waits.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked too, and ends this one
    _end_with(parent)
    told = Told(answers)
    try:
        asked = json.loads(sys.stdin.buffer.readline())
        _bound_memory()
        module, _, name = asked["work"].partition(":")
        work: Work = getattr(importlib.import_module(module), name)
        work(asked["given"], Alarm(asked["limit_s"], calls), told)
    except CompressError as error:
        told.tell("error", [type(error).__name__, str(error)])
    except MemoryError:
        told.tell("error", ["StageError", "there isn't enough memory for it."])
    except Exception as error:  # noqa: BLE001 (the parent raises it)
        told.tell("fault", [described(error), traceback.format_exc()])


class Alarm:
    """A `Watch` that lets the system end this process when a call takes too long.

    Parameters
    ----------
    limit_s : seconds of a call.
    calls : the file in which the call under way is named.
    """

    def __init__(self, limit_s: float, calls: int) -> None:
        self._limit_s, self._calls = limit_s, calls
        self._words: dict[str, bytes] = {}

    def begin(self, what: str) -> None:
        """See `Watch.begin`; two system calls."""
        if what not in self._words:
            words = what.encode("utf-8", "surrogateescape")[:WORDS]
            self._words[what] = words.ljust(WORDS, b"\0")
        os.pwrite(self._calls, self._words[what], 0)
        signal.setitimer(signal.ITIMER_REAL, self._limit_s)

    def end(self) -> None:
        """See `Watch.end`."""
        signal.setitimer(signal.ITIMER_REAL, 0)


class Told:
    """Sends the parent lines of JSON; a `Progress`, which the parent shows.

    Parameters
    ----------
    pipe : to the parent.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "wb", buffering=0)

    def tell(self, kind: str, content: Any) -> None:
        """One line: of the kinds "item", "error", "fault", and those of progress."""
        self._pipe.write(json.dumps([kind, content]).encode("ascii") + b"\n")

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        """See `Progress.track`."""
        self.tell("track", [description, total])

        def advance(steps: int = 1, *, info: str = "") -> None:
            self.tell("advance", [steps, info])

        yield advance
        self.tell("tracked", None)

    def say(self, line: str) -> None:
        """See `Progress.say`."""
        self.tell("say", line)


def _end_with(parent: int) -> None:
    """Let the system end this process when its parent has ended, however that came."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _bound_memory() -> None:
    """No more than is free now: a model that wants more gets an error, not all of the machine."""
    import psutil

    free = psutil.virtual_memory().available
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        free = min(free, most)
    resource.setrlimit(resource.RLIMIT_DATA, (free, most))
