"""Tells our files in a folder, known by their digests, from others', which are kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from compress.core.files.atomic import file_digest
from compress.core.files.confined import inside
from compress.errors import InputError

Note = Callable[[str], None]
"""A function that takes a sentence for the report."""

_NAME_BYTES = 200


def is_folder(path: Path) -> bool:
    """Return whether the path is a folder. A link to one doesn't count."""
    return _mode(path, stat.S_IFDIR)


def is_plain_file(path: Path) -> bool:
    """Return whether the path is a file. A link to one doesn't count."""
    return _mode(path, stat.S_IFREG)


def plain_file(folder: Path, name: str) -> Path | None:
    """The file that `name` names below `folder`; None if there is none, or a link leads to it."""
    try:
        path = inside(folder, name)
    except InputError:
        return None
    between = [parent for parent in path.parents if parent != folder and folder in parent.parents]
    if not all(is_folder(parent) for parent in between):
        return None
    return path if is_plain_file(path) else None


def has_digest(folder: Path, name: str, sha256: str) -> bool:
    """Return whether the file exists and has that digest."""
    path = plain_file(folder, name)
    return path is not None and file_digest(path) == sha256


def plain_tree(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Sorted names below a folder: of files, of folders, and of everything else, such as links."""
    files, folders, others = [], [], []
    for here, inner, names in os.walk(folder):
        for name in (*inner, *names):
            path = Path(here) / name
            relative = path.relative_to(folder).as_posix()
            if is_folder(path):
                folders.append(relative)
            elif is_plain_file(path):
                files.append(relative)
            else:
                others.append(relative)
    return sorted(files), sorted(folders), sorted(others)


def remove_known(folder: Path, files: Mapping[str, str]) -> None:
    """Remove those of the named files below a folder that have the digest given for them."""
    for name, sha256 in files.items():
        if has_digest(folder, name, sha256):
            (folder / name).unlink()


def remove_empty(folder: Path, names: Iterable[str]) -> None:
    """Remove those of the named folders that are empty, the deepest first."""
    for name in sorted(names, key=lambda name: name.count("/"), reverse=True):
        path = folder / name
        if is_folder(path) and not any(path.iterdir()):
            path.rmdir()


def parents_of(names: Iterable[str]) -> set[str]:
    """Folders on the way to some names, without the folder that the names are relative to."""
    found = {parent.as_posix() for name in names for parent in Path(name).parents}
    return found - {"."}


def keep(path: Path, form: str, *, folder: Path | None = None) -> Path:
    """Move a file or folder to a name that is still free; returns the new path.

    Parameters
    ----------
    form : pattern of the new name, with {name} and {number}.
    folder : folder of the new name; the one it lies in by default.
    """
    name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    number = 1
    while os.path.lexists(
        target := (folder or path.parent) / form.format(name=name, number=number)
    ):
        number += 1
    path.rename(target)
    return target


def _mode(path: Path, kind: int) -> bool:
    try:
        return stat.S_IFMT(path.lstat().st_mode) == kind
    except (OSError, ValueError):
        return False
