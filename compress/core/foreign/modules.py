"""Finds modules without importing anything.

What a recipe names may lie in the current directory. It is put last on `sys.path`, so that it never
hides an installed package.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


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


def find_module(name: str) -> ModuleSpec | None:
    """The spec of a module; neither it nor a package around it is imported.

    Parameters
    ----------
    name : "package.module"; the current directory is searched if it is importable.
    """
    found: ModuleSpec | None = None
    path: Sequence[str] | None = None
    parts = name.split(".")
    for index, part in enumerate(parts):
        dotted = ".".join(parts[: index + 1])
        found = _find(dotted, part, path) or getattr(sys.modules.get(dotted), "__spec__", None)
        if found is None:
            return None
        path = list(found.submodule_search_locations or ())
    return found


def _find(dotted: str, part: str, path: Sequence[str] | None) -> ModuleSpec | None:
    # Only the last part: for the whole name Python would need the package to be imported.
    found = PathFinder.find_spec(part, path)
    if found is not None:
        return found
    for finder in sys.meta_path:  # built-in modules, and packages that are installed as editable
        if finder is not PathFinder and hasattr(finder, "find_spec"):
            found = finder.find_spec(dotted, path)
            if found is not None:
                return found
    return None
