"""Ctrl-C that can't be lost.

Python drops an exception that is raised in a finalizer or in a weak reference's callback, and a
KeyboardInterrupt that happens to strike there with it: the work would simply go on.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from compress.core.progress import Advance, Progress


@contextmanager
def interruptible(progress: Progress) -> Iterator[Progress]:
    """The progress, which raises KeyboardInterrupt at its next step where one was dropped.

    Where the process was told to ignore Ctrl-C (`nohup`) it goes on doing so.
    """
    before = signal.getsignal(signal.SIGINT)
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    try:
        yield _Watched(progress, check)
    finally:
        signal.signal(signal.SIGINT, before)


class _Watched:
    """See `compress.core.progress.Progress`; checks before each word and each step."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress, self._check = progress, check

    @contextmanager
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
