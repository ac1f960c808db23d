"""Fills a folder with all that a deployment of a model needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from compress.core.files import write_text
from compress.measurement.size import external_files

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor
    from compress.core.context import Target, Task

MODEL = "model.onnx"
SCRIPT = "infer.py"
_SCRIPTS: dict[Target, str] = {
    "token-class": "infer_tokens",
    "next-token": "infer_generation",
    "none": "infer_embeddings",
}
"""Those of classification go by what is classified."""


def write_bundle(
    model: Path,
    *,
    directory: Path,
    preprocessor: Preprocessor,
    labels: Sequence[str],
    task: Task,
) -> Path:
    """Write a folder that runs with onnxruntime and numpy alone (and tokenizers, or pillow).

    It gets `model.onnx` (and its external data, where the weights are 2 GB and more),
    `labels.json`, what the preprocessor saves (tokenizer or image processor,
    `preprocessing.json`), `infer.py`, and for a transformers model its `config.json`, taken
    from the ONNX file's metadata.

    Parameters
    ----------
    model : the ONNX file; copied, unless it lies at its place in `directory` already.
    directory : made where it doesn't exist.
    labels : class names in the order of the logits.
    task : which example script.

    Returns
    -------
    The bundle's `model.onnx`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / MODEL
    copy_model(model, target)
    preprocessor.save(directory)
    write_text(directory / "labels.json", _json(list(labels)))
    config = _config(target)
    if config is not None:
        write_text(directory / "config.json", _json(_with_labels(config, labels)))
    name = _SCRIPTS.get(task.target, f"infer_{task.modality}")
    script = files("compress.exporting").joinpath(f"{name}.py.txt")
    write_text(directory / SCRIPT, script.read_text(encoding="utf-8"))
    return target


def copy_model(source: Path, target: Path) -> None:
    """Copy an ONNX file and its external data, which keep their name inside the file."""
    if source.resolve() == target.resolve():
        return
    shutil.copyfile(source, target)
    for file in external_files(source):
        shutil.copyfile(file, target.parent / file.name)


def _config(model: Path) -> dict[str, Any] | None:
    metadata = onnx.load(str(model), load_external_data=False).metadata_props
    text = next((entry.value for entry in metadata if entry.key == "config"), None)
    return None if text is None else json.loads(text)


def _with_labels(config: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    if not labels:
        return dict(config)
    names = {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    return {**config, **names}


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
