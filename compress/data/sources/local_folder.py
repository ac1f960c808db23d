"""Checks that the files of a local data set name only files in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compress.core.files.confined import inside
from compress.core.foreign.boundary import reading
from compress.errors import DataError

CARDS = ("README.md", ".huggingface.yaml")
_FENCE = "---"
_LISTS = ("dataset_dict.json", "state.json")
_NAMING = ("data_files", "data_dir")


def require_inside(folder: Path) -> None:
    """Refuse a folder whose card or lists of files name files elsewhere or on the network.

    Raises
    ------
    DataError : such a file is named, or the card or a list can't be read.
    """
    for card in CARDS:
        path = folder / card
        for name in _named_by_card(path) if path.is_file() else ():
            inside(folder, name, links=True, error=DataError)
    for listed in (folder / name for name in _LISTS):
        if listed.is_file():
            _require_lists(folder, listed)


def _require_lists(folder: Path, path: Path) -> None:
    """Check the list of files that `save_to_disk` wrote."""
    with reading(path, error=DataError):
        values = json.loads(path.read_text(encoding="utf-8"))
        splits = [str(split) for split in values.get("splits", ())]
        files = [entry["filename"] for entry in values.get("_data_files", ())]
    for name in files:
        inside(folder, name, links=True, error=DataError)
    for name in splits:
        inner = inside(folder, name, links=True, error=DataError)
        if (inner / _LISTS[1]).is_file():
            _require_lists(inner, inner / _LISTS[1])


def _named_by_card(path: Path) -> Iterator[str]:
    """Files and folders that the configurations in a card name."""
    from ruamel.yaml import YAML

    with reading(path, error=DataError):
        text = path.read_text(encoding="utf-8")
        matter = front_matter(text) if path.suffix == ".md" else text
        values = None if matter is None else YAML(typ="safe").load(matter)
        configs = values.get("configs") if isinstance(values, dict) else None
        named = [
            name
            for config in (configs if isinstance(configs, list) else ())
            if isinstance(config, dict)
            for key in _NAMING
            for name in _texts(config.get(key))
        ]
    for name in named:
        if "://" in name or "::" in name:
            raise DataError(f"{path} names {name!r}; a local folder's files must lie in it.")
        yield name


def _texts(value: Any) -> Iterator[str]:
    """Paths in a value of `data_files`: a text, a list, or mappings with a `path`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != "split":
                yield from _texts(item)


def front_matter(text: str) -> str | None:
    """A card's YAML, between its first two lines of `---`; None if it doesn't begin with one."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != _FENCE:
        return None
    end = next((at for at, line in enumerate(lines[1:], 1) if line.strip() == _FENCE), None)
    return None if end is None else "\n".join(lines[1:end])
