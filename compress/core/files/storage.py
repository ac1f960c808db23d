"""Errors of disks that are full, read-only or not permitted: they say what couldn't be written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from compress.errors import CompressError, InputError, StageError, clipped

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OTHERS = {
    errno.EACCES,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.EPERM,
    errno.EROFS,
}
_FULL_WORDS = re.compile(r"no space left on device|storagefull|disk quota exceeded", re.IGNORECASE)
"""Words for a full disk in errors that aren't OSErrors: of safetensors, torch and Arrow."""


@contextmanager
def storing(what: str = "") -> Iterator[None]:
    """Run work that writes files; an error of the disk becomes a StageError.

    Parameters
    ----------
    what : beginning of the message, such as "01-train: ".

    Raises
    ------
    StageError : a disk is full, or can't be written. Any other error passes unchanged.
    """
    try:
        yield
    except Exception as error:
        problem = _problem(error)
        if problem is None:
            raise
        told = StageError(
            f"{what}{problem} When that is mended, run the same command again to resume."
        )
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        raise told from error


def _problem(error: Exception) -> str | None:
    """A sentence on the disk's refusal; None if the error says enough or isn't the disk's."""
    if isinstance(error, CompressError) and error.exit_code != InputError.exit_code:
        return None
    told = isinstance(error, CompressError)
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in (_FULL if told else _FULL | _OTHERS):
            # The error of a failed `open` names the file; that of a failed `write` doesn't.
            name = " a file" if each.filename is None else f" {clipped(str(each.filename))}"
            why = (each.strerror or os.strerror(each.errno or 0)).lower()
            return f"can't write or read{name}: {why}."
        if _FULL_WORDS.search(str(each)):
            return f"can't write a file: no space left on device ({type(each).__name__})."
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then those that it was raised from, the nearest first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__
