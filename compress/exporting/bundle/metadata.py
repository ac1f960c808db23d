"""What an ONNX file says of itself: the task, labels, the recipe it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from compress.core.files.atomic import write_bytes


def metadata_of(model: Path) -> dict[str, str]:
    """A file's metadata by key."""
    graph = onnx.load(str(model), load_external_data=False)
    return {entry.key: entry.value for entry in graph.metadata_props}


def with_metadata(source: Path, target: Path, more: Mapping[str, str]) -> None:
    """Copy an ONNX file and add to its metadata; nodes and weights stay as they are.

    Parameters
    ----------
    target : weights outside the file aren't copied; it looks for them beside itself.
    more : by key; a key that is there already gets the new value.
    """
    model = onnx.load(str(source), load_external_data=False)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, **more})
    write_bytes(target, model.SerializeToString())
