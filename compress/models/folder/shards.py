"""Finds the files of weights in a local model's folder."""

from __future__ import annotations

import json
from pathlib import Path

from compress.core.files.confined import inside
from compress.core.foreign.boundary import reading
from compress.errors import ModelError

INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def shards(index: Path) -> list[Path]:
    """The files that an index lists, each once and sorted. They lie in the index's folder.

    Links are followed, since the hub's cache is made of them.

    Raises
    ------
    ModelError : the index can't be read, or names a file in another folder.
    """
    with reading(index, error=ModelError):
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    files = [inside(index.parent, name, links=True, error=ModelError) for name in names]
    return sorted(files)


def require_inside(folder: Path) -> None:
    """Refuse a folder whose indices name files in other folders.

    Raises
    ------
    ModelError : see `shards`.
    """
    for name in INDICES:
        if (folder / name).is_file():
            shards(folder / name)
