"""The standard streams of the command, whose reader may close them."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NAMES = ("stdout", "stderr")
_GONE = {errno.EPIPE: signal.SIGPIPE, errno.EIO: signal.SIGHUP}


def guard(strike: Callable[[int], None]) -> None:
    """Let stdout and stderr call `strike` instead of raising when nobody reads them any more.

    A character that a terminal can't show becomes "?".

    Parameters
    ----------
    strike : called once for each stream, with the number of the signal for a closed pipe.
    """
    for name in _NAMES:
        before = getattr(sys, name)
        raw = _Guarded(before, f"<{name}>", strike)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=before.encoding,
            errors="replace",
            line_buffering=before.line_buffering,
            write_through=name == "stderr",
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


class _Guarded(io.RawIOBase):
    """A raw stream that writes to another stream's file as long as that can be written to.

    Parameters
    ----------
    before : the other stream; it is kept, as its file would be closed with it.
    """

    def __init__(self, before: Any, name: str, strike: Callable[[int], None]) -> None:
        before.flush()
        self._before, self._strike, self._broken = before, strike, False
        self.name = name

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Return the file number of the other stream."""
        return int(self._before.fileno())

    def isatty(self) -> bool:
        """Return whether the other stream is a terminal."""
        return bool(self._before.isatty())

    def write(self, data: ReadableBuffer, /) -> int:
        """Write data; return the number of bytes, even if nobody reads them.

        Raises
        ------
        CompressError : stdout can't be written for another reason, such as a full disk. (For
            stderr there is no place to report it.)
        """
        size = memoryview(data).nbytes
        while not self._broken:
            try:
                return os.write(self.fileno(), data)
            except BlockingIOError:
                select.select([], [self.fileno()], [])
            except OSError as error:
                self._broken = True
                if error.errno in _GONE:
                    self._strike(_GONE[error.errno])
                elif self.name == "<stdout>" and _in_main_thread():
                    raise CompressError(f"can't write to {self.name}: {error.strerror}.") from error
        return size


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
