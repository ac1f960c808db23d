"""Fills a folder with the files that a model's deployment needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.exporting.bundle.conventions import write_conventions, write_json
from compress.exporting.bundle.sentence_layout import write_sentence_layout
from compress.exporting.bundle.vectors import POSTPROCESSING
from compress.exporting.examples.write import write_examples
from compress.onnx_graph.files import copy_model, load_graph
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor
    from compress.core.context import Target, Task
    from compress.tasks.contract import Output

MODEL, PREPROCESSING = "model.onnx", "preprocessing.json"
_ACTIVATIONS: Mapping[Target, str | None] = {
    "class": "softmax",
    "class-set": "sigmoid",
    "token-class": "softmax",
    "next-token": "softmax",
    "none": None,
    "own": None,
}


def write_bundle(
    model: Path,
    *,
    directory: Path,
    preprocessor: Preprocessor,
    labels: Sequence[str],
    task: Task,
    pairs: bool = False,
    precisions: bool = False,
) -> Path:
    """Write a folder that runs with onnxruntime and numpy alone (and tokenizers, or pillow).

    It gets `model.onnx` (with external data, if the weights are 2 GB or more), `labels.json`, the
    preprocessor's files (tokenizer or image processor, `preprocessing.json`),
    `postprocessing.json`, the examples (`compress.exporting.examples.write`), and the files that
    other libraries read (`compress.exporting.bundle.conventions`).

    Parameters
    ----------
    model : the ONNX file; copied, unless it lies at its place in `directory` already.
    directory : the folder; made if it doesn't exist.
    labels : class names in the order of the logits.
    task : decides on the examples and the postprocessing.
    pairs : whether a sample is a pair of texts.
    precisions : whether the folder holds several precisions, with precisions.json.

    Returns
    -------
    The bundle's `model.onnx`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / MODEL
    copy_model(model, target)
    preprocessor.save(directory)
    _complete(directory / PREPROCESSING, target, task=task, pairs=pairs)
    write_json(directory / "labels.json", list(labels))
    constants = postprocessing(task, preprocessor=preprocessor)
    write_json(directory / POSTPROCESSING, constants)
    write_conventions(target, labels=labels, task=task)
    if task.target == "none":
        write_sentence_layout(target, task=task)
    write_examples(directory, task=task, precisions=precisions)
    return target


def _complete(path: Path, model: Path, *, task: Task, pairs: bool) -> None:
    """Add facts about the inputs from model and data: channels of images, pairs of texts."""
    constants = json.loads(path.read_text(encoding="utf-8"))
    if task.modality == "text":
        constants["pairs"] = pairs
    elif task.modality == "image" and constants.get("channels", 0) is None:
        given = next(iter(load_graph(model).inputs.values()))
        dims = given.type.tensor_type.shape.dim
        constants["channels"] = dims[1].dim_value or None
    write_json(path, constants)


def postprocessing(task: Task, *, preprocessor: Preprocessor | None = None) -> dict[str, Any]:
    """Return the constants that turn the model's output into an answer, as plain JSON.

    Returns
    -------
    For a task of one's own: task; outputs (name and role of each, and class_axis where the classes
    don't lie along the last axis). Where the script takes raw
    samples, also fields (of a sample) and constants (which the task's part of the script reads).

    Otherwise: task; output (name of the ONNX output); activation ("softmax" or "sigmoid" over the
    last axis, or null); threshold (probability over which one of several labels holds); word_class
    (for token classification: the token of a word that decides); for embeddings pooling ("mean" of
    the unmasked tokens, "cls", the first of them, or "max" of each dimension) and normalize (to
    length 1). Where the graph does both, they are null and false, and in_graph holds them.
    """
    pooled = task.target == "none" and not task.pools
    if isinstance(task, OwnTask):
        outputs = [_meaning(each) for each in task.outputs]
        plain: dict[str, Any] = {"task": task.name, "outputs": outputs}
        if task.script_file is not None:
            plain["fields"] = list(task.columns)
            plain["constants"] = task.constants(preprocessor)
        return plain
    return {
        "task": task.name,
        "output": task.output_names[0],
        "activation": _ACTIVATIONS[task.target],
        "threshold": 0.5 if task.target == "class-set" else None,
        "word_class": "first token" if task.target == "token-class" else None,
        "pooling": task.pooling if pooled else None,
        "normalize": pooled and task.normalize,
        **({"in_graph": _steps(task)} if task.pools else {}),
    }


def _steps(task: Task) -> dict[str, Any]:
    """Return how the graph makes the embedding of the tokens' vectors."""
    return {"pooling": task.pooling, "normalize": task.normalize}


def _meaning(output: Output) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": output.name, "role": output.role}
    return plain if output.class_axis == -1 else {**plain, "class_axis": output.class_axis}
