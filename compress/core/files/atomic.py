"""Writes files atomically: to a temporary file, which is then renamed."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

ASIDE = r"\.(?P<name>.+)\.[a-z0-9_]{8}\.partial"
"""Pattern of the temporary files' names."""


def write_bytes(path: Path, content: bytes, *, aside_in: Path | None = None) -> None:
    """Write a file so that a reader, or a crash, never sees half of it.

    Parameters
    ----------
    path : the file to write; an older one is replaced. Its folder must exist.
    aside_in : folder of the temporary file, on the same file system; the file's own by default.
        A killed process leaves a file there whose name matches `ASIDE`.

    Raises
    ------
    OSError : the file can't be written; the error names `path`.
    """
    try:
        _write_aside(path, content, folder=path.parent if aside_in is None else aside_in)
    except OSError as error:
        # The error of a failed `write` doesn't name the file.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _write_aside(path: Path, content: bytes, *, folder: Path) -> None:
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.", suffix=".partial")
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(_mode(path))
        aside.replace(path)
    finally:
        with contextlib.suppress(OSError):  # it must not replace the first error
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, aside_in: Path | None = None) -> None:
    """Write UTF-8 text as `write_bytes` does. Line ends are written as they stand."""
    write_bytes(path, text.encode("utf-8"), aside_in=aside_in)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mode(path: Path) -> int:
    """Permissions for the new file: the old one's, or those that `open` would give."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
