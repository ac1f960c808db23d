"""Writes ONNX files atomically, with large weights in a file beside them. No torch here."""

from __future__ import annotations

from pathlib import Path

import onnx

from compress.core.files.atomic import write_bytes

# A protobuf message can't be longer than 2 GiB; the graph itself needs some of that.
SINGLE_FILE_BYTES = 2**31 - 2**24


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write an ONNX file; with weights of 2 GB and more also `<path>.data`. Both are replaced.

    The file is written under another name and then renamed, so that an interrupted write leaves no
    half file. If `<path>.data` was written, the model in memory refers to it afterwards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(path.name + ".data")
    data.unlink(missing_ok=True)  # onnx would append to an old file
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < SINGLE_FILE_BYTES:
        write_bytes(path, model.SerializeToString(deterministic=True))
        return
    aside = path.with_name(path.name + ".tmp")
    onnx.save_model(model, aside, save_as_external_data=True, location=data.name)
    aside.replace(path)


def remove(path: Path) -> None:
    """Delete a file that `save` wrote, with its `<path>.data` if there is one."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".data").unlink(missing_ok=True)
