"""The file that marks the folder of a run. A run changes nothing in other folders."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.core.files.sealed import is_whole, read_object, require_known, sealed
from compress.errors import InputError, clipped

MARKER = ".compress-run.json"
_SCHEMA = 1


def require_usable(root: Path) -> None:
    """Check that a folder is a run's, is empty, or can be made; write nothing.

    Raises
    ------
    InputError : it holds something else than a run, is no folder, or belongs to a later version.
    """
    with _reached(root):
        if not os.path.lexists(root):
            _require_room(root)
        elif not root.exists():
            raise InputError(f"{_shown(root)} is a link that leads nowhere. {_ANOTHER}")
        elif not root.is_dir():
            raise InputError(f"{_shown(root)} isn't a folder. {_ANOTHER}")
        elif os.path.lexists(root / MARKER):
            if not _just_begun(root):
                identity_of(root)
        elif any(root.iterdir()):
            raise InputError(
                f"{_shown(root)} isn't empty and isn't the folder of an earlier run: it has no "
                f"{MARKER}. {_ANOTHER}"
            )


def mark(root: Path) -> str:
    """Mark a folder as that of a run, if it isn't yet; return the id that the marker holds.

    Raises
    ------
    InputError : as `require_usable`, or the folder can't be written to.
    """
    require_usable(root)
    with _reached(root):
        root.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(root / MARKER) or _just_begun(root):
            text = sealed({"schema": _SCHEMA, "id": secrets.token_hex(16)})
            with (root / MARKER).open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        return identity_of(root)


def identity_of(root: Path) -> str:
    """Return the id in the marker of a run's folder.

    Raises
    ------
    InputError : there is no marker, it is a later version's, or it isn't as it was written.
    """
    path = root / MARKER
    try:
        document = read_object(path)
    except InputError as error:
        raise InputError(f"{_damaged(root)} ({error})") from error
    require_known(path, document, schema=_SCHEMA)
    identity = document.get("id")
    if not is_whole(document) or not isinstance(identity, str) or not identity:
        raise InputError(f"{_damaged(root)}")
    return identity


def _just_begun(root: Path) -> bool:
    """Return whether a run was killed before it had written anything, even its marker."""
    path = root / MARKER
    return (
        not path.is_symlink()
        and path.is_file()
        and path.stat().st_size == 0
        and [each.name for each in root.iterdir()] == [MARKER]
    )


def _require_room(root: Path) -> None:
    nearest = next(parent for parent in root.absolute().parents if os.path.lexists(parent))
    if not nearest.is_dir():
        raise InputError(
            f"{_shown(root)} can't be made: {_shown(nearest)} isn't a folder. {_ANOTHER}"
        )


@contextmanager
def _reached(root: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{_shown(root)} can't be used: {what}. {_ANOTHER}") from error


def _damaged(root: Path) -> str:
    return (
        f"{_shown(root)} can't be told to be the folder of a run: its {MARKER} isn't as it was "
        f"written. {_ANOTHER}"
    )


def _shown(path: Path) -> str:
    return clipped(str(path))


_ANOTHER = "Name another folder with --output."
