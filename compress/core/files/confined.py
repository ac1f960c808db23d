"""Checks that paths named by files from elsewhere stay in their folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from compress.errors import CompressError, InputError, clipped


def inside(
    folder: Path, name: object, *, links: bool = False, error: type[CompressError] = InputError
) -> Path:
    """The file that `name` names below `folder`. Links are followed before the check.

    Parameters
    ----------
    folder : the folder that the name is relative to.
    name : the name, as a manifest, an index or an archive gives it.
    links : True lets links in the folder lead elsewhere, as those of the hub's cache do.
    error : class of the error that is raised.

    Raises
    ------
    InputError : the name isn't a relative path, or leads out of the folder.
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
