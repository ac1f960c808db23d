"""Who is told when a foreign model is about to be called, and may end the process if it hangs."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Told of every call into a model that may never return."""

    def begin(self, what: str) -> None:
        """A call begins, or the one before has ended and this one begins.

        Parameters
        ----------
        what : the call in words, such as "loading a.onnx".
        """
        ...

    def end(self) -> None:
        """No call is under way."""
        ...


class Unwatched:
    """Lets every call take its time. The default from Python."""

    def begin(self, what: str) -> None:
        """See `Watch.begin`."""

    def end(self) -> None:
        """See `Watch.end`."""
