"""Finds what is wrong with a path that a recipe names, without reading what lies there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_LONGEST = 4096
"""Characters of a path; no known system takes more."""
_LONGEST_ID = 200


def file_problem(path: str | Path) -> str | None:
    """Reason why a path isn't a readable file, in a few words; None if it is one.

    Pipes, sockets and devices don't count as files, since opening one can take forever.
    """
    mode = _mode(path)
    if isinstance(mode, str):
        return mode
    if stat.S_ISREG(mode):
        return None if os.access(path, os.R_OK) else "permission denied"
    return "is a directory" if stat.S_ISDIR(mode) else "it is a pipe or a device, not a file"


def folder_problem(path: str | Path) -> str | None:
    """Reason why a path isn't a readable folder, in a few words; None if it is one."""
    mode = _mode(path)
    if isinstance(mode, str):
        return mode
    if not stat.S_ISDIR(mode):
        return "it is no folder"
    return None if os.access(path, os.R_OK | os.X_OK) else "permission denied"


def exists(path: str | Path) -> bool:
    """Return whether something lies there. An impossible path gives False."""
    return not isinstance(_mode(path), str)


def only_a_path(name: str) -> bool:
    """Return whether a name can't be a hub id (which is short and has at most one slash)."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or len(name) > _LONGEST_ID


def home_expanded(name: str) -> Path:
    """The path with "~" expanded to the home folder; unchanged if there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _mode(path: str | Path) -> int | str:
    """The type bits of what lies there, or the reason why nothing can be found."""
    text = str(path)
    if "\0" in text:
        return "a path can't hold a NUL character"
    if len(text) > _LONGEST:
        return f"a path of {len(text):,} characters is too long"
    try:
        return Path(path).stat().st_mode
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except ValueError as error:  # a character that the file system's encoding lacks
        return str(error)
