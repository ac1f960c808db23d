"""Watches calls into foreign models; a watch may end the process if a call hangs."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Is told of every call into a model, which may never return."""

    def begin(self, what: str) -> None:
        """A call begins. The previous one, if there was one, has ended.

        Parameters
        ----------
        what : the call in words, such as "loading a.onnx".
        """
        ...

    def end(self) -> None:
        """The last call has ended."""
        ...


class Unwatched:
    """Sets no limit to a call. The default from Python."""

    def begin(self, what: str) -> None:
        """See `Watch.begin`."""

    def end(self) -> None:
        """See `Watch.end`."""
