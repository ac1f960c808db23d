"""Digests of the files and values that decide the data; they are the same in every process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_files(paths: Iterable[Path]) -> str:
    """SHA-256 of the contents of several files, in the order given."""
    return digest([digest_file(path) for path in paths])


def digest_folder(folder: Path) -> str:
    """SHA-256 of the contents and relative names of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([(path.relative_to(folder).as_posix(), digest_file(path)) for path in files])


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
