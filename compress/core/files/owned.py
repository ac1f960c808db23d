"""What of a folder's content is whose: files known by their digest, and what is kept of others'."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from compress.core.files.atomic import file_digest
from compress.core.files.confined import inside
from compress.errors import InputError

Note = Callable[[str], None]
"""Takes a sentence for the report."""

_NAME_BYTES = 200


def is_folder(path: Path) -> bool:
    """Whether a folder, and no link to one, is there."""
    return _mode(path, stat.S_IFDIR)


def is_plain_file(path: Path) -> bool:
    """Whether a file, and no link to one, is there."""
    return _mode(path, stat.S_IFREG)


def plain_file(folder: Path, name: str) -> Path | None:
    """The file that `name` names below `folder`; None where none is, or a link is on the way."""
    try:
        path = inside(folder, name)
    except InputError:
        return None
    between = [parent for parent in path.parents if parent != folder and folder in parent.parents]
    if not all(is_folder(parent) for parent in between):
        return None
    return path if is_plain_file(path) else None


def has_digest(folder: Path, name: str, sha256: str) -> bool:
    """Whether the file is there with just that content."""
    path = plain_file(folder, name)
    return path is not None and file_digest(path) == sha256


def plain_tree(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Names below a folder, sorted: of files, of folders, and of what is neither, such as links."""
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
    """Remove the files below a folder that have the digest that is given for their name."""
    for name, sha256 in files.items():
        if has_digest(folder, name, sha256):
            (folder / name).unlink()


def remove_empty(folder: Path, names: Iterable[str]) -> None:
    """Remove those of the folders named that are empty, the deepest first."""
    for name in sorted(names, key=lambda name: name.count("/"), reverse=True):
        path = folder / name
        if is_folder(path) and not any(path.iterdir()):
            path.rmdir()


def parents_of(names: Iterable[str]) -> set[str]:
    """Folders that lead to some names, the names' own folder aside."""
    found = {parent.as_posix() for name in names for parent in Path(name).parents}
    return found - {"."}


def keep(path: Path, form: str, *, folder: Path | None = None) -> Path:
    """Give what lies at `path` a name that nothing has yet; returns it.

    Parameters
    ----------
    form : of the new name, with {name} and {number}.
    folder : where it will lie; where it is by default.
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
