"""Finds what belongs to a given ONNX file: its preprocessing, its config and its class names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.files.paths import home_expanded

if TYPE_CHECKING:
    from compress.models.spec import ModelSpec
    from compress.onnx_graph.header import Header

_SUBFOLDER = "onnx"
"""Where Transformers.js and Optimum keep a model, below its tokenizer."""
_MARKS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "preprocessor_config.json")
"""Files of a tokenizer or an image processor."""
LABELS = "labels"
"""The metadata's key of class names, a JSON list: bundles of `compress` have it."""


def preprocessing_of(spec: ModelSpec) -> str | None:
    """Return folder or hub id of a given file's tokenizer or image processor; None if unknown."""
    if spec.preprocessing is not None or spec.onnx is None:
        return spec.preprocessing
    folder = spec.onnx.parent
    candidates = [folder, *([folder.parent] if folder.name == _SUBFOLDER else [])]
    found = (each for each in candidates if any((each / mark).is_file() for mark in _MARKS))
    return next((str(each) for each in found), None)


def config_folder(spec: ModelSpec) -> Path | None:
    """Return the local folder whose config.json describes a given file; None if there is none."""
    named = preprocessing_of(spec)
    folder = None if named is None else home_expanded(named)
    return folder if folder is not None and (folder / "config.json").is_file() else None


def names_in(header: Header) -> tuple[str, ...]:
    """Return the class names in a file's metadata; empty if it has none."""
    try:
        names = json.loads(header.metadata.get(LABELS, "[]"))
    except ValueError:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return ()
    return tuple(names)
