"""The process in which foreign ONNX files are loaded and called. `apart` starts it.

It gets its work as a line of JSON, and answers in lines of JSON. A timer of the system ends it when
a call takes too long, whatever code is running then.
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
"""The work: a function of its arguments (plain JSON), the watch of calls, and the results' sink."""

WORDS = 512
"""Bytes of the file that names the current call."""
_DIE_WITH_PARENT = 1  # see prctl(2), PR_SET_PDEATHSIG


def serve(answers: int, calls: int, parent: int) -> None:
    """Do the work that the standard input names, and end.

    Parameters
    ----------
    answers : handle of the pipe for answers.
    calls : handle of the file that names the current call.
    parent : id of the process that waits.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C too, and ends this one
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
    limit_s : longest time of a call, in seconds.
    calls : handle of the file that names the current call.
    """

    def __init__(self, limit_s: float, calls: int) -> None:
        self._limit_s, self._calls = limit_s, calls
        self._words: dict[str, bytes] = {}

    def begin(self, what: str) -> None:
        """See `Watch.begin`. It takes two system calls."""
        if what not in self._words:
            words = what.encode("utf-8", "surrogateescape")[:WORDS]
            self._words[what] = words.ljust(WORDS, b"\0")
        os.pwrite(self._calls, self._words[what], 0)
        signal.setitimer(signal.ITIMER_REAL, self._limit_s)

    def end(self) -> None:
        """See `Watch.end`."""
        signal.setitimer(signal.ITIMER_REAL, 0)


class Told:
    """Sends lines of JSON to the parent. It is also a `Progress`, which the parent shows.

    Parameters
    ----------
    pipe : handle of the pipe to the parent.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "wb", buffering=0)

    def tell(self, kind: str, content: Any) -> None:
        """Send one line; its kind is "item", "error", "fault", or one of progress."""
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
    """Let the system end this process when its parent has ended in any way."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _bound_memory() -> None:
    """Limit the memory to what is free now: a model that needs more gets an error."""
    import psutil

    free = psutil.virtual_memory().available
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY:
        free = min(free, most)
    resource.setrlimit(resource.RLIMIT_DATA, (free, most))
