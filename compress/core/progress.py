"""Progress of long work. Stages report it; whoever runs them decides how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called after each step of a piece of work."""

    def __call__(self, steps: int = 1, *, info: str = "") -> None:
        """Report some steps. `info` is a few words on the state, such as "loss 0.41"."""
        ...


class Progress(Protocol):
    """Shows pieces of work and the time that is left for them."""

    def track(self, description: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a piece of work of `total` steps. It ends with the context."""
        ...

    def say(self, line: str) -> None:
        """Show one line that stays."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        """See `Progress.track`."""

        def advance(steps: int = 1, *, info: str = "") -> None:
            pass

        yield advance

    def say(self, line: str) -> None:
        """See `Progress.say`."""
