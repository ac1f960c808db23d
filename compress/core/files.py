"""Files that are whole or not there: written aside, then renamed."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, never sees half of it.

    Parameters
    ----------
    path : where it will be; an older file there is replaced. Its folder must exist.

    Raises
    ------
    OSError : it can't be written; names `path`.
    """
    try:
        _write_aside(path, content)
    except OSError as error:
        # A failed `write` doesn't say of which file.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _write_aside(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(_mode(path))
        aside.replace(path)
    finally:
        with contextlib.suppress(OSError):  # not instead of the first error
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text; line ends are written as they stand."""
    write_bytes(path, text.encode("utf-8"))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mode(path: Path) -> int:
    """Permissions for the new file: the old one's, or what `open` would give."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
