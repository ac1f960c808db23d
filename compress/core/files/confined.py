"""Paths that files from elsewhere name: they can't leave their folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from compress.errors import CompressError, InputError, clipped


def inside(
    folder: Path, name: object, *, links: bool = False, error: type[CompressError] = InputError
) -> Path:
    """The file that `name` names below `folder`; links are followed before it is judged.

    Parameters
    ----------
    folder : what the name is relative to.
    name : as a manifest, an index or an archive gives it.
    links : True lets links in the folder lead elsewhere, as those of the hub's cache do.
    error : what is raised.

    Raises
    ------
    InputError : it is no relative path, or leads out of the folder.
    """
    if not isinstance(name, str) or not name or "\0" in name or len(name) > 4096:
        raise error(f"{clipped(repr(name))} is no file name in {folder}.")
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise error(f"{clipped(repr(name))} is an absolute path; it must lie in {folder}.")
    path = folder / name
    if links:
        if ".." in PurePosixPath(name).parts or ".." in PureWindowsPath(name).parts:
            raise error(f"{clipped(repr(name))} leads out of {folder}.")
        return path
    if not path.resolve().is_relative_to(folder.resolve()) or path.resolve() == folder.resolve():
        raise error(f"{clipped(repr(name))} leads out of {folder}.")
    return path
