"""Writes a quantized model whole or not at all."""

from __future__ import annotations

from pathlib import Path

import onnx

from compress.core.files import write_bytes
from compress.errors import StageError

_LIMIT_BYTES = 2**31 - 2**24  # of a protobuf message, less some room for the graph


def write(model: onnx.ModelProto, *, path: Path, source: Path) -> Path:
    """Write one file, with the metadata of the float model that it was made from.

    Raises
    ------
    StageError : over 2 GB, which ONNX can't hold in one file, or `onnx.checker` refuses it.
    """
    metadata = onnx.load(str(source), load_external_data=False).metadata_props
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in metadata})
    model.producer_name = "onnxruntime.quantization"
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LIMIT_BYTES:
        raise StageError("the quantized model is larger than 2 GB; ONNX can't hold it in one file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, model.SerializeToString(deterministic=True))
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        raise StageError(f"{path.name} isn't a valid ONNX model: {error}") from error
    return path
