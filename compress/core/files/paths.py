"""What can be wrong with a path that a recipe names, told without reading what lies there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_LONGEST = 4096
"""Characters of a path; no system that we know takes more."""
_LONGEST_ID = 200


def file_problem(path: str | Path) -> str | None:
    """Why a path isn't a file that can be read, in a few words; None where it is one.

    Pipes, sockets and devices aren't: to open one can take forever.
    """
    mode = _mode(path)
    if isinstance(mode, str):
        return mode
    if stat.S_ISREG(mode):
        return None if os.access(path, os.R_OK) else "permission denied"
    return "is a directory" if stat.S_ISDIR(mode) else "it is a pipe or a device, not a file"


def folder_problem(path: str | Path) -> str | None:
    """Why a path isn't a folder whose files can be found, in a few words; None where it is one."""
    mode = _mode(path)
    if isinstance(mode, str):
        return mode
    if not stat.S_ISDIR(mode):
        return "it is no folder"
    return None if os.access(path, os.R_OK | os.X_OK) else "permission denied"


def exists(path: str | Path) -> bool:
    """Whether something lies there; False too where no such path can be."""
    return not isinstance(_mode(path), str)


def only_a_path(name: str) -> bool:
    """Whether a name can only be a path, not a hub id (which is short, with one slash at most)."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or len(name) > _LONGEST_ID


def home_expanded(name: str) -> Path:
    """A path whose "~" is the home folder; where there is no such user, the path as it stands."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _mode(path: str | Path) -> int | str:
    """The type bits of what lies there, or why there is nothing to be found."""
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
