"""Names of the files of a cache of a teacher's answers. A cache knows its files by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from compress.core.files.atomic import ASIDE
from compress.core.files.owned import is_folder, is_plain_file

FOLDER = "teacher"
"""The folder of all caches, in the folder that a run's stages share."""
HEADER, LOG = "arrays.json", "log"
_CACHE = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")
_ROWS = re.compile(r"[0-9]+\.rows")
_USED = ".used"


def cache_name(base: str, key: str) -> str:
    """Return the name of a cache's folder.

    `base` is a digest of teacher and data, `key` one of how the teacher is run and what is kept.
    """
    return f"{base[:16]}-{key[:16]}"


def rows_name(index: int) -> str:
    """Return the name of the file with an array's rows."""
    return f"{index}.rows"


def used_file(cache: Path) -> Path:
    """Return the path of the empty file whose time is that of a cache's last use."""
    return cache.with_name(cache.name + _USED)


def caches(root: Path) -> list[Path]:
    """Return the folders of caches, sorted; none if there is no root."""
    if not is_folder(root):
        return []
    return sorted(
        path for path in root.iterdir() if _CACHE.fullmatch(path.name) and is_folder(path)
    )


def own_files(cache: Path) -> Iterator[Path]:
    """Yield a cache's own files, without files that others put beside them."""
    for path in sorted(cache.iterdir()):
        aside = re.fullmatch(ASIDE, path.name)
        name = path.name if aside is None else aside["name"]
        if (name in (HEADER, LOG) or _ROWS.fullmatch(name)) and is_plain_file(path):
            yield path


def remove_cache(cache: Path) -> None:
    """Remove a cache's files, and its folder if nothing else lies there."""
    for path in own_files(cache):
        path.unlink()
    used = used_file(cache)
    if is_plain_file(used) and not used.stat().st_size:
        used.unlink()
    if not any(cache.iterdir()):
        cache.rmdir()


def remove_asides(cache: Path) -> None:
    """Remove unfinished files of a killed process."""
    for path in own_files(cache):
        if re.fullmatch(ASIDE, path.name):
            path.unlink()
