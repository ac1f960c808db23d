"""Writes the files by which sentence-transformers loads a bundle with its ONNX backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.exporting.bundle.conventions import CONFIG, write_json
from compress.models.folder.sentence_transformers import FLAGS, MODULES, SETTINGS
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.types import declared_type
from compress.tasks.outputs import HIDDEN

if TYPE_CHECKING:
    from compress.core.context import Pooling, Task

_KIND = "sentence_transformers.models"
_POOLING, _NORMALIZE = "1_Pooling", "2_Normalize"


def write_sentence_layout(model: Path, *, task: Task) -> bool:
    """Write modules.json and what it names beside a bundle's ONNX file; return whether it did.

    The library pools the file's `last_hidden_state` by itself. Without that output, or without the
    config of a transformers model, it has nothing to load, and nothing is written.

    Parameters
    ----------
    model : the model in the bundle, with `config.json` and `preprocessing.json` beside it.
    task : says how a text's embedding is made.
    """
    folder = model.parent
    hidden = load_graph(model).outputs.get(HIDDEN)
    if task.target != "none" or hidden is None or not (folder / CONFIG).is_file():
        return False
    shape = declared_type(hidden).shape
    steps = [("", "Transformer"), (_POOLING, "Pooling")]
    steps += [(_NORMALIZE, "Normalize")] if task.normalize else []
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"{_KIND}.{kind}"}
        for at, (path, kind) in enumerate(steps)
    ]
    write_json(folder / MODULES, modules)
    constants = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    settings = {"max_seq_length": constants["max_length"], "do_lower_case": False}
    write_json(folder / SETTINGS, settings)
    (folder / _POOLING).mkdir(exist_ok=True)
    width = None if shape is None else shape[-1]
    write_json(folder / _POOLING / CONFIG, _pooling(task.pooling, width))
    if task.normalize:  # a folder that the library's own `save` leaves empty
        (folder / _NORMALIZE).mkdir(exist_ok=True)
        write_json(folder / _NORMALIZE / CONFIG, {})
    said: dict[str, Any] = {
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    write_json(folder / "config_sentence_transformers.json", said)
    return True


def _pooling(pooling: Pooling, width: object) -> dict[str, Any]:
    flags = {flag: word == pooling for flag, word in FLAGS.items()}
    return {"word_embedding_dimension": width, **flags, "include_prompt": True}
