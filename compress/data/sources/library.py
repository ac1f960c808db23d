"""The Python standard library's own source files, as text to learn from that is always at hand."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from compress.errors import DataError

_SPLITS = ("test", "validation", *["train"] * 8)
"""By a file's digest: a tenth each for test and validation."""
_LEFT_OUT = frozenset({"test", "tests", "idle_test", "__pycache__", "lib2to3", "encodings"})
_TESTS = "test_"


def library_files() -> Iterator[tuple[str, Path]]:
    """(split, file) of every module that has a source file, sorted by name; nothing is imported.

    Tests, and tables of characters, are left out.

    Raises
    ------
    DataError : this Python came without its library's sources.
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
    """The split of a file, by its path inside the library; the same on every machine.

    >>> split_of("heapq.py"), split_of("json/decoder.py")
    ('train', 'train')
    """
    digest = hashlib.sha256(path.encode()).digest()
    return _SPLITS[int.from_bytes(digest[:8], "big") % len(_SPLITS)]


def _is_left_out(parts: tuple[str, ...]) -> bool:
    return any(part in _LEFT_OUT or part.startswith(_TESTS) for part in parts)
