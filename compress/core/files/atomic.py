"""Files that are whole or not there: written aside, then renamed."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

ASIDE = r"\.(?P<name>.+)\.[a-z0-9_]{8}\.partial"
"""Pattern of the names under which files are written aside."""


def write_bytes(path: Path, content: bytes, *, aside_in: Path | None = None) -> None:
    """Write a file so that a reader, or a crash, never sees half of it.

    Parameters
    ----------
    path : where it will be; an older file there is replaced. Its folder must exist.
    aside_in : the folder where it is written first, on the same file system; its own by default.
        A killed process leaves a file there whose name matches `ASIDE`.

    Raises
    ------
    OSError : it can't be written; names `path`.
    """
    try:
        _write_aside(path, content, folder=path.parent if aside_in is None else aside_in)
    except OSError as error:
        # A failed `write` doesn't say of which file.
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
        with contextlib.suppress(OSError):  # not instead of the first error
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, aside_in: Path | None = None) -> None:
    """`write_bytes` of UTF-8 text; line ends are written as they stand."""
    write_bytes(path, text.encode("utf-8"), aside_in=aside_in)


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
