"""How long work tells how far it is. Stages report; who runs them decides how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called after each step of a piece of work."""

    def __call__(self, steps: int = 1, *, info: str = "") -> None:
        """`info` is a few words on where it stands, such as "loss 0.41"."""
        ...


class Progress(Protocol):
    """Shows pieces of work, and the time they have left."""

    def track(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a piece of work of `total` steps; ends with the context."""
        ...

    def say(self, line: str) -> None:
        """One line that stays."""
        ...


class Silent:
    """Shows nothing. The default from Python."""

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        """See `Progress.track`."""

        def advance(steps: int = 1, *, info: str = "") -> None:
            pass

        yield advance

    def say(self, line: str) -> None:
        """See `Progress.say`."""
