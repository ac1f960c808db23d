"""Writes a quantized model whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from compress.onnx_graph.files import check_file, load_model, remove_model, save_model
from compress.onnx_graph.metadata import metadata_of, set_metadata


def write(
    model: onnx.ModelProto,
    *,
    path: Path,
    source: Path,
    producer: str = "onnxruntime.quantization",
) -> Path:
    """Write one file, with the metadata of the float model that it was made from.

    Weights of over 2 GB, which ONNX can't hold in one file, go to `<path>.data` beside it.

    Parameters
    ----------
    producer : the name that the file gives as its maker's.

    Raises
    ------
    StageError : `onnx.checker` rejects the model.
    """
    set_metadata(model, metadata_of(source))
    model.producer_name = producer
    save_model(model, path)
    check_file(path, types=False)
    return path


def move(source: Path, target: Path, *, metadata: Mapping[str, str]) -> None:
    """Move a model with its external data, and set entries of its metadata."""
    model = load_model(source)
    set_metadata(model, {**metadata_of(source), **metadata})
    save_model(model, target)
    remove_model(source)
