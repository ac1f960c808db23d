"""Files that are written because an option of the command names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.files.atomic import write_text
from compress.errors import InputError, expected

if TYPE_CHECKING:
    from pathlib import Path


def require_folder(option: str, file: Path) -> None:
    """Check that a file's folder is there, before the long work begins.

    Raises
    ------
    InputError : there is no such folder, or the file is one.
    """
    try:
        fits = file.parent.is_dir() and not file.is_dir()
    except (OSError, ValueError):
        fits = False
    if not fits:
        raise InputError(expected(option, "a file in a folder that is there", str(file)))


def write_to(option: str, file: Path, text: str) -> None:
    """Write a text to the file that an option names.

    Raises
    ------
    InputError : it can't be written.
    """
    try:
        write_text(file, text)
    except OSError as error:
        raise InputError(f"{option}: can't write {file}: {error.strerror}.") from error
