"""Metadata of an ONNX file, such as the task, the labels and the recipe that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import ModelProto, helper

from compress.core.files.atomic import write_bytes
from compress.onnx_graph.files import load_model


def metadata_of(path: Path) -> dict[str, str]:
    """A file's metadata by key.

    Raises
    ------
    LoadError : the file can't be read.
    """
    model = load_model(path, weights=False)
    return {entry.key: entry.value for entry in model.metadata_props}


def set_metadata(model: ModelProto, entries: Mapping[str, str]) -> None:
    """Replace all metadata by these entries, in their order."""
    helper.set_model_props(model, dict(entries))


def with_metadata(source: Path, target: Path, more: Mapping[str, str]) -> None:
    """Copy an ONNX file and add to its metadata; nodes and weights stay as they are.

    Parameters
    ----------
    target : the new file. External weights aren't copied; the file looks for them beside itself.
    more : values by key; an existing key gets the new value.

    Raises
    ------
    LoadError : the source can't be read.
    """
    model = load_model(source, weights=False)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    set_metadata(model, {**kept, **more})
    write_bytes(target, model.SerializeToString())
