"""The size of an image, from its file's header."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from compress.core.foreign.boundary import reading
from compress.errors import DataError


def size_of(path: Path) -> tuple[int, int, int]:
    """Return an image's height, width and channels (1 for grey, else 3).

    Raises
    ------
    DataError : it can't be read.
    """
    with reading(path, error=DataError), Image.open(path) as image:
        width, height = image.size
        return height, width, 1 if image.mode in ("1", "L", "I", "I;16", "F") else 3
