"""Finds what a recipe's `python: package.module:name` names.

The current directory is importable for these entries: it is put last on `sys.path`, so that it
never hides an installed package.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from compress.errors import InputError, expected


@contextmanager
def current_directory_importable() -> Iterator[None]:
    """Put the current directory last on `sys.path` for a while."""
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def entry_problem(entry: str) -> str | None:
    """What is wrong with "package.module:name", found without importing anything; None: nothing."""
    module, _, name = entry.partition(":")
    parts = module.split(".")
    if not all(part.isidentifier() for part in [*parts, name]):
        return expected("python", "of the form package.module:name", entry)
    path: list[str] | None = None
    with current_directory_importable():
        for index in range(len(parts)):
            dotted = ".".join(parts[: index + 1])
            spec = getattr(sys.modules.get(dotted), "__spec__", None)
            spec = spec or PathFinder.find_spec(dotted, path)
            if spec is None:
                return f"there is no module {dotted!r} on Python's path or in {Path.cwd()}."
            path = list(spec.submodule_search_locations or ())
    return None


def import_entry(entry: str) -> Any:
    """The object that "package.module:name" names.

    Raises
    ------
    InputError : malformed, no such module, or no such name in it.
    """
    problem = entry_problem(entry)
    if problem is not None:
        raise InputError(problem)
    module_name, _, name = entry.partition(":")
    with current_directory_importable():
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise InputError(f"{entry!r} can't be imported: {error}") from error
    if not hasattr(module, name):
        raise InputError(f"module {module_name!r} has no {name!r}.")
    return getattr(module, name)


def call_entry(entry: str, arguments: dict[str, Any]) -> Any:
    """Call what "package.module:name" names.

    Raises
    ------
    InputError : it can't be found, isn't callable, or doesn't take these arguments.
    """
    factory = import_entry(entry)
    if not callable(factory):
        raise InputError(f"{entry!r} isn't callable.")
    try:
        signature: inspect.Signature | None = inspect.signature(factory)
    except ValueError:  # some built-in callables have none
        signature = None
    if signature is not None:
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise InputError(f"{entry}{signature} can't be called: {error}.") from error
    with current_directory_importable():
        return factory(**arguments)
