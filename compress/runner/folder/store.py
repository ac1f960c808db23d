"""Saves an artifact in a stage's folder, and loads it from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.artifact import Artifact, Format
from compress.data.preprocess import load_preprocessor
from compress.errors import StageError
from compress.exporting.checked import export_artifact
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.onnx_graph.files import copy_model

if TYPE_CHECKING:
    from compress.core.context import Context, Task
    from compress.data.spec import DataSpec

ONNX_FILE = "model.onnx"
_PREPROCESSOR = "preprocessor"


def save_artifact(
    artifact: Artifact, context: Context, *, previous: Artifact | None
) -> dict[str, Any]:
    """Write an artifact to `context.directory`; return the plain JSON that `load_artifact` needs.

    A torch module is saved as checkpoint.safetensors + structure.json. It is also exported to ONNX
    for its row, and the ONNX file is compared with the module on real data. A module with weights
    in few bits has no ONNX form; only its checkpoint is saved.

    Raises
    ------
    ParityError : the answers of the ONNX file differ from the module's.
    StageError : the artifact's files lie outside the stage's folder.
    """
    directory = context.directory
    notes: tuple[str, ...] = ()
    onnx = artifact.onnx
    if not artifact.format.is_onnx:
        if artifact.source is None:
            raise StageError("a torch artifact needs a source, to be built again from its files.")
        save_checkpoint(artifact.require_module(), artifact.source, directory)
        if artifact.format is Format.TORCH:
            onnx = directory / ONNX_FILE
            parity = export_artifact(artifact, context, onnx)
            notes = (f"ONNX against torch: {parity}",)
    elif previous is None and onnx is not None:  # the file that the run begins with
        copy_model(onnx, directory / ONNX_FILE)
        onnx = directory / ONNX_FILE
    if onnx is not None and not onnx.is_relative_to(directory):
        raise StageError(f"the stage left {onnx.name} outside its folder.")
    changed = previous is not None and (
        artifact.require_preprocessor().fingerprint != previous.require_preprocessor().fingerprint
    )
    if changed:
        artifact.require_preprocessor().save(directory / _PREPROCESSOR)
    return {
        "format": artifact.format.value,
        "onnx": _relative(onnx, directory),
        "bundle": _relative(artifact.bundle, directory),
        "labels": list(artifact.labels),
        "preprocessor": _PREPROCESSOR if changed else None,
        "notes": [*artifact.notes, *notes],
    }


def load_artifact(
    record: Mapping[str, Any],
    directory: Path,
    *,
    previous: Artifact,
    task: Task,
    spec: DataSpec,
    python: bool = True,
) -> Artifact:
    """Return the artifact that `save_artifact` wrote; unsaved parts come from `previous`.

    Parameters
    ----------
    python : whether a function that structure.json names may be called to build the module.
    """
    format_ = Format(record["format"])
    artifact = replace(
        previous,
        format=format_,
        module=None,
        source=None,
        onnx=None,
        exported=None,
        bundle=None if record["bundle"] is None else directory / record["bundle"],
        labels=tuple(record["labels"]),
        notes=tuple(record["notes"]),
    )
    if record["preprocessor"] is not None:
        folder = str(directory / record["preprocessor"])
        # The folder's tokenizer, not one by name; it cuts at the length that the run began with.
        length = previous.require_preprocessor().max_length
        own = spec.model_copy(update={"tokenizer": None, "max_length": length})
        artifact = replace(artifact, preprocessor=load_preprocessor(folder, task=task, spec=own))
    if format_.is_onnx:
        return replace(artifact, onnx=directory / record["onnx"])
    module, source = load_checkpoint(directory, python=python)
    exported = None if record["onnx"] is None else directory / record["onnx"]
    return replace(artifact, module=module.eval(), source=source, exported=exported)


def _relative(path: Path | None, directory: Path) -> str | None:
    return None if path is None else str(path.relative_to(directory))
