"""The source files of Python's standard library, as training text that is available everywhere."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from compress.errors import DataError

_SPLITS = ("test", "validation", *["train"] * 8)
"""Split of a file, by its digest modulo 10: test and validation get a tenth each."""
_LEFT_OUT = frozenset({"test", "tests", "idle_test", "__pycache__", "lib2to3", "encodings"})
_TESTS = "test_"


def library_files() -> Iterator[tuple[str, Path]]:
    """(split, file) pairs of all modules with a source file, sorted by name. Nothing is imported.

    Tests and tables of characters are left out.

    Raises
    ------
    DataError : this Python has no sources of its library.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found = False
    for name in sorted(sys.stdlib_module_names - _LEFT_OUT):
        files = [root / f"{name}.py", *sorted((root / name).rglob("*.py"))]
        for file in files:
            inner = file.relative_to(root)
            if file.is_file() and not _is_left_out(inner.parts):
                found = True
                yield split_of(inner.as_posix()), file
    if not found:
        raise DataError(f"this Python has no sources of its standard library in {root}.")


def split_of(path: str) -> str:
    """The split of a file by its path inside the library. It is the same on every machine.

    >>> split_of("heapq.py"), split_of("json/decoder.py")
    ('train', 'train')
    """
    digest = hashlib.sha256(path.encode()).digest()
    return _SPLITS[int.from_bytes(digest[:8], "big") % len(_SPLITS)]


def _is_left_out(parts: tuple[str, ...]) -> bool:
    return any(part in _LEFT_OUT or part.startswith(_TESTS) for part in parts)
