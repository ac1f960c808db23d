"""Writes a quantized model whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx

from compress.core.files import write_bytes
from compress.errors import StageError
from compress.measurement.size import external_files

_LIMIT_BYTES = 2**31 - 2**24  # of a protobuf message, less some room for the graph


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
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LIMIT_BYTES:
        aside = path.with_name(f"{path.name}.tmp")
        onnx.save_model(model, aside, save_as_external_data=True, location=data.name)
        aside.unlink()  # the model in memory points to the data now, and is written below
    write_bytes(path, model.SerializeToString(deterministic=True))
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise StageError(f"{path.name} isn't a valid ONNX model: {error}") from error
    return path


def move(source: Path, target: Path, *, metadata: Mapping[str, str]) -> None:
    """Move a file, its external data with it, and set entries of its metadata."""
    model = onnx.load(str(source), load_external_data=False)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, **metadata})
    for file in external_files(source):
        shutil.move(file, target.parent / file.name)
    write_bytes(target, model.SerializeToString(deterministic=True))
    source.unlink()
