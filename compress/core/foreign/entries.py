"""Finds, imports and calls the functions that a recipe names, `python: package.module:name`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from compress.core.files.atomic import file_digest
from compress.core.foreign.boundary import foreign
from compress.core.foreign.modules import current_directory_importable, find_module
from compress.core.foreign.sources import source_files
from compress.errors import CompressError, InputError, expected

_loaded: dict[str, str] = {}
"""Digest of each module's source when it was imported here, by name: Python doesn't keep it."""


def entry_problem(entry: str) -> str | None:
    """The problem of "package.module:name", or None. Nothing is imported to find it."""
    module, _, name = entry.partition(":")
    parts = module.split(".")
    if not all(part.isidentifier() for part in [*parts, name]):
        return expected("python", "of the form package.module:name", entry)
    with current_directory_importable():
        for index in range(len(parts)):
            dotted = ".".join(parts[: index + 1])
            if find_module(dotted) is None:
                return f"there is no module {dotted!r} on Python's path or in {Path.cwd()}."
    return None


def import_entry(entry: str, *, error: type[CompressError] = InputError) -> Any:
    """The object that "package.module:name" names.

    Parameters
    ----------
    error : class of the error that is raised.

    Raises
    ------
    InputError : the entry is malformed, there is no such module, it has no such name, or its import
        failed.
    """
    problem = entry_problem(entry)
    if problem is not None:
        raise error(problem)
    module_name, _, name = entry.partition(":")
    with current_directory_importable(), foreign(f"importing {entry!r}", error=error):
        try:
            module = _import(module_name)
        except ImportError as raised:
            raise error(f"{entry!r} can't be imported: {raised}") from raised
        if not hasattr(module, name):
            raise error(f"module {module_name!r} has no {name!r}.")
        return getattr(module, name)


def _import(name: str) -> ModuleType:
    """Import a module, anew if its source or that of a module it imports was changed meanwhile.

    Keys of results are digests of the sources on disk, so just these sources must run.
    """
    files = source_files(name)
    digests = {each: file_digest(file) for each, file in files.items()}
    if any(_is_other(each, file, digests[each]) for each, file in files.items()):
        for each in files:
            sys.modules.pop(each, None)
            _loaded.pop(each, None)
        importlib.invalidate_caches()
    module = importlib.import_module(name)
    for each, found in digests.items():
        if each in sys.modules:
            _loaded.setdefault(each, found)
    return module


def _is_other(name: str, file: Path, digest: str) -> bool:
    """Return whether this process imported the module of that name from another source."""
    module = sys.modules.get(name)
    if module is None:
        return False
    loaded_from = getattr(module, "__file__", None) or ""
    return _loaded.get(name, digest) != digest or Path(loaded_from).resolve() != file.resolve()


def call_entry(
    entry: str, arguments: Mapping[str, Any], *, error: type[CompressError] = InputError
) -> Any:
    """Call the function that "package.module:name" names.

    Parameters
    ----------
    error : class of the error that is raised.

    Raises
    ------
    InputError : the function can't be found, isn't callable, doesn't take these arguments, or fails
        in any way, which includes ending the program.
    """
    function = import_entry(entry, error=error)
    with current_directory_importable(), foreign(repr(entry), error=error):
        if not callable(function):
            raise error(expected(entry, "a function, or anything callable", function))
        _require_arguments(entry, function, arguments, error)
        return function(**arguments)


def _require_arguments(
    entry: str, function: Any, arguments: Mapping[str, Any], error: type[CompressError]
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in callables have no signature
        return
    try:
        signature.bind(**arguments)
    except TypeError as raised:
        raise error(f"{entry}{signature} can't be called: {raised}.") from raised
