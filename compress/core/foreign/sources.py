"""A digest of the code behind a function or a class: its module, and the modules that it imports.

Modules are found through the `import` statements in their sources, without importing anything, so
that the digest is the same in every process. Imported modules that are installed (in site-packages,
or part of Python or of `compress`) are left out. If the module itself is installed, its file and
its package's version count. Imports by a computed name aren't seen, nor is the data that a module
reads.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import sysconfig
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from pathlib import Path

from compress.core.files.atomic import file_digest
from compress.core.foreign.modules import current_directory_importable, find_module

_OURS = "compress"


def source_digest(module: str) -> str:
    """SHA-256 of a module's code, in hex.

    Parameters
    ----------
    module : "package.module", importable here or from the current directory.
    """
    return hashlib.sha256(json.dumps(_parts(module)).encode()).hexdigest()


def source_files(module: str) -> dict[str, Path]:
    """The files of a module and of all modules that it imports, by name, without installed ones."""
    files: dict[str, Path] = {}
    with current_directory_importable():
        queue = list(_with_packages(module))
        while queue:
            name = queue.pop()
            found = None if name in files or name.partition(".")[0] == _OURS else find_module(name)
            file = _file(found)
            if found is None or file is None or _installed(file):
                continue
            files[name] = file
            is_package = found.submodule_search_locations is not None
            for imported in _imported(file, name if is_package else name.rpartition(".")[0]):
                queue += _with_packages(imported)
    return files


def _parts(module: str) -> list[tuple[str, str]]:
    """(module, digest of its file) pairs; for an installed one, its packages' versions as well."""
    digests = {name: file_digest(path) for name, path in source_files(module).items()}
    if module in digests:
        return sorted(digests.items())
    package = module.partition(".")[0]
    with current_directory_importable():
        file = _file(find_module(module))
    names = sorted(set(_distributions().get(package, ())))
    parts = [(name, version(name)) for name in names] or [("python", platform.python_version())]
    return parts if file is None else [*parts, (module, file_digest(file))]


def _with_packages(module: str) -> Iterator[str]:
    """The module, and the packages around it: importing it runs their code too."""
    parts = module.split(".")
    return (".".join(parts[: index + 1]) for index in range(len(parts)))


def _file(found: ModuleSpec | None) -> Path | None:
    """The source of a module; None if it has none (built in, compiled, a bare folder)."""
    if found is None or not found.has_location or found.origin is None:
        return None
    path = Path(found.origin)
    return path if path.suffix == ".py" and path.is_file() else None


def _installed(file: Path) -> bool:
    return any(file.resolve().is_relative_to(folder) for folder in _library_folders())


@cache
def _library_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = sysconfig.get_paths()
    return tuple({Path(paths[name]).resolve() for name in names})


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _imported(file: Path, package: str) -> Iterator[str]:
    """Names of all modules that a source file may import, names from a package included."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return  # importing the file will report this
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            if base is not None:
                yield from filter(None, [base])
                yield from (".".join(filter(None, [base, one.name])) for one in node.names)
        elif isinstance(node, ast.Call) and _imports(node.func):
            yield from (
                argument.value
                for argument in node.args[:1]
                if isinstance(argument, ast.Constant)
                and isinstance(argument.value, str)
                and all(part.isidentifier() for part in argument.value.split("."))
            )


def _base(node: ast.ImportFrom, package: str) -> str | None:
    """The module that `from … import` names; None if it leads out of the package."""
    if not node.level:
        return node.module
    around = package.split(".") if package else []
    if node.level - 1 > len(around):
        return None
    kept = around[: len(around) - (node.level - 1)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _imports(function: ast.expr) -> bool:
    """Return whether this is `import_module` or `__import__`."""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")
