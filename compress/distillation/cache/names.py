"""Names of the files in which a teacher's answers lie: by these they are known as the cache's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from compress.core.files.atomic import ASIDE
from compress.core.files.owned import is_folder, is_plain_file

FOLDER = "teacher"
"""Of all caches, in the folder that a run's stages share."""
HEADER, LOG = "arrays.json", "log"
_CACHE = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}")
_ROWS = re.compile(r"[0-9]+\.rows")
_USED = ".used"


def cache_name(base: str, key: str) -> str:
    """A cache's folder: of the digests of whose answers they are, and of how these are kept."""
    return f"{base[:16]}-{key[:16]}"


def rows_name(index: int) -> str:
    """Name of the file with an array's rows."""
    return f"{index}.rows"


def used_file(cache: Path) -> Path:
    """The empty file whose time says when a cache was used last."""
    return cache.with_name(cache.name + _USED)


def caches(root: Path) -> list[Path]:
    """The folders of caches, sorted; nothing where there is no root."""
    if not is_folder(root):
        return []
    return sorted(
        path for path in root.iterdir() if _CACHE.fullmatch(path.name) and is_folder(path)
    )


def own_files(cache: Path) -> Iterator[Path]:
    """A cache's files; not what others put beside them."""
    for path in sorted(cache.iterdir()):
        aside = re.fullmatch(ASIDE, path.name)
        name = path.name if aside is None else aside["name"]
        if (name in (HEADER, LOG) or _ROWS.fullmatch(name)) and is_plain_file(path):
            yield path


def remove_cache(cache: Path) -> None:
    """Remove a cache's files, and its folder where nothing else lies there."""
    for path in own_files(cache):
        path.unlink()
    used = used_file(cache)
    if is_plain_file(used) and not used.stat().st_size:
        used.unlink()
    if not any(cache.iterdir()):
        cache.rmdir()


def remove_asides(cache: Path) -> None:
    """Remove what a killed process was writing aside."""
    for path in own_files(cache):
        if re.fullmatch(ASIDE, path.name):
            path.unlink()
