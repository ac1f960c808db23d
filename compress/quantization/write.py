"""Writes a quantized model whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from compress.errors import StageError
from compress.models.onnx_files import remove, save


def write(model: onnx.ModelProto, *, path: Path, source: Path) -> Path:
    """Write one file, with the metadata of the float model that it was made from.

    Weights of over 2 GB, which ONNX can't hold in one file, go to `<path>.data` beside it.

    Raises
    ------
    StageError : `onnx.checker` refuses it.
    """
    metadata = onnx.load(str(source), load_external_data=False).metadata_props
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in metadata})
    model.producer_name = "onnxruntime.quantization"
    save(model, path)
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise StageError(f"{path.name} isn't a valid ONNX model: {error}") from error
    return path


def move(source: Path, target: Path, *, metadata: Mapping[str, str]) -> None:
    """Move a file, its external data with it, and set entries of its metadata."""
    model = onnx.load(str(source))
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, **metadata})
    save(model, target)
    remove(source)
