"""Keeps the standard streams open while foreign code, which may close them, runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_NAMES = {"stdout": "standard output", "stderr": "standard error"}
_HANDLES = {"stdout": 1, "stderr": 2}


@contextmanager
def streams_kept() -> Iterator[list[str]]:
    """Open the standard output and error again at the end if they were closed meanwhile.

    Yields
    ------
    The streams that were closed, in words; the list is filled when the context ends.
    """
    closed: list[str] = []
    copies = {name: _copy(handle) for name, handle in _HANDLES.items()}
    streams: dict[str, TextIO | None] = {name: getattr(sys, name) for name in _NAMES}
    were_open = {name for name, stream in streams.items() if stream and not stream.closed}
    try:
        yield closed
    finally:
        for name, handle in _HANDLES.items():
            copy, stream = copies[name], streams[name]
            lost = copy is not None and not _is_open(handle)
            if lost and copy is not None:
                os.dup2(copy, handle)
            if copy is not None:
                os.close(copy)
            if name in were_open and stream is not None and stream.closed:
                setattr(sys, name, _opened(handle, like=stream))
                lost = True
            elif name in were_open and getattr(sys, name) is None:
                setattr(sys, name, stream)
                lost = True
            if lost:
                closed.append(_NAMES[name])


def _copy(handle: int) -> int | None:
    """A duplicate of the handle; None if it is closed already."""
    with suppress(OSError):
        return os.dup(handle)
    return None


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def _opened(handle: int, *, like: TextIO) -> TextIO:
    encoding = getattr(like, "encoding", None) or "utf-8"
    if not _is_open(handle):
        handle = os.open(os.devnull, os.O_WRONLY)
    return open(handle, "w", encoding=encoding, errors="replace", closefd=False)
